"""One try of one run: its journal, and what it says.

The journal's first line is the command, written by the worker; the shim locks the file while it lives, and adds a line
once something may have been spawned, lines about processes it saw, and the result when every process of the try is
gone. `stdout` and `stderr` grow beside it; `cancel` is the worker's wish to end it. The state is read from these alone,
never decided by a pid.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from beatctl.activities.run_files import TryFiles, is_result, tries_in, tries_of

from . import lock

TryState = Literal["fresh", "running", "done", "lost"]
EndedBy = Literal["exit", "timeout", "cancel", "output-limit", "not-started"]


class CommandSpec(BaseModel):
    """A command to run once. Text that is not UTF-8 travels as Python's surrogate escapes."""

    argv: list[str] = Field(min_length=1)
    """Program and arguments; a program without a slash is looked for along the child's own PATH."""
    cwd: str
    environment_file: str | None = None
    """A JSON object with the whole environment (see `save_environment`); none: the spawner's own."""
    extra_environment: dict[str, str] = {}
    """Set on top of the environment."""
    stdin: str | None = None
    """A file to read; none: nothing to read."""
    timeout_s: float = Field(0.0, ge=0)
    """0 = none. Kept by the shim, also while no worker lives; time the machine sleeps does not count."""
    grace_s: float = Field(5.0, ge=0)
    """From TERM to KILL."""
    output_limit: int = Field(1 << 30, ge=0)
    """Bytes of stdout and stderr together after which the tree is ended: a night must not fill the disk."""


class RunResult(BaseModel):
    """What became of a try, as the shim wrote it."""

    exit_code: int | None
    """None when a signal ended it, or it never ran. A program that is missing gives 127, one that can't run 126."""
    signal: int | None
    ended_by: EndedBy
    """`exit`: by itself, signals from elsewhere included."""
    error: str | None = None
    """Why it could not be started."""
    started_at: float
    ended_at: float
    """The main child's end; unix seconds, like `started_at`."""
    left_behind: list[str] = []
    """Names of processes that outlived the main child and were ended."""
    not_ended: list[str] = []
    """Names of processes that could not be ended: another user's, or held by a device."""
    cpu_s: float = 0.0
    max_rss: int = 0
    """Bytes, of the largest single process."""


class Lost(Exception):
    """The try's shim died and left no result. End its remains, restore the workspace, and run again."""


class Try(TryFiles):
    """The files of a try, and the state they tell."""

    def state(self) -> TryState:
        """`fresh`: nothing was spawned, safe to start. `running`: a shim lives. `done`: `result()` has it. `lost`."""
        # In this order. The start before the lock: a shim that starts in between must not read as lost. The result
        # after the lock, again: a shim that ends in between must not either.
        lines = self.lines()
        if is_result(lines):
            return "done"
        if self.shim_pid() is not None:
            return "running"
        if self.over:
            return "done"
        return "lost" if len(lines) > 1 else "fresh"

    def has_started(self) -> bool:
        """Whether something may have been spawned."""
        return len(self.lines()) > 1

    def result(self) -> RunResult:
        """Raises Lost when there is none."""
        try:
            return RunResult.model_validate(self.ended())
        except ValueError as problem:
            raise Lost(f"{self.journal} has no result") from problem

    def shim_pid(self) -> int | None:
        """The shim that holds the lock, by the kernel's word; None when there is none."""
        return lock.holder(str(self.journal))

    def identity(self) -> str:
        """What its processes carry in their environment as BEATCTL_TRY."""
        return str(json.loads(self.lines()[0])["id"])

    def spec(self) -> CommandSpec:
        return CommandSpec.model_validate(json.loads(self.lines()[0]))

    def record(self) -> list[dict[str, Any]]:
        """What the shim noted: itself first, then processes it saw."""
        lines = self.lines()[1:]
        return [json.loads(line) for line in (lines[:-1] if is_result(lines) else lines)]


def every_try(iteration: Path) -> list[Try]:
    """All tries of all runs in the folder of an iteration, in no order."""
    return [Try(one.run, one.number) for one in tries_in(iteration)]


def latest_try(run: Path) -> Try | None:
    """The newest try of a run that has its command: a worker may have died while it wrote one."""
    for one in reversed(tries_of(run)):
        if one.lines():
            return Try(one.run, one.number)
    return None


def new_try(run: Path, spec: CommandSpec) -> Try:
    """The next try of a run: its journal, with the command."""
    run.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = json.dumps({"id": secrets.token_hex(8), **spec.model_dump()})
    number = max((one.number for one in tries_of(run)), default=0) + 1
    while True:
        one = Try(run, number)
        try:
            _write_private(one.journal, command + "\n")
        except FileExistsError:
            number += 1  # another worker was quicker
        else:
            return one


def save_environment(path: Path, environ: Mapping[str, str]) -> None:
    """Keep an environment for `CommandSpec.environment_file`: private to the user, whole or not there."""
    save_private(path, dict(environ))


def save_private(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object that only the user may read, whole or not at all."""
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    _write_private(draft, json.dumps(content))
    draft.rename(path)


def _write_private(path: Path, text: str) -> None:
    # ASCII: json escapes what is not, lone surrogates too.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(text)
