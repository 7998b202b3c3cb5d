"""`set`: change limits, and what is told, while a loop runs, is paused or waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beatctl.cli import arguments, render, service, units
from beatctl.cli.act import unfinished, until
from beatctl.cli.arguments import Json, Loop
from beatctl.cli.limit_options import TypedLimits, asks_for_more, changed_limits, unbounded_warning
from beatctl.cli.loops import Loops
from beatctl.cli.notifications import refuse_to_travel
from beatctl.cli.output import out, say
from beatctl.cli.problems import Elsewhere, Unavailable, Usage
from beatctl.cli.set_notify import change_notifications, is_given
from beatctl.cli.settings import level_of_flags
from beatctl.cli.start_options import Typed, check_values
from beatctl.cli.view import print_status_json

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle

    from beatctl.activities.records import Status


def set_(
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
    notify: arguments.Notify = None,
    notify_on: arguments.NotifyOn = None,
    notify_command: arguments.NotifyCommand = None,
    as_json: Json = False,
) -> int:
    """Change limits while a loop runs.

    -n +50 allows 50 more iterations. 0 means none; --target none takes the target away. What runs keeps the time limit
    it began with. --notify and --notify-command replace what it told before; --notify none tells nobody.
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
    told = Typed(notify=tuple(notify or ()), notify_on=notify_on, notify_command=notify_command)
    if not typed.given() and not is_given(told):
        raise Usage("Which limit? For example: beatctl set --max-iterations 300", help_of="set")
    checked(typed, "set")
    check_values(told)
    loops = Loops()
    try:
        status = unfinished(loops.find(loop), "set")
    except Elsewhere:
        refuse_to_travel(level_of_flags(told), "that host's")
        raise
    words = [change_notifications(loops, status, told)] if is_given(told) else []
    shown = change_limits(loops, status, typed, "set") if typed.given() else loops.status(status.id)
    if typed.given():
        words.insert(0, render.limits_changed(status.limits, shown.limits))
    if as_json:
        print_status_json(shown)
    else:
        out(f"{shown.id}: {'; '.join(words)}")
    warning = unbounded_warning(shown.limits)
    if warning and typed.given():
        say(warning)
    return 0


def change_limits(loops: Loops, status: Status, typed: TypedLimits, command: str) -> Status:
    """Change the limits of a loop that has not ended. Returns its status with those now in force. Raises Usage."""
    allowed = status.limits.get("max_iterations") or 0
    limits = checked(typed, command, allowed, status)
    if asks_for_more(typed) and not allowed:
        raise Usage(f"-n {typed.max_iterations}: loop {status.id} has no limit on iterations to add to.")
    in_force = _update(loops, status, limits)
    shown = until(loops, status.id, lambda now: now.limits == in_force or now.state == "finished")
    return shown.model_copy(update={"limits": in_force})


def checked(typed: TypedLimits, command: str, iterations: int = 0, status: Status | None = None) -> dict[str, Any]:
    """What was typed (for this loop), as fields of Limits; `-n +N` adds to `iterations`. Raises Usage."""
    try:
        limits = changed_limits(typed, iterations=iterations)
    except units.BadValue as wrong:
        raise Usage(str(wrong), help_of=command) from None
    if status is not None and status.strategy == "retry" and {"target", "plateau"} & limits.keys():
        raise Usage("--target and --plateau go with --eval, which gives a score; this loop has --until.")
    return limits


def _update(loops: Loops, status: Status, limits: dict[str, Any]) -> dict[str, Any]:
    """Change the loop's limits; returns those in force. Raises Usage with the validator's words."""
    from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError

    async def send(handle: WorkflowHandle[Any, Any]) -> dict[str, Any]:
        return dict(await handle.execute_update("set_limits", limits, rpc_timeout=service.RPC_LIMIT))

    running = service.bring_back(loops, status)
    try:
        return service.with_loop(loops, status, running, send)
    except WorkflowUpdateFailedError as refused:
        raise Usage(str(refused.cause)) from refused
    except WorkflowUpdateRPCTimeoutOrCancelledError as late:
        raise Unavailable(f"Loop {status.id}'s worker did not answer. See: beatctl doctor") from late
