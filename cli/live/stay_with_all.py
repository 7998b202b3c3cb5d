"""Staying with every loop at once: a table that updates, until the person leaves."""

from __future__ import annotations

import sqlite3
import time
from functools import partial
from typing import TYPE_CHECKING

from beatctl.cli.follow import Signals, Watch
from beatctl.cli.live.acting import keep
from beatctl.cli.live.frame import Look
from beatctl.cli.live.screen import Vanished
from beatctl.cli.live.seen import Running, running
from beatctl.cli.live.styled import Text
from beatctl.cli.live.table import table
from beatctl.cli.live.terminal import Terminal
from beatctl.cli.output import say

if TYPE_CHECKING:
    from beatctl.activities.records import Status
    from beatctl.cli.loops import Loops


def stay_with_all(loops: Loops, signals: Signals) -> bool:
    """Show the table until `q`, or until a signal comes: then False."""
    known = loops.all()
    changes = _changes(loops)
    watches = {loop.connection: Watch(loops) for loop in known if loop.state != "finished"}

    def look_after() -> None:
        for connection, watch in watches.items():
            newest = next((loop for loop in loops.all() if loop.connection == connection), None)
            if newest is not None and newest.state != "finished":
                watch.look(newest)

    leave = keep(look_after)
    terminal = Terminal(loops.environ)
    try:
        with terminal.taken() as notices:
            while signals.came is None:
                columns, lines = terminal.screen.size()
                problems = dict.fromkeys(watch.problem for watch in watches.values())
                look = Look(columns=columns, lines=lines, keys=["q leave"], notices=notices.shown(*problems))
                now = time.time()
                these = (look, int(now), changes)
                terminal.show(these, partial(_frame, loops, known, look, now), columns)
                if terminal.typed(these).lower() == "q":
                    return True
                try:
                    # All loops are read again only when something was written, and once a second for their times.
                    written = _changes(loops)
                    if written != changes or int(time.time()) != int(now):
                        changes, known = written, loops.all()
                except sqlite3.Error as error:
                    say(f"The ledger can't be read ({error}): trying again.")
    except Vanished:
        pass
    finally:
        leave()
    return False


def _frame(loops: Loops, known: list[Status], look: Look, now: float) -> list[Text]:
    return table(known, _running(loops, known), look, now)


def _running(loops: Loops, known: list[Status]) -> dict[str, Running]:
    found = {loop.id: running(loops.folder(loop.id).now) for loop in known if loop.state in ("running", "waiting")}
    return {loop: child for loop, child in found.items() if child is not None}


def _changes(loops: Loops) -> int:
    return loops.ledger.changes() if loops.home.ledger.exists() else 0
