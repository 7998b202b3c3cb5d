"""What beatctl knows of one kind of agent program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from beatctl.activities.agents.outcome import AgentOutcome, Ended, Prompted
from beatctl.activities.agents.spec import AgentSpec

Told = Literal["cost", "tokens"]

LONGEST_ARGUMENT = 32 << 10
"""Bytes of prompt that go into an argument list; the system's own limit is 128 KiB for one argument."""


@dataclass(frozen=True)
class Run:
    """One run of an agent, as it is asked for."""

    prompt: str
    prompt_file: Path
    """Holds the prompt."""
    last_message_file: Path
    """Where an agent that can is told to write its last message."""
    root: Path | None = None
    """The workspace's root, where the agent runs in a folder below it and may edit all of it."""
    session: str | None = None
    """The agent's own, of an earlier run, to go on with; an agent that has none passes over it."""


class Adapter(Protocol):
    """How to run one agent without a terminal, and how to read what it printed."""

    def command_line(self, agent: AgentSpec, run: Run) -> Prompted:
        """The command line of one run. Pure: nothing is read or written."""
        ...

    def read(self, agent: AgentSpec, ended: Ended) -> AgentOutcome:
        """What came of a run."""
        ...

    def saying(self, tail: bytes, directory: str) -> str:
        """What the agent says or does now, in a line of words, never JSON; empty where `tail` does not tell.

        `tail` is the end of its standard output, cut off anywhere; paths below `directory` are told from there. Pure.
        """
        ...

    def tells(self, agent: AgentSpec) -> frozenset[Told]:
        """What of a run's spending it tells, or what can be said of it by the price table."""
        ...

    def refusal(self, agent: AgentSpec, environ: dict[str, str]) -> str | None:
        """Why this agent would refuse to start as it is asked to, with what to do; None when it would not."""
        ...


def argument(run: Run) -> tuple[str, bool]:
    """The prompt as one argument, and whether it is whole; one too long is replaced by a line that names its file."""
    text = run.prompt.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace")
    if len(text) > LONGEST_ARGUMENT:
        return f"Your task is the text in the file {run.prompt_file}: read all of it, then do what it says.", False
    # An argument that begins with a dash would be taken for an option.
    return ("\n" if text.startswith(b"-") else "") + text.decode(), True
