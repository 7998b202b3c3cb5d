"""Attached to a loop without a live view: a line per verdict on stderr, until it ends, pauses or the user leaves."""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Literal

from beatctl.cli import problems, render, service
from beatctl.cli.loops import TURN
from beatctl.cli.output import colour, say, visible, width
from beatctl.cli.problems import Unavailable

if TYPE_CHECKING:
    from beatctl.activities.records import Status
    from beatctl.cli.loops import Loops

_POLL_S = 0.2
_LOOK_S = 2.0
_LONG_WAIT_S = 10.0
_LEAVING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Left:
    """How following ended: the loop ended, paused (where nobody is there to resume it), or the user left."""

    how: Literal["finished", "paused", "signal"]
    status: Status


def exit_code(status: Status) -> int:
    """What an attached command exits with for a loop that has ended."""
    if status.outcome in ("reached", "improved"):
        return 0
    if status.outcome == "cancelled":
        return problems.CANCELLED
    if status.reason == "no-baseline":
        return problems.ENVIRONMENT
    return problems.ENDED_WITHOUT


class Signals:
    """Ctrl-C, SIGTERM and SIGHUP, noted instead of ending the process half-way."""

    def __init__(self) -> None:
        self.came: signal.Signals | None = None

    def note(self, number: int, _frame: FrameType | None) -> None:
        self.came = signal.Signals(number)


@contextlib.contextmanager
def noted_signals() -> Iterator[Signals]:
    """Signals are noted while the block runs."""
    signals = Signals()
    before = {number: signal.signal(number, signals.note) for number in _LEAVING}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def interrupting_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP interrupt the block as Ctrl-C does, so that it can undo what it has begun."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _LEAVING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def follow(loops: Loops, loop: str, signals: Signals, *, leave_when_paused: bool, after: int = -1) -> Left:
    """Print what happens after row `after` until there is nothing more to wait for here."""
    teller = _Teller(loops, loop, after)
    watch = Watch(loops)
    while True:
        status = loops.status(loop)
        teller.tell(status)
        if status.state == "finished":
            return Left("finished", status)
        if signals.came is not None:
            return Left("signal", status)
        if status.state == "paused" and leave_when_paused:
            return Left("paused", status)
        watch.look(status)
        time.sleep(_POLL_S)


class _Teller:
    """Says each row and each change of state once."""

    def __init__(self, loops: Loops, loop: str, after: int) -> None:
        self._loops = loops
        self._loop = loop
        self._scores = {number: score for number, _, score in loops.ledger.course(loop) if number <= after}
        self._version = -1
        self._state = ""
        self._waits = ""
        self._waits_since = 0.0
        self._warned = False
        self._colours = colour(sys.stderr)

    def tell(self, status: Status) -> None:
        self._tell_wait(status)
        if status.version == self._version and self._scores:
            return
        self._version = status.version
        if status.warnings and not self._warned:
            self._warned = True
            for warning in status.warnings:
                say(f"Not protected: {visible(warning)}")
        for row in self._loops.rows(self._loop, after=max(self._scores, default=-1)):
            self._scores[row.iteration] = row.score
            to_beat = render.parent_score(row, self._scores)
            if row.iteration == 0 and row.score is None and status.strategy == "optimize":
                row = row.model_copy(update={"reason": None})  # the loop's end says it
            say(render.row_line(row, to_beat, colours=self._colours, columns=width(sys.stderr, elsewhere=200)))
        self._tell_state(status)

    def _tell_wait(self, status: Status) -> None:
        """A wait for its turn, once, and only one that lasts: most are over in a moment."""
        waits = status.now.partition(":")[0] if status.reason == TURN else ""
        if waits != self._waits:
            self._waits, self._waits_since = waits, time.monotonic()
        elif waits and time.monotonic() - self._waits_since > _LONG_WAIT_S:
            self._waits_since = math.inf
            say(f"{status.id}  {visible(status.now)}")

    def _tell_state(self, status: Status) -> None:
        if status.reason == TURN:  # for whom it only matters what is asked for
            status = status.model_copy(update={"state": "running", "reason": None})
        state = (
            f"{status.state} {status.reason} {status.asked} {status.waiting_until}"
            if status.state != "finished"
            else "finished"
        )
        before, self._state = self._state, state
        if state == before:
            return
        if status.state == "paused":
            say(paused_words(status))
        elif status.state == "waiting":
            say(
                f"{status.id}: {render.wait_words(status, time.time())}"
                if status.waiting_until
                else f"{status.id} waits"
            )
        elif before.startswith(("paused", "waiting")) and status.state == "running":
            say(f"{status.id} goes on.")
        elif status.state == "running" and status.asked == "pause":
            say(f"{status.id} pauses after this iteration.")
        elif status.state == "running" and status.asked == "stop":
            say(f"{status.id} stops after this iteration.")


def paused_words(status: Status) -> str:
    """Why a loop is paused, and how it goes on."""
    why = visible(status.detail) or {"asked": "as asked"}.get(status.reason or "", status.reason or "")
    how = f"beatctl resume {status.id}"
    return f"{status.id} is paused: {why}" + ("" if how in why else f" Go on with: {how}")


class Watch:
    """Sees to it that the loop's worker and server are there."""

    def __init__(self, loops: Loops) -> None:
        self._loops = loops
        self._next = time.monotonic() + _LOOK_S
        self.problem: str | None = None
        """Why nothing runs and what to do, as long as that holds."""

    def look(self, status: Status) -> None:
        if time.monotonic() < self._next:
            return
        if service.is_running(self._loops, status):
            self._tell_crash_loops(status)
        elif service.is_down(self._loops, status):
            self._say(service.down_words(status))
        else:
            try:
                service.ensure(self._loops, service.environ_of(status, self._loops.environ))
                say("Server and worker were gone; they are back, and what ran meanwhile is taken over.")
            except Unavailable as problem:
                self._say(str(problem))
        self._next = time.monotonic() + _LOOK_S

    def _tell_crash_loops(self, status: Status) -> None:
        words = service.crash_words(self._loops, status)
        if words and self.problem is None:
            say(words[0])
        # Its times pass: said once, shown as it is.
        self.problem = words[0] if words else None

    def _say(self, text: str) -> None:
        if text != self.problem:
            say(text)
        self.problem = text
