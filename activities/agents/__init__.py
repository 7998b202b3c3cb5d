"""Agent programs: finding them, their command lines, and reading what came of a run."""

from __future__ import annotations

import os
from pathlib import Path

from beatctl.activities.agents import prices
from beatctl.activities.agents.adapter import Run, Told
from beatctl.activities.agents.environment import child_environment
from beatctl.activities.agents.outcome import AgentOutcome, Ended, Prompted
from beatctl.activities.agents.output import said_lines, tail_of
from beatctl.activities.agents.registry import ADAPTERS
from beatctl.activities.agents.resolve import AgentMistyped, AgentNotFound, Looked, again, found, look, resolve
from beatctl.activities.agents.spec import AgentKind, AgentSpec

_TAILS = (64 << 10, 2 << 20)
"""Bytes to look for words in; more where the last lines are longer than that (a file read whole)."""

__all__ = [
    "AgentMistyped",
    "AgentNotFound",
    "AgentOutcome",
    "AgentSpec",
    "Looked",
    "Prompted",
    "again",
    "child_environment",
    "command_line",
    "counts_whole_sessions",
    "found",
    "has_sessions",
    "look",
    "read_outcome",
    "resolve",
    "saying",
    "tells",
]


def command_line(
    agent: AgentSpec,
    prompt: str,
    prompt_file: Path,
    *,
    last_message_file: Path,
    root: Path | None = None,
    session: str | None = None,
) -> Prompted:
    """The command line of one run. Pure: `prompt_file`, which holds the prompt, is only named.

    `root`: the workspace's root, where the agent runs in a folder below it and may edit all of it. `session`:
    the agent's own session to go on with, where its kind has any.
    """
    made = ADAPTERS[agent.kind].command_line(agent, Run(prompt, prompt_file, last_message_file, root, session))
    return made.model_copy(update={"environment": {**agent.environment, **made.environment}})


def tells(agent: AgentSpec) -> frozenset[Told]:
    """What of its spending a run of this agent will be known by: what it tells itself, and the cost of its tokens where
    its model is known and has a price. Raises BadPrices."""
    told = ADAPTERS[agent.kind].tells(agent)
    if "tokens" not in told or "cost" in told:
        return told
    price = prices.price_of(agent.model or agent.default_model, prices.tables(os.environ))
    return told | {"cost"} if price is not None else told


def has_sessions(agent: AgentSpec) -> bool:
    """Whether a run of it can go on where an earlier one ended."""
    told = agent.definition
    return agent.kind != "command" and (told is None or bool(told.resume and told.output.session is not None))


def counts_whole_sessions(agent: AgentSpec) -> bool:
    """Whether a run that goes on with a session tells the tokens of all of it, not its own."""
    return agent.kind == "codex"


def read_outcome(
    agent: AgentSpec,
    stdout: Path,
    stderr: Path,
    exit_code: int | None,
    signal: int | None,
    last_message_file: Path,
    at: float | None = None,
    zone: str | None = None,
) -> AgentOutcome:
    """What came of a run. The files may be huge, cut short, missing, or not be UTF-8.

    `at`: when it ended, in unix seconds; None for just now. A limit that ends at a time of the day is seen from there,
    in its `zone` (the TZ it ran with; None: this machine's).
    """
    return ADAPTERS[agent.kind].read(agent, Ended(stdout, stderr, last_message_file, exit_code, signal, at, zone))


def saying(kind: AgentKind, stdout: Path, stderr: Path, directory: str = "") -> str:
    """What a running agent says or does now, in words; empty where its output does not tell. Reads the ends only."""
    for most in _TAILS:
        tail = tail_of(stdout, most)
        words = ADAPTERS[kind].saying(tail, directory)
        if words or len(tail) < most:
            break
    if not words and kind in ("command", "configured"):
        words = next(iter(said_lines(tail_of(stderr))[-1:]), "")
    return words
