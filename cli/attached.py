"""Staying with a loop: what Ctrl-C, a pause and the end mean for the command that follows it."""

from __future__ import annotations

import contextlib
import sys

from beatctl.cli import problems, render
from beatctl.cli.cancelling import cancel_loop
from beatctl.cli.follow import Left, exit_code, follow, noted_signals
from beatctl.cli.loops import Loops
from beatctl.cli.output import colour, say
from beatctl.cli.view import print_status_json


def attach(loops: Loops, loop: str, *, ends_with_us: bool, started_service: bool, as_json: bool) -> int:
    """Follow a loop to its end; returns the exit code.

    `ends_with_us`: leaving cancels the loop (CI, --foreground) and, where this command `started_service`, ends server
    and worker too. Otherwise leaving only detaches.
    """
    with noted_signals() as signals:
        nobody_there = ends_with_us or not sys.stderr.isatty()
        left = follow(loops, loop, signals, leave_when_paused=nobody_there)
        if left.how == "signal" and ends_with_us:
            say(f"Cancelling {loop} …")
            status = cancel_loop(loops, left.status)
            left = Left("finished", status) if status.state == "finished" else Left("signal", status)
            if started_service and not any(other.state != "finished" for other in loops.all()):
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


def _end_service(loops: Loops) -> None:
    from beatctl.worker import local

    local.shut_down(loops.home)
