"""Run setup: the user's command that makes a new worktree ready, before the baseline: dependencies that git ignores."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from beatctl.activities.child import Finished, run_child
from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.activities.masking import masked, secrets_of
from beatctl.activities.processes import Spawner
from beatctl.activities.prompt import tail
from beatctl.activities.run_agent import environment_of
from beatctl.activities.run_evaluator import EvaluatorResult, RunEvaluatorInput, prepare, read_result, run_path
from beatctl.activities.score import last_line, shown
from beatctl.activities.tickets import Hold


async def run_setup(home: Home, ledger: Ledger, spawner: Spawner, given: RunEvaluatorInput) -> EvaluatorResult:
    """Run the command to its end: start it, or adopt or read what an earlier attempt started.

    Whatever it leaves in the worktree belongs to the baseline, which is taken after it.
    """

    def leave(_lost: int) -> None:
        """What a lost try left stays: there is no snapshot to go back to yet. The command runs again over it."""

    run = run_path(home, given)
    hold = Hold(home.loop(given.loop), ledger, given.ticket)
    finished = await run_child(run, spawner, hold, lambda run: prepare(home, given, run), leave)
    return await asyncio.to_thread(read_setup, given, finished, run, secrets_of(environment_of(home.loop(given.loop))))


def read_setup(given: RunEvaluatorInput, finished: Finished, run: Path, secrets: Sequence[str] = ()) -> EvaluatorResult:
    """How it ended. Installers say on standard error what went wrong; their last line elsewhere is about progress."""
    result = read_result(given, finished, run, secrets)
    complaint = masked(shown(last_line(tail(finished.try_.stderr, 4000))), secrets)
    return result.model_copy(update={"line": complaint or result.line})
