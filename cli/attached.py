"""Staying with a loop: what Ctrl-C, a pause and the end mean for the command that follows it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping

from beatctl.cli import problems, render
from beatctl.cli.cancelling import cancel_loop
from beatctl.cli.follow import Left, exit_code, follow, noted_signals, paused_words
from beatctl.cli.loops import Loops
from beatctl.cli.notifications import wait_for_the_last
from beatctl.cli.output import colour, say
from beatctl.cli.view import print_status_json

_LEAVING_S = 10.0
"""For the message of a loop that was cancelled: whoever ended this command may not wait longer before it kills it."""


def attach(
    loops: Loops, loop: str, *, ends_with_us: bool, started_service: bool, as_json: bool, after: int = -1
) -> int:
    """Follow a loop to its end, telling of each row but those up to number `after`; returns the exit code.

    `ends_with_us`: leaving cancels the loop (CI, --foreground) and, where this command `started_service`, ends server
    and worker too. Otherwise leaving only detaches.
    """
    with noted_signals() as signals:
        if not as_json and has_live_view(loops.environ):
            from beatctl.cli.live.stay import stay

            left = stay(loops, loop, signals, ends_with_us=ends_with_us)
            if left.how == "paused":
                say(paused_words(left.status))
        else:
            nobody_there = ends_with_us or not sys.stderr.isatty()
            left = follow(loops, loop, signals, leave_when_paused=nobody_there, after=after)
        if left.how == "finished" and ends_with_us:
            wait_for_the_last(loops, loop, signals)
        if left.how == "signal" and ends_with_us:
            say(f"Cancelling {loop} …")
            status = cancel_loop(loops, left.status)
            wait_for_the_last(loops, loop, signals, _LEAVING_S)
            left = Left("finished", status) if status.state == "finished" else Left("signal", status)
            unfinished = any(other.state != "finished" for other in loops.all())
            if started_service and not unfinished and not any(loops.home.schedules.glob("*/schedule.json")):
                _end_service(loops)
    if as_json:
        with contextlib.suppress(BrokenPipeError):
            print_status_json(left.status)
    if left.how == "finished":
        for line in render.ending_lines(left.status, colours=colour(sys.stderr)):
            say(line)
        return exit_code(left.status)
    if left.how == "paused":
        return problems.ENDED_WITHOUT  # why, and how to go on, was said with the pause
    if ends_with_us:
        return problems.CANCELLED
    say(
        f"Detached. {loop} goes on, and spends. Come back: beatctl watch {loop}\n"
        f"End it after the iteration: beatctl stop {loop}   Now: beatctl cancel {loop}"
    )
    return problems.DETACHED


def attach_to_all(loops: Loops, *, as_json: bool) -> int:
    """Show all loops in a table that updates; without a terminal, the table once. Returns the exit code."""
    if as_json or not has_live_view(loops.environ):
        from beatctl.cli.listing import list_

        return list_(as_json=as_json)
    from beatctl.cli.live.stay_with_all import stay_with_all

    with noted_signals() as signals:
        asked = stay_with_all(loops, signals)
    going = sum(loop.state != "finished" for loop in loops.all())
    if going:
        say(f"{going} loop{' goes' if going == 1 else 's go'} on. Come back: beatctl watch --all")
    return 0 if asked else problems.DETACHED


def is_ci(environ: Mapping[str, str]) -> bool:
    """Whether this is an automated build, where nobody comes back to a loop that was left running."""
    return environ.get("CI", "").lower() not in ("", "0", "false", "no")


def has_live_view(environ: Mapping[str, str]) -> bool:
    """Whether a person sees stderr and types on stdin: on a terminal that can move its cursor, in the foreground."""
    if is_ci(environ) or environ.get("TERM", "") in ("", "dumb", "unknown"):
        return False
    try:
        return sys.stderr.isatty() and sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):  # closed, or another session's
        return False


def _end_service(loops: Loops) -> None:
    from beatctl.worker import shutting_down

    shutting_down.shut_down(loops.home)
