"""Ending a loop now: through its worker, or, when none can be had, by ending its processes from here."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any

from beatctl.cli import service
from beatctl.cli.output import say
from beatctl.cli.problems import Unavailable
from beatctl.cli.units import in_words
from beatctl.worker.run_folder import RunFolder

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle

    from beatctl.activities.processes import Try
    from beatctl.activities.records import Status
    from beatctl.cli.loops import Loops

_POLL_S = 0.05
_TELL_S = 10.0
_LOOK_S = 2.0
_HANGS_S = 60.0
"""After this, what does not answer is named, and what to type."""


def cancel_loop(loops: Loops, status: Status, patience_s: float = math.inf) -> Status:
    """Cancel a loop and wait until it has ended, but no longer than `patience_s`. Returns its last status: unfinished
    after that, and where no worker could be had, in which case its processes are gone and the words for it have been
    said."""
    try:
        running = service.ensure(loops, service.environ_of(status, loops.environ))
        service.with_loop(loops, status, running, _cancel)
        return _wait(loops, status, patience_s)
    except service.LoopUnknown:
        now = loops.status(status.id)
        return now if now.state == "finished" else _close_here(loops, now)
    except Unavailable as problem:
        return _end_here(loops, status, problem)


async def _cancel(handle: WorkflowHandle[Any, Any]) -> None:
    await handle.cancel(rpc_timeout=service.RPC_LIMIT)


def _wait(loops: Loops, status: Status, patience_s: float) -> Status:
    """Until the ledger says that it is over, which is after the last process is gone and the folder put back."""
    began = looked = time.monotonic()
    tell_after = _TELL_S
    while True:
        now = loops.status(status.id)
        if now.state == "finished" or time.monotonic() - began > patience_s:
            return now
        time.sleep(_POLL_S)
        if time.monotonic() - looked > _LOOK_S:
            looked = time.monotonic()
            if not service.is_running(loops, status):
                service.ensure(loops, service.environ_of(status, loops.environ))
        if time.monotonic() - began > tell_after:
            say(_still_ending(loops, status, time.monotonic() - began))
            tell_after *= 2


def _still_ending(loops: Loops, status: Status, waited: float) -> str:
    if waited < _HANGS_S:
        return f"Still ending {status.id}: its processes, then the folder as it was with the best …"
    live = [found.run.name for found in _tries(loops, status.id) if found.state() == "running"]
    what = f"its {live[0]} does not end" if live else "the worker does not answer"
    log = RunFolder(loops.home.root, status.connection).worker_log
    return (
        f"Still ending {status.id} after {in_words(round(waited))}: {what} (log: {log}). To end all by force: "
        f"Ctrl-C, then beatctl down --force, then beatctl cancel {status.id}"
    )


def _end_here(loops: Loops, status: Status, problem: Unavailable) -> Status:
    """No worker and none to be had: end the processes; the loop itself is told when one is back."""
    ended = end_processes(loops, status.id)
    say(
        f"{problem}\n{_ended_words(ended, status.id)} The folder is as the last one left it. "
        f"When the server answers again, end the loop itself: beatctl cancel {status.id}"
    )
    return loops.status(status.id)


def _ended_words(ended: int, loop: str) -> str:
    if not ended:
        return f"No process of {loop} runs."
    return f"Ended {'the process' if ended == 1 else f'{ended} processes'} of {loop} from here: none is left."


def end_processes(loops: Loops, loop: str) -> int:
    """End what runs of a loop, whole process trees. Returns how many runs there were."""
    from beatctl.activities.processes import end

    live = [found for found in _tries(loops, loop) if found.state() == "running"]

    async def end_all(found: list[Try]) -> None:
        await asyncio.gather(*(end(one) for one in found))

    if live:
        asyncio.run(end_all(live))
    return len(live)


def _tries(loops: Loops, loop: str) -> list[Try]:
    from beatctl.activities.processes import every_try

    return [one for folder in loops.folder(loop).runs.glob("*") for one in every_try(folder)]


def _close_here(loops: Loops, status: Status) -> Status:
    """The server knows nothing (any more) of this loop: its start was cut short, or the server's data is gone. Close
    it in the ledger and give the folder back."""
    from beatctl.activities.close_lost import close_lost
    from beatctl.activities.tickets import overtake

    folder = loops.folder(status.id)
    if folder.root.is_dir():
        overtake(folder)
    end_processes(loops, status.id)
    return close_lost(loops.home, loops.ledger, status, time.time())
