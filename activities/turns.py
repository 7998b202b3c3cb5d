"""Taking turns: how many agents and evaluators run at once on this host, whichever loops they belong to.

First come, first served. A run that waits holds no thread, and its wait is no part of its time limit. The turnstiles
live with the worker; what outlives it is on disk: a run that goes on under its shim keeps its place in the next worker,
and the note of a loop that waits keeps its place in line.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from beatctl.activities.beating import Beat
from beatctl.activities.doing import tell, told
from beatctl.activities.home import Home, LoopFolder
from beatctl.activities.ledger import Ledger
from beatctl.activities.processes import Try, latest_try
from beatctl.activities.records import Status
from beatctl.activities.turnstile import Turnstile, Waiter

_KEPT_S = 10.0
"""An evaluator's place is kept for the loop's next run of it, until the iteration is concluded; where that never comes
(its workflow was terminated), for so long."""
_LOOK_S = 2.0
"""How often one who waits says anew whom it waits for."""
_STRANGERS_S = 1.0


class NotStarted(Exception):
    """Nothing was started: the loop was cancelled, is to decide anew, or has no time left."""


@dataclass(frozen=True)
class Word:
    """What a loop's decision to run something rests on: when it holds no more, the run goes back from the line."""

    ledger: Ledger
    as_of: int | None = None
    """The version of the loop's status; None: whatever comes, the run is wanted."""
    not_after: float | None = None
    """Unix seconds."""


class Turns:
    """The turnstiles of one worker."""

    def __init__(self, agents: int, evaluators: int) -> None:
        """How many may run at once; 0: no limit."""
        self.agents = Turnstile(agents, "agent", "agents", "--max-concurrent-agents")
        self.evaluators = Turnstile(evaluators, "evaluator", "evaluators", "--max-concurrent-evaluators")
        self._loop = asyncio.get_running_loop()
        self._strangers: dict[str, tuple[Turnstile, Try]] = {}
        self._watching: asyncio.Task[None] | None = None

    async def take_over(self, home: Home) -> None:
        """Give a place to what an earlier worker started and runs still, before anything new may start."""
        for loop, is_agent, try_ in await asyncio.to_thread(_running, home):
            turnstile = self.agents if is_agent else self.evaluators
            turnstile.enter(loop)
            self._strangers[loop] = turnstile, try_
        if self._strangers:
            self._watching = asyncio.create_task(self._watch())

    def met(self, loop: str) -> None:
        """Its own activity looks after it from now on."""
        stranger = self._strangers.pop(loop, None)
        if stranger is not None:
            stranger[0].leave(loop)

    async def _watch(self) -> None:
        """Until each is met, or has ended with nobody coming for it."""
        while self._strangers:
            await asyncio.sleep(_STRANGERS_S)
            for loop, (_, try_) in list(self._strangers.items()):
                if await asyncio.to_thread(try_.state) != "running":
                    self.met(loop)

    def heard(self, status: Status) -> None:
        """A loop's status has changed. From any thread."""
        self._loop.call_soon_threadsafe(self.agents.heard, status.id, status.version)
        if status.state != "running":
            self.evaluated(status.id)

    def evaluated(self, loop: str) -> None:
        """The loop's evaluation is over. From any thread."""
        self._loop.call_soon_threadsafe(self.evaluators.give_up, loop)

    def for_agent(self, loop: LoopFolder, what: str, iteration: int, run: Path, word: Word) -> Turn:
        return Turn(self, self.agents, loop, what, iteration, run, word=word)

    def for_evaluator(self, loop: LoopFolder, what: str, iteration: int, run: Path) -> Turn:
        """All runs of one evaluation (check, samples) are one turn: its scores are measured side by side with none."""
        return Turn(self, self.evaluators, loop, what, iteration, run, keep_s=_KEPT_S)


class Turn:
    """One run's turn, given back with the end of the block. While it waits, the note in the loop's folder says so."""

    def __init__(
        self,
        turns: Turns,
        turnstile: Turnstile,
        loop: LoopFolder,
        what: str,
        iteration: int,
        run: Path,
        *,
        word: Word | None = None,
        keep_s: float = 0.0,
    ) -> None:
        self.waited_s = 0.0
        """How long it has waited, also in workers before this one."""
        self._turns = turns
        self._turnstile = turnstile
        self._loop = loop
        self._what, self._iteration, self._run = what, iteration, run
        self._word = word
        self._keep_s = keep_s
        self._inside = False

    def __enter__(self) -> Turn:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._inside:
            self._turnstile.leave(self._loop.id, self._keep_s if kind is None else 0.0)

    async def take_over(self) -> None:
        """What was started earlier has a place without waiting."""
        if self._inside:
            return
        self._turnstile.enter(self._loop.id)
        self._inside = True
        self._turns.met(self._loop.id)
        note = await asyncio.to_thread(told, self._loop.now)
        if note is not None and note.run == str(self._run):
            self.waited_s = note.waited_s

    async def take(self, beat: Beat) -> None:
        """Wait for the turn, with the reason where people look. Raises NotStarted."""
        if self._inside:
            return
        came = await asyncio.to_thread(self._came)
        if self._turnstile.entered(self._loop.id):
            self._inside = True
            if came is not None:  # in the worker before this one
                self.waited_s = round(max(0.0, time.time() - came), 3)
            return
        try:
            await self._wait(beat, came)
        except NotStarted:
            await asyncio.to_thread(_forget, self._loop.now)
            raise
        await asyncio.to_thread(_forget, self._loop.now)

    def _came(self) -> float | None:
        """When this run joined the line, where it did so before."""
        note = told(self._loop.now)
        return note.since if note is not None and note.waiting and note.run == str(self._run) else None

    async def _wait(self, beat: Beat, came: float | None) -> None:
        waiter: Waiter | None = None
        stopping = asyncio.create_task(activity.wait_for_worker_shutdown())
        try:
            waiter = self._turnstile.join(self._loop.id, came, self._word.as_of if self._word else None)
            if await self._word_is_old():
                self._turnstile.send_back(waiter)
                raise NotStarted
            while not waiter.turn.done():
                if stopping.done():
                    raise _worker_stops()
                await self._tell(waiter, beat)
                either: set[asyncio.Future[Any]] = {waiter.turn, stopping}
                await asyncio.wait(either, timeout=self._seconds(), return_when=asyncio.FIRST_COMPLETED)
            if not waiter.turn.result():
                raise NotStarted
            self._inside = True
            self.waited_s = round(max(0.0, time.time() - waiter.since), 3)
        except asyncio.CancelledError:
            details = activity.cancellation_details()
            if details is not None and details.cancel_requested:
                raise NotStarted from None
            if details is not None and details.worker_shutdown:
                raise _worker_stops() from None
            if waiter is not None:
                self._turnstile.step_out(waiter)
                waiter = None
            raise
        finally:
            stopping.cancel()
            beat.words = ""
            if waiter is not None and not self._inside:
                self._turnstile.quit(waiter)

    async def _word_is_old(self) -> bool:
        """Asked after the line was joined: a change that comes now is heard there."""
        if self._word is None or self._word.as_of is None:
            return False
        status = await asyncio.to_thread(self._word.ledger.status, self._loop.id)
        return status is not None and status.version > self._word.as_of

    async def _tell(self, waiter: Waiter, beat: Beat) -> None:
        words = self._turnstile.words()
        if words != beat.words:
            beat.words = words
            await asyncio.to_thread(
                tell, self._loop.now, self._what, self._iteration, self._run, since=waiter.since, waiting=words
            )

    def _seconds(self) -> float:
        """Until the next look. Raises NotStarted when the time is over."""
        if self._word is None or self._word.not_after is None:
            return _LOOK_S
        left = self._word.not_after - time.time()
        if left <= 0:
            raise NotStarted
        return min(_LOOK_S, left)


def _worker_stops() -> ApplicationError:
    return ApplicationError("The worker stops; the run waits on", type="WorkerShutdown")


def _forget(note: Path) -> None:
    with contextlib.suppress(OSError):
        note.unlink(missing_ok=True)


def _running(home: Home) -> list[tuple[str, bool, Try]]:
    """What runs at this moment, of every loop: its id, whether it is an agent, its try."""
    found = []
    for place in home.loops.glob("*/now.json"):
        note = told(place)
        run = Path(note.run) if note is not None and not note.waiting else None
        if run is None or run.name == "setup":
            continue
        try_ = latest_try(run)
        if try_ is not None and try_.state() == "running":
            found.append((place.parent.name, run.name.startswith("agent"), try_))
    return found
