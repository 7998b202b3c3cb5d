"""Tickets: a step of a loop that was overtaken writes nothing any more.

A worker that was stopped and goes on may be in the middle of a step which the server has long given to another: what
it still writes would hit the files, the refs and the ledger of a loop that is elsewhere by now. So the workflow numbers
its steps, a step holds its loop's `ticket` file while it writes, and whoever finds a later ticket in it leaves at once.
With one ticket it is the attempt that counts; local activities have none: whoever repeats one does the same again.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator

from pydantic import BaseModel
from temporalio import activity
from temporalio.exceptions import ApplicationError

from beatctl.activities.home import LoopFolder
from beatctl.activities.ledger import Ledger
from beatctl.activities.processes import tree
from beatctl.activities.workspace.files import locked, read_note, write_note

_STARTED_NS = time.monotonic_ns()
"""When this process began, by the clock that all processes share and nobody sets: what was noted before is no later
ticket than those it is given, even where the server's data was set back by a power cut."""


class Ticket(BaseModel):
    """Which step of its loop an activity is."""

    number: int
    """Grows with each step, for as long as the loop is there."""
    iteration: int
    """The iteration it belongs to, which has no row yet."""
    version: int = 0
    """That of the loop's status: one that is older has not ended the loop."""


class Hold:
    """An attempt at a step of a loop: what it writes, it writes in `held`."""

    def __init__(self, folder: LoopFolder, ledger: Ledger, ticket: Ticket | None) -> None:
        """Made in the activity itself. `ticket` None: of a workflow that numbered nothing yet; it is always let in."""
        self._folder = folder
        self._ledger = ledger
        self._ticket = ticket
        info = activity.info() if activity.in_activity() else None
        self._attempt = info.attempt if info is not None and not info.is_local else 0

    @contextlib.contextmanager
    def held(self, *, concluded: bool = False) -> Iterator[None]:
        """Keep every other step of the loop out. Waits for the one that writes; blocks.

        Raises ApplicationError: `overtaken` when a later step or attempt has begun, and, unless `concluded` allows for
        it, `behind` when the ledger has the step's iteration or the loop's end already, since the server's data is
        older than the ledger, or when it has no such loop, whose start was given up after the server had heard of it.
        """
        if self._ticket is None:
            yield
            return
        with locked(self._folder.ticket):
            self._begin(self._ticket)
            if not concluded and self._is_behind(self._ticket):
                raise ApplicationError(
                    f"The ledger has #{self._ticket.iteration} of {self._folder.id} already, or its end",
                    type="behind",
                    non_retryable=True,
                )
            yield

    def _is_behind(self, ticket: Ticket) -> bool:
        loop = self._folder.id
        if ticket.iteration == 0 and not self._ledger.has(loop):
            return True
        ended = self._ledger.ended_with(loop)
        return self._ledger.newest(loop) >= ticket.iteration or (ended is not None and ended >= ticket.version)

    def _begin(self, ticket: Ticket) -> None:
        mine, noted = [ticket.number, self._attempt], read_note(self._folder.ticket)
        last = list(noted["ticket"]) if noted is not None else [0, 0]
        of_old = noted is None or noted["boot"] != _boot() or noted["at"] < _STARTED_NS
        if last > mine and not of_old:
            raise ApplicationError(
                f"Step {mine[0]} of {self._folder.id} was overtaken by step {last[0]}: it writes nothing. "
                "Where the server's data was set back: beatctl down, then beatctl up -d",
                type="overtaken",
                non_retryable=True,
            )
        if last != mine:
            write_note(self._folder.ticket, {"ticket": mine, "boot": _boot(), "at": time.monotonic_ns()})


@functools.cache
def _boot() -> str:
    return tree.boot_id()


def overtake(folder: LoopFolder) -> None:
    """For a command that ends a loop without its workflow: no step that was given out before writes any more."""
    with locked(folder.ticket):
        write_note(folder.ticket, {"ticket": [last_ticket(folder) + 1, 0], "boot": _boot(), "at": time.monotonic_ns()})


def last_ticket(folder: LoopFolder) -> int:
    """The number of the loop's latest step so far."""
    noted = read_note(folder.ticket)
    return int(noted["ticket"][0]) if noted is not None else 0
