"""What a tool is: a function from checked arguments to a result, and what agents are told of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from beatctl.cli.follow import Signals
from beatctl.cli.loops import Loops
from beatctl.cli.problems import Usage

Progress = Callable[[float, float | None, str], None]
"""Tells the client how far a call is: done, of how many where that is known, in words."""


class Arguments(BaseModel):
    """What every tool takes."""

    model_config = ConfigDict(extra="forbid")

    directory: str | None = Field(
        None,
        description="Absolute path of the project folder the call is about. Left out: the folder this server was "
        "started in, which is the client's project.",
    )


class OfLoop(Arguments):
    """What a tool on one loop takes."""

    loop: str | None = Field(
        None,
        description="The loop's id, or its beginning. Left out: the unfinished loop of the directory, else its newest.",
    )


class OfNamedLoop(Arguments):
    """What a tool takes that never guesses which loop is meant."""

    loop: str = Field(description="The loop's id, or its beginning. It is never guessed: list_loops shows the ids.")


class Result(BaseModel):
    """What every tool gives."""

    messages: list[str] = Field([], description="What a person should know of this call, in sentences; often empty.")


@dataclass(frozen=True)
class Call:
    """One call of a tool."""

    loops: Loops
    here: Path
    """The folder it is about."""
    progress: Progress
    signals: Signals
    """Noted when the client cancels the call or goes away."""


@dataclass(frozen=True)
class Tool:
    """A tool. Its function's docstring is what agents are told."""

    title: str
    takes: type[Arguments]
    gives: type[Result]
    work: Callable[[Call, Any], Result]
    """Runs in a thread of its own. Raises Problem."""
    kind: Literal["reads", "acts", "destroys"]
    """`destroys`: what it does can't be taken back, or changes the user's files or history."""
    again_is_nothing: bool = False
    """Calling it again with the same arguments does nothing more."""
    open_world: bool = False
    """It starts agents, which reach beyond this machine."""

    @property
    def name(self) -> str:
        return self.work.__name__

    @property
    def description(self) -> str:
        return inspect.cleandoc(self.work.__doc__ or "")


def folder_of(arguments: Arguments) -> Path:
    """The folder a call is about. Raises Usage where it is no absolute path."""
    if arguments.directory is None:
        try:
            return Path.cwd()
        except OSError:
            raise Usage("The folder this server was started in is gone: name one in `directory`.") from None
    path = Path(arguments.directory).expanduser()
    if not path.is_absolute():
        raise Usage(f'`directory` takes an absolute path, not "{arguments.directory}".')
    return path
