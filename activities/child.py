"""One child process under an activity: started at most once, adopted when it runs already, run again when lost.

The shim owns the process; this is the activity's side: find what a former attempt left, start or adopt it, beat while
it runs, and end it when (and only when) the loop is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from beatctl.activities.beating import beating
from beatctl.activities.processes import (
    CommandSpec,
    Lost,
    RunResult,
    Spawner,
    Try,
    TryState,
    end,
    end_remains,
    faults,
    latest_try,
    new_try,
    wait,
)
from beatctl.activities.tickets import Hold
from beatctl.activities.turns import Turn

T = TypeVar("T")


@dataclass(frozen=True)
class Finished:
    """A child that ran to its end."""

    try_: Try
    result: RunResult
    adopted: bool
    """It was started by an earlier attempt of the activity, in a worker that is no more."""
    lost: int
    """Tries that died with their shim, before this one."""

    @property
    def duration_s(self) -> float:
        return round(self.result.ended_at - self.result.started_at, 3)


class _Cancelled(Exception):
    """The loop was cancelled, and the child's whole tree is gone."""

    def __init__(self, result: RunResult) -> None:
        self.result = result


async def run_child(
    run: Path,
    spawner: Spawner,
    hold: Hold,
    prepare: Callable[[Path], CommandSpec],
    put_back: Callable[[int], None],
    turn: Turn | None = None,
) -> Finished:
    """Bring the run named `run` (see run_files.py) to its end, whatever an earlier attempt has done of it.

    `prepare(run)` makes the command of a fresh run, only when nothing of it has started and once its `turn` has come.
    `put_back(k)` undoes what try k, which was lost, left in the workspace. Both run in threads, with the loop held; an
    attempt that was overtaken touches nothing, no child either. When the loop is cancelled the result (`ended_by` is
    `cancel`) comes once the whole process tree is gone, CancelledError where nothing had started; a worker that stops
    leaves the child running and raises a retryable error. Raises NotStarted where its turn did not come.
    """

    def latest() -> tuple[Try | None, TryState]:
        with hold.held():
            return _latest(run)

    def undo(lost: Try) -> None:
        with hold.held():
            put_back(lost.number)

    def new() -> Try:
        faults.point("child:before-new")
        with hold.held():
            return new_try(run, prepare(run))

    async with beating() as beat:
        adopted = False
        while True:
            current, state = await asyncio.to_thread(latest)
            if current is not None and state == "lost":
                await asyncio.to_thread(end_remains, current)
                await asyncio.to_thread(undo, current)
                current, state = None, "fresh"
            if state == "fresh":
                if current is not None:
                    await end(current)  # a shim that is on its way to it after all spawns nothing
                if turn is not None:
                    await turn.take(beat)
                current = await asyncio.to_thread(new)
                try:
                    await _or_end(spawner.start(current), current)
                except _Cancelled as cancelled:
                    return Finished(current, cancelled.result, False, _lost_before(run, current))
                adopted = False
            elif state in ("running", "done"):
                adopted = True
                if turn is not None:
                    await turn.take_over()
            assert current is not None
            try:
                result = await _or_end(wait(current), current)
            except Lost:
                continue
            except _Cancelled as cancelled:
                result = cancelled.result
            return Finished(current, result, adopted, _lost_before(run, current))


def _latest(run: Path) -> tuple[Try | None, TryState]:
    current = latest_try(run)
    return current, _state(current) if current is not None else "fresh"


def _state(current: Try) -> TryState:
    """Its state; a result that cannot be read is none."""
    state = current.state()
    if state == "done":
        try:
            current.result()
        except Lost:
            return "lost"
    return state


def _lost_before(run: Path, current: Try) -> int:
    """How many tries of the run were lost before this one, whichever worker saw them."""
    return sum(_state(Try(run, number)) == "lost" for number in range(1, current.number))


async def _or_end(work: Coroutine[Any, Any, T], current: Try) -> T:
    """The work's result. A stopping worker is heard at once; a cancelled loop ends the child first."""
    task = asyncio.create_task(work)
    stopping = asyncio.create_task(activity.wait_for_worker_shutdown())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ApplicationError("The worker stops; the child goes on", type="WorkerShutdown")
    except asyncio.CancelledError:
        details = activity.cancellation_details()
        if details is not None and details.cancel_requested:
            ended = await asyncio.shield(end(current))
            if ended is not None:
                raise _Cancelled(ended) from None
        elif details is not None and details.worker_shutdown:
            raise ApplicationError("The worker stops; the child goes on", type="WorkerShutdown") from None
        raise
    finally:
        task.cancel()
        stopping.cancel()
