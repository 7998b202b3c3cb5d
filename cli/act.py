"""Acting on a loop that runs: pause, resume, stop, set, cancel."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from beatctl.cli import arguments, render, service, units
from beatctl.cli.arguments import Json, Loop, NamedLoop
from beatctl.cli.loops import Loops
from beatctl.cli.output import out
from beatctl.cli.problems import Usage
from beatctl.cli.start_options import TypedLimits, changed_limits
from beatctl.cli.view import print_status_json

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle

    from beatctl.activities.ledger import Status

_PATIENCE_S = 2.0
_POLL_S = 0.05


def pause(loop: Loop = None, as_json: Json = False) -> int:
    """Pause a loop after this iteration."""
    return _signal(
        loop,
        "pause",
        as_json,
        done=lambda status: status.asked == "pause" or status.state == "paused",
        asked="{id} pauses after this iteration. Go on with: beatctl resume {id}",
        at_once="{id} is paused. Go on with: beatctl resume {id}",
    )


def resume(loop: Loop = None, as_json: Json = False) -> int:
    """Go on with a paused loop, or end a wait."""
    return _signal(
        loop,
        "resume",
        as_json,
        done=lambda status: status.state == "running" and status.asked != "pause",
        asked="{id} goes on.",
        at_once="{id} goes on.",
    )


def stop(loop: Loop = None, as_json: Json = False) -> int:
    """End a loop after this iteration."""
    return _signal(
        loop,
        "stop",
        as_json,
        done=lambda status: status.asked == "stop",
        asked="{id} stops after this iteration. Now instead: beatctl cancel {id}",
        at_once="{id} has ended.",
    )


def _signal(
    word: str | None, signal: str, as_json: bool, *, done: Callable[[Status], bool], asked: str, at_once: str
) -> int:
    loops = Loops()
    status = _unfinished(loops.find(word), signal)
    running = service.bring_back(loops, status)

    async def send(handle: WorkflowHandle[Any, Any]) -> None:
        await handle.signal(signal, rpc_timeout=service.RPC_LIMIT)

    service.with_loop(loops, status, running, send)
    shown = _until(loops, status.id, lambda now: done(now) or now.state == "finished")
    if not done(shown) and shown.state != "finished" and signal != "resume":
        # The signal is in the loop's history; a busy worker has only not said so in the ledger yet.
        shown = shown.model_copy(update={"asked": signal})
    if as_json:
        print_status_json(shown)
    elif shown.state == "finished":
        out(f"{shown.id} has ended: {shown.outcome} ({shown.reason}).")
    else:
        out((asked if shown.asked else at_once).format(id=shown.id))
    return 0


def _until(loops: Loops, loop: str, done: Callable[[Status], bool], patience: float = _PATIENCE_S) -> Status:
    """The loop's status once `done`, or as it is when patience ends."""
    end = time.monotonic() + patience
    while True:
        status = loops.status(loop)
        if done(status) or time.monotonic() > end:
            return status
        time.sleep(_POLL_S)


def _unfinished(status: Status, verb: str) -> Status:
    if status.state == "finished":
        raise Usage(f"Loop {status.id} has ended ({status.outcome}): there is nothing to {verb}.")
    return status


def set_(
    loop: Loop = None,
    max_iterations: arguments.MaxIterations = None,
    max_failures: arguments.MaxFailures = None,
    max_unchanged: arguments.MaxUnchanged = None,
    cooldown: arguments.Cooldown = None,
    agent_timeout: arguments.AgentTimeout = None,
    eval_timeout: arguments.EvalTimeout = None,
    for_: arguments.For = None,
    target: arguments.Target = None,
    plateau: arguments.Plateau = None,
    as_json: Json = False,
) -> int:
    """Change limits while a loop runs.

    0 means none; --target none takes the target away.
    """
    typed = TypedLimits(
        max_iterations, max_failures, max_unchanged, cooldown, agent_timeout, eval_timeout, for_, target, plateau
    )
    if not typed.given():
        raise Usage("Which limit? For example: beatctl set --max-iterations 300", help_of="set")
    try:
        limits = changed_limits(typed)
    except units.BadValue as wrong:
        raise Usage(str(wrong), help_of="set") from None
    loops = Loops()
    status = _unfinished(loops.find(loop), "set")
    if status.strategy == "retry" and {"target", "plateau"} & limits.keys():
        raise Usage("--target and --plateau go with --eval, which gives a score; this loop has --until.")
    in_force = _update(loops, status, limits)
    shown = _until(loops, status.id, lambda now: now.limits == in_force or now.state == "finished")
    shown = shown.model_copy(update={"limits": in_force})
    if as_json:
        print_status_json(shown)
    else:
        out(f"{shown.id} limits: {render.limits_line(in_force, strategy=shown.strategy)}")
    return 0


def _update(loops: Loops, status: Status, limits: dict[str, Any]) -> dict[str, Any]:
    """Change the loop's limits; returns those in force. Raises Usage with the validator's words."""
    from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError

    from beatctl.cli.problems import Unavailable

    async def send(handle: WorkflowHandle[Any, Any]) -> dict[str, Any]:
        return dict(await handle.execute_update("set_limits", limits, rpc_timeout=service.RPC_LIMIT))

    running = service.bring_back(loops, status)
    try:
        return service.with_loop(loops, status, running, send)
    except WorkflowUpdateFailedError as refused:
        raise Usage(str(refused.cause)) from refused
    except WorkflowUpdateRPCTimeoutOrCancelledError as late:
        raise Unavailable(f"Loop {status.id}'s worker did not answer. See: beatctl doctor") from late


def cancel(loop: NamedLoop = None, as_json: Json = False) -> int:
    """End a loop now.

    When this says so, none of its processes is left and the folder holds the best.
    """
    from beatctl.cli.cancelling import cancel_loop

    loops = Loops()
    status = loops.named(loop, "cancel")
    if status.state != "finished":
        status = cancel_loop(loops, status)
    if as_json:
        print_status_json(status)
    elif status.state == "finished" and status.outcome == "cancelled":
        out(f"{status.id} is cancelled: none of its processes is left. The folder holds {_held(status)}.")
    elif status.state == "finished":
        out(f"{status.id} has ended already: {status.outcome} ({status.reason}).")
    return 0 if status.state == "finished" else 1


def _held(status: Status) -> str:
    if status.strategy == "retry" and status.best is None:
        return "the last finished try"
    return "the best" if status.best and status.baseline and status.best != status.baseline else "what it held before"
