"""Staying with a loop, on a terminal: look, show, listen, until the loop ends or the person leaves."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from beatctl.cli.follow import Left, Signals, Watch
from beatctl.cli.live.acting import Acting
from beatctl.cli.live.frame import Look, frame, last_frame
from beatctl.cli.live.keys import Typing, keys
from beatctl.cli.live.notices import Notices
from beatctl.cli.live.screen import Vanished
from beatctl.cli.live.seen import Seen, Watched
from beatctl.cli.live.terminal import Terminal
from beatctl.cli.output import say, visible

if TYPE_CHECKING:
    from beatctl.cli.loops import Loops


_BETWEEN_S = 2.0
"""Nothing runs for as long between two runs, all being well."""


def stay(loops: Loops, loop: str, signals: Signals, *, ends_with_us: bool) -> Left:
    """Show the loop until it ends or the person leaves; with `ends_with_us` a pause ends it, too."""
    watched = Watched(loops, loop, _here())
    seen = watched.look()
    terminal = Terminal(loops.environ)
    if seen.status.state == "finished":
        left = Left("finished", seen.status)
    else:
        acting = Acting(loops, loop, Watch(loops))
        try:
            with terminal.taken() as notices:
                left, seen = _shown(terminal, notices, watched, seen, acting, signals, ends_with_us)
        finally:
            acting.leave()
    if left.how == "finished":
        columns, lines = terminal.screen.size()
        for line in last_frame(seen, Look(columns=columns, lines=lines, bars=terminal.bars), time.time()):
            say(terminal.written(line))
    return left


def _shown(
    terminal: Terminal,
    notices: Notices,
    watched: Watched,
    seen: Seen,
    acting: Acting,
    signals: Signals,
    ends_with_us: bool,
) -> tuple[Left, Seen]:
    typing = Typing()
    warned = False
    ran = 0.0
    try:
        while True:
            if seen.status.warnings and not warned:
                warned = True
                for warning in seen.status.warnings:
                    say(f"Not protected: {visible(warning)}")
            left = _left(seen, signals, ends_with_us)
            if left is not None:
                return left, seen
            columns, lines = terminal.screen.size()
            shown = _asked(seen, acting.pending)
            problem = acting.watch.problem or ""
            ran = time.monotonic() if seen.running is not None else ran
            look = Look(
                columns=columns,
                lines=lines,
                bars=terminal.bars,
                keys=keys(shown.status, ends_with_us=ends_with_us),
                question=typing.question(shown.status.id, columns),
                stuck=problem if time.monotonic() - ran > _BETWEEN_S else "",
                notices=notices.shown(problem),
            )
            now = time.time()
            # Its times have seconds: with all else the same it is the same frame.
            status = shown.status
            moment = (status.version, status.state, status.now, status.asked)
            these = (look, int(now), moment, shown.running, shown.ran, shown.words)
            terminal.show(these, partial(frame, shown, look, now), columns)
            asked = typing.take(terminal.typed(these), shown.status, ends_with_us=ends_with_us)
            if asked is not None and asked.what == "detach":
                return Left("signal", seen.status), seen
            if asked is not None:
                acting.ask(asked)
            try:
                seen = watched.look()
            except sqlite3.Error as error:
                say(f"The ledger can't be read ({error}): trying again.")
    except Vanished:
        return Left("signal", seen.status), seen


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError:  # it is gone
        return Path("/")


def _left(seen: Seen, signals: Signals, ends_with_us: bool) -> Left | None:
    if seen.status.state == "finished":
        return Left("finished", seen.status)
    if signals.came is not None:
        return Left("signal", seen.status)
    if seen.status.state == "paused" and ends_with_us:
        return Left("paused", seen.status)
    return None


def _asked(seen: Seen, pending: str | None) -> Seen:
    """As it will be in a moment: what was asked for shows at once."""
    if pending in ("pause", "stop", "cancel"):
        return replace(seen, status=seen.status.model_copy(update={"asked": pending}))
    if pending == "resume":
        return replace(seen, status=seen.status.model_copy(update={"asked": None, "state": "running"}))
    return seen
