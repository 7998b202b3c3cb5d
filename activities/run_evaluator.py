"""Run evaluator: one run of the user's evaluator or check, through `sh -c`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from beatctl.activities import masking
from beatctl.activities.child import Finished, run_child
from beatctl.activities.doing import tell
from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.activities.processes import CommandSpec, Spawner, Try
from beatctl.activities.prompt import tail
from beatctl.activities.run_agent import environment_of, restore_known
from beatctl.activities.run_files import beside
from beatctl.activities.score import Score, last_line, read_score, shown
from beatctl.activities.tickets import Hold, Ticket
from beatctl.activities.turns import NotStarted, Turns
from beatctl.activities.workspace import Workspace

_SCORE_FILE = "score"
_READ = 64 * 1024


class RunEvaluatorInput(BaseModel):
    """One run of a command that judges: the evaluator, or the check."""

    loop: str
    iteration: int
    run: str
    """The run's folder below the iteration's: `evaluator`, `evaluator-2`, `check`, `best`, …"""
    command: str
    timeout_s: float
    directory: str
    scored: bool
    """Whether what it prints is read as a score."""
    untouched: bool = False
    """No child has run since the work tree was taken or put back: what differs after a wait is the user's doing."""
    ticket: Ticket | None = None


class EvaluatorResult(BaseModel):
    """How an evaluator ended, and what it said. Its exit code is data."""

    ended_by: Literal["exit", "timeout", "cancel", "output-limit", "not-started"]
    exit_code: int | None = None
    signal: int | None = None
    score: float | None = None
    metrics: dict[str, float] = {}
    problem: str | None = None
    """Why there is no score."""
    line: str = ""
    """The last line it printed (standard output, else standard error)."""
    timeout_s: float = 0.0
    started_at: float = 0.0
    duration_s: float = 0.0
    adopted: bool = False
    lost: int = 0
    started: bool = True
    """False: the loop was cancelled while it waited for its turn, or `edits` were found after that."""
    edits: list[str] = []
    waited_s: float = 0.0
    """For its turn, before it started."""

    def words(self) -> str:
        """What happened, for a ledger line."""
        said = f': "{self.line}"' if self.line else ""
        if self.ended_by == "timeout":
            return f"timed out after {self.timeout_s:g} s"
        if self.ended_by == "output-limit":
            return "printed more than 1 GiB and was ended"
        if self.ended_by == "not-started":
            return self.line or "could not be started"
        if self.signal is not None:
            return f"ended by signal {self.signal}{said}"
        if self.exit_code:
            return f"exit code {self.exit_code}{said}"
        return self.problem or "exit code 0"

    def sentence(self, subject: str = "It") -> str:
        """The same as a sentence: `It ended with exit code 7: "no".`"""
        words = self.words()
        if self.ended_by == "not-started":
            return words if words.endswith(".") else f"{words}."
        if self.signal is not None and self.ended_by == "exit":
            return f"{subject} was {words}."
        return f"{subject} {'ended with ' if words.startswith('exit code') else ''}{words}."


class _Edited(Exception):
    def __init__(self, paths: list[str]) -> None:
        self.paths = paths


async def run_evaluator(
    home: Home, ledger: Ledger, spawner: Spawner, turns: Turns, given: RunEvaluatorInput
) -> EvaluatorResult:
    """Run the command to its end: start it, or adopt or read what an earlier attempt started."""
    loop = home.loop(given.loop)

    def put_back(lost: int) -> None:
        restore_known(loop, f"{given.iteration}-{given.run}-lost{lost}")

    def prepared(run: Path) -> CommandSpec:
        if given.untouched and turn.waited_s:
            edits = Workspace.load(loop).edits()
            if edits:
                raise _Edited(edits)
        return prepare(home, given, run, waited_s=turn.waited_s)

    run = run_path(home, given)
    hold = Hold(loop, ledger, given.ticket)
    with turns.for_evaluator(loop, given.run, given.iteration, run) as turn:
        try:
            finished = await run_child(run, spawner, hold, prepared, put_back, turn)
        except _Edited as edited:
            return EvaluatorResult(ended_by="cancel", started=False, edits=edited.paths[:20])
        except NotStarted:
            return EvaluatorResult(ended_by="cancel", started=False)
    secrets = masking.secrets_of(environment_of(loop))
    result = await asyncio.to_thread(read_result, given, finished, run, secrets)
    return result.model_copy(update={"waited_s": turn.waited_s})


def _score(out: str, run: Path) -> Score:
    score_file = beside(run, _SCORE_FILE)
    return read_score(out, tail(score_file, _READ) if score_file.exists() else None)


def score_of(one: Try) -> float | None:
    """The score that a try which is over gave."""
    result = one.result()
    return (
        _score(tail(one.stdout, _READ), one.run).value if (result.ended_by, result.exit_code) == ("exit", 0) else None
    )


def run_path(home: Home, given: RunEvaluatorInput) -> Path:
    return home.loop(given.loop).iteration(given.iteration) / given.run


def prepare(home: Home, given: RunEvaluatorInput, run: Path, *, waited_s: float = 0.0) -> CommandSpec:
    """What to run."""
    loop, score_file = home.loop(given.loop), beside(run, _SCORE_FILE)
    run.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    score_file.unlink(missing_ok=True)
    tell(loop.now, given.run, given.iteration, run, waited_s=waited_s)
    return CommandSpec(
        argv=["/bin/sh", "-c", given.command],
        cwd=given.directory,
        environment_file=str(loop.environment),
        extra_environment={
            "BEATCTL_LOOP": given.loop,
            "BEATCTL_ITERATION": str(given.iteration),
            "BEATCTL_SCORE_FILE": str(score_file),
        },
        stdin=None,
        timeout_s=given.timeout_s,
    )


def read_result(
    given: RunEvaluatorInput, finished: Finished, run: Path, secrets: Sequence[str] = ()
) -> EvaluatorResult:
    """How the run ended, and what it said, without `secrets`."""
    result = finished.result
    out = tail(finished.try_.stdout, _READ)
    err = tail(finished.try_.stderr, _READ)
    line = masking.masked(shown(last_line(out) or last_line(err) or (result.error or "")), secrets)
    read = EvaluatorResult(
        ended_by=result.ended_by,
        exit_code=result.exit_code,
        signal=result.signal,
        line=line,
        timeout_s=given.timeout_s,
        started_at=result.started_at,
        duration_s=finished.duration_s,
        adopted=finished.adopted,
        lost=finished.lost,
    )
    if not given.scored:
        return read
    if result.ended_by != "exit" or result.exit_code != 0:
        read.problem = read.words()
        return read
    score = _score(out, run)
    problem = masking.masked(score.problem, secrets) if score.problem else None
    return read.model_copy(update={"score": score.value, "metrics": score.metrics, "problem": problem})
