"""`resume`: go on with a loop that is paused or waits, or with one that has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from beatctl.cli import arguments, render, service
from beatctl.cli.act import ask, go_on_from_pause
from beatctl.cli.arguments import Json, Loop
from beatctl.cli.limit_options import TypedLimits
from beatctl.cli.loops import TURN, Loops
from beatctl.cli.output import out, say
from beatctl.cli.problems import Usage
from beatctl.cli.service import LoopUnknown
from beatctl.cli.setting import change_limits, checked
from beatctl.cli.view import print_status_json

if TYPE_CHECKING:
    from beatctl.activities.records import Status


def resume(
    loop: Loop = None,
    max_iterations: arguments.MaxIterations = None,
    max_failures: arguments.MaxFailures = None,
    max_unchanged: arguments.MaxUnchanged = None,
    cooldown: arguments.Cooldown = None,
    agent_timeout: arguments.AgentTimeout = None,
    eval_timeout: arguments.EvalTimeout = None,
    for_: arguments.For = None,
    max_cost: arguments.MaxCost = None,
    max_tokens: arguments.MaxTokens = None,
    target: arguments.Target = None,
    plateau: arguments.Plateau = None,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="An ended loop: return at once.")] = False,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="An ended loop: end it again with this command (as where CI is set).")
    ] = False,
    as_json: Json = False,
) -> int:
    """Go on with a loop that is paused or has ended.

    A loop that has ended goes on from its best, with its ledger: -n +300 allows 300 more iterations, --for counts from
    now; other limits stay. Your edits since become a row of their own.
    """
    typed = TypedLimits(
        max_iterations,
        max_failures,
        max_unchanged,
        cooldown,
        agent_timeout,
        eval_timeout,
        for_,
        max_cost,
        max_tokens,
        target,
        plateau,
    )
    if detach and foreground:
        raise Usage("-d returns at once and --foreground stays to the end: give one of them.", help_of="resume")
    checked(typed, "resume")
    loops = Loops()
    status = loops.find(loop)
    if status.state == "finished":
        from beatctl.cli.going_on import go_on

        return go_on(loops, status, typed, detach=detach, foreground=foreground, as_json=as_json)
    shown, words = go_on_unfinished(loops, status, typed)
    if as_json:
        print_status_json(shown)
    else:
        out(words)
    return 0


def go_on_unfinished(loops: Loops, status: Status, typed: TypedLimits) -> tuple[Status, str]:
    """Go on with a loop that has not ended, from its pause, its wait or its ledger; limits that were typed hold from
    now on. Returns its status, and what became of it in a sentence. Raises Usage, Unavailable."""
    was_down = service.is_down(loops, status)
    if was_down:  # who resumes wants it to run
        service.ensure(loops, service.environ_of(status, loops.environ))
    if (status.state == "running" or status.reason == TURN) and status.asked != "pause":
        if typed.given():
            raise Usage(f"Loop {status.id} is {status.state}. What changes its limits: beatctl set {status.id} …")
        if was_down:
            return status, f"{status.id} goes on."
        if status.asked is None:  # a pause may be on its way still, to a worker that is gone or does not answer
            ask(loops, status, "resume")
        waits = " for its turn" if status.state == "waiting" else ""
        ending = ", and stops after this iteration" if status.asked == "stop" else ""
        return status, f"{status.id} is {status.state}{waits}{ending}: nothing to resume."
    try:
        if typed.given():
            changed = change_limits(loops, status, typed, "resume")
            say(f"{status.id}: {render.limits_changed(status.limits, changed.limits)}")
        shown = go_on_from_pause(loops, status)
        ended = f"{shown.id} has ended: {shown.outcome} ({shown.reason})."
        return shown, ended if shown.state == "finished" else f"{shown.id} goes on."
    except LoopUnknown:
        status = loops.status(status.id)
        if status.state == "finished":
            raise
    from beatctl.cli.going_on import go_on_from_ledger

    shown = go_on_from_ledger(loops, status, typed)
    return shown, f"{shown.id} goes on from its ledger, after iteration {status.iteration}."
