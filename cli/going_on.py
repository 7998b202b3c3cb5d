"""Going on with a loop that has ended: its ledger and id, a new workflow run; or, where that fails, the loop as it
ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beatctl.cli import freed, notifications, problems, render, service, starting
from beatctl.cli.limit_options import TypedLimits
from beatctl.cli.loops import Loops, folder_in_use, in_the_way
from beatctl.cli.output import out, say
from beatctl.cli.problems import Problem, Unavailable, Usage
from beatctl.cli.setting import checked
from beatctl.cli.units import in_words
from beatctl.cli.view import print_status_json
from beatctl.cli.worktree import check_still_there

if TYPE_CHECKING:
    from collections.abc import Mapping

    from temporalio.client import Client

    from beatctl.activities.agents.spec import AgentSpec
    from beatctl.activities.records import Status
    from beatctl.activities.reopen_workspace import Found
    from beatctl.cli.notifications import Notifications
    from beatctl.worker.what_runs import Running
    from beatctl.workflows.spec import Limits, LoopSpec
    from beatctl.workflows.state import LoopState

_ENDING_S = 10.0
_TELLING_S = 90.0
"""More, for its last message where nothing answers."""
_POLL_S = 0.1


@dataclass(frozen=True)
class Plan:
    """What a finished loop would go on with; nothing has been done yet."""

    status: Status
    """As it ended."""
    spec: LoopSpec
    state: LoopState
    notify: Notifications | None
    words: str
    """From where it goes on, for the person."""


def go_on(loops: Loops, status: Status, typed: TypedLimits, *, detach: bool, foreground: bool, as_json: bool) -> int:
    """Go on with a finished loop and stay with it as `start` does. Raises Usage, Unavailable."""
    from beatctl.cli.attached import attach, is_ci
    from beatctl.cli.follow import interrupting_signals
    from beatctl.cli.preparing import in_force
    from beatctl.worker import what_runs

    plan = planned(loops, status, typed)
    environ = service.environ_of(status, loops.environ)
    if status.connection != "embedded":
        say(f"Temporal server: {status.connection}")
    try:
        with interrupting_signals():
            was_running = what_runs.running(loops.home, environ) is not None
            shown = begin_again(loops, plan)
    except KeyboardInterrupt:
        say(f"Interrupted: {status.id} is as it ended, the folder is untouched.")
        return problems.DETACHED
    head, *more = in_force(shown, plan.spec.agent, plan.spec.fallback, plan.notify)
    for line in (head, f"  goes on   {plan.words}", *more):
        say(line)
    if detach:
        if as_json:
            print_status_json(shown)
        else:
            out(shown.id)
        return 0
    return attach(
        loops,
        shown.id,
        ends_with_us=foreground or is_ci(loops.environ),
        started_service=not was_running,
        as_json=as_json,
        after=shown.iteration,
    )


def planned(loops: Loops, status: Status, typed: TypedLimits) -> Plan:
    """What the loop goes on with. Changes nothing. Raises Usage, Unavailable where it can't or needs no going on."""
    from beatctl.activities.tickets import last_ticket
    from beatctl.workflows.going_on import state_after
    from beatctl.workflows.spec import Limits

    refuse_what_is_over(status)
    limits = Limits(**more_of(status, checked(typed, "resume", iterations_done(status), status)))
    now = time.time()
    state = state_after(status, limits, now, last_ticket(loops.folder(status.id)))
    spec = _spec(loops, status)
    refuse_what_would_end(status, state, spec, limits, now)
    root = Path(spec.worktree)
    freed.check_snapshots(loops, status, "go on from")
    check_still_there(status)
    for folder in (root, Path(spec.directory)):
        if not folder.is_dir():
            raise Usage(f"{folder} is gone: {status.id} works there. Put it back, or start another loop.")
    using = in_the_way(loops.all(), root)
    if using is not None:
        raise folder_in_use(using.id)
    words = _words(status, _found(loops, status, state))
    told = _notifications(status, spec, loops.environ)
    changes = {"agent": _agent(spec, loops.environ), "notify": told.on if told is not None else []}
    return Plan(status, spec.model_copy(update=changes), state, told, words)


def _notifications(status: Status, spec: LoopSpec, environ: Mapping[str, str]) -> Notifications | None:
    """Where its messages go now, by variables and files: what was typed for it was forgotten with its end. Raises
    Usage."""
    told = notifications.of_configuration(Path(spec.origin or spec.worktree), environ)
    if told is None and spec.notify:
        say(
            f"Where {status.id} sent its messages was forgotten with its end: it goes on without. "
            "To be told, write notify into your config.toml, or set BEATCTL_NOTIFY."
        )
    return told


def iterations_done(status: Status) -> int:
    """Iterations with an agent; rows for the user's own edits don't count."""
    return status.iteration - status.edit_rows


def more_of(status: Status, typed: dict[str, Any]) -> dict[str, Any]:
    """The limits a finished loop goes on with: those it had, with what was typed.

    `--for` counts from now. Of iterations and time, one that is used up goes where only the other was given.
    """
    limits = {**status.limits, **typed}
    if typed.get("for_s"):
        limits["for_s"] = round(typed["for_s"] + status.elapsed_s, 3)
        if "max_iterations" not in typed and iterations_done(status) >= (limits.get("max_iterations") or 0):
            limits["max_iterations"] = 0
    elif "max_iterations" in typed and "for_s" not in typed and status.elapsed_s >= (limits.get("for_s") or 0):
        limits["for_s"] = 0.0
    return limits


def refuse_what_is_over(status: Status) -> None:
    """Raises Usage where there is nothing to go on from, or nothing to go on to."""
    if status.baseline is None or status.reason == "no-baseline" or (status.strategy == "optimize" and not status.best):
        raise Usage(f"Loop {status.id} ended before it had a baseline: there is nothing to go on from. Start it anew.")
    if status.strategy == "retry" and status.best is not None:
        where = f"in #{status.best.iteration}" if status.best.iteration else "before any agent ran"
        raise Usage(f"Loop {status.id} passed {where}: it is done. For something else, start another loop.")


def refuse_what_would_end(status: Status, state: LoopState, spec: LoopSpec, limits: Limits, now: float) -> None:
    """Raises Usage where the loop would end at once, with the limit that wants to be changed."""
    from beatctl.workflows.stopping import reason_to_end

    reason = reason_to_end(state.progress(spec, now), limits)
    if reason is None:
        return
    again = f"beatctl resume {status.id}"
    if reason == "max-iterations":
        done = iterations_done(status)
        text = (
            f"has done {done} iterations, and {limits.max_iterations} are allowed. Allow more: {again} -n +{done or 10}"
        )
    elif reason == "target":
        best, target = render.score(status.best.score if status.best else None), render.score(limits.target)
        text = f"has reached its target {target} with {best}. Name another, or none: {again} --target none"
    elif reason == "max-duration":
        text = f"has used up its time of {in_words(limits.for_s)}. Allow more, from now on: {again} --for 8h"
    else:
        text = f"would end at once ({reason}). Change that limit: {again} --help"
    raise Usage(f"Loop {status.id} {text}")


def _spec(loops: Loops, status: Status) -> LoopSpec:
    from pydantic import ValidationError

    from beatctl.workflows.spec import LoopSpec

    try:
        return LoopSpec.model_validate_json(loops.ledger.spec(status.id) or "")
    except ValidationError:
        raise Problem(f"What loop {status.id} was started with can't be read; start another loop.") from None


def _agent(spec: LoopSpec, environ: Mapping[str, str]) -> AgentSpec:
    """The loop's agent as it is installed now. Raises Unavailable."""
    from beatctl.activities import agents

    try:
        return agents.again(spec.agent, environ, Path(spec.directory))
    except agents.AgentNotFound as missing:
        raise Unavailable(str(missing)) from None


def _found(loops: Loops, status: Status, state: LoopState) -> Found:
    from beatctl.activities.reopen_workspace import look
    from beatctl.activities.workspace import Workspace, WorkspaceProblem

    base = state.base.snapshot if state.base is not None and status.strategy == "optimize" else None
    try:
        return look(Workspace.load(loops.folder(status.id)), base)
    except WorkspaceProblem as problem:
        raise Problem(f"Loop {status.id} can't go on from what its folder and its snapshots hold: {problem}") from None


def _words(status: Status, found: Found) -> str:
    """From where the loop goes on. Raises Usage where that would overwrite what only the user can have wanted."""
    edited = _shortened(found.edits)
    best = status.best
    if best is None:
        base = "the files as they are"
    elif best.iteration == 0:
        base = f"the baseline, {render.score(best.score)}, the best it has"
    else:
        base = f"its best, {render.score(best.score)} #{best.iteration}"
    if found.holds == "other":
        raise Usage(
            f"You edited {edited} since {status.id} ended, in files that are not its best: nothing was changed. "
            f"To go on from its best, put your edits aside: beatctl undo {status.id} keeps a copy of what is there and "
            f"clears the way; then resume again. To go on from what is there instead, start another loop."
        )
    if found.holds == "edited":
        return f"from {base}, with your edits ({edited}): they become a row of their own, scored, the one to beat"
    if found.holds == "before":
        return f"from {base}: it is put back, as the folder holds what was there before {status.id}"
    return f"from {base}, after {iterations_done(status)} iterations in {in_words(int(status.elapsed_s))}"


def _shortened(paths: list[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def begin_again(loops: Loops, plan: Plan) -> Status:
    """Claim the folder, keep this shell's environment, start the workflow, its server and worker too. Whatever fails on
    the way, the loop is finished as before. Raises Usage (folder in use), Unavailable."""
    from beatctl.activities.being_started import being_started

    status = plan.status
    environ = service.environ_of(status, loops.environ)
    running = service.ensure(loops, environ)
    spec = plan.spec.model_copy(update=starting.placed(loops, running, status.id))
    _wait_for_the_end(loops, status, running, environ)
    with being_started(loops.folder(status.id)):
        return _started(loops, plan, spec, running, environ)


def _started(loops: Loops, plan: Plan, spec: LoopSpec, running: Running, environ: Mapping[str, str]) -> Status:
    from beatctl.activities.workspace import release
    from beatctl.workflows.state import LoopInput

    status, root = plan.status, Path(plan.spec.worktree)
    if not loops.ledger.replace(plan.state.status(spec, time.time()), status.version):
        raise Usage(f"Loop {status.id} goes on already: beatctl watch {status.id}")
    asked_server = claimed = False
    try:
        starting.claim_folder(loops, root, status.id)
        claimed = True
        starting.write_folder(loops, status.id, Path(spec.directory))
        notifications.keep(loops, status.id, plan.notify, Path(spec.directory))
        asked_server = True
        given = LoopInput(spec=spec, state=plan.state)
        service.with_client(running, environ, lambda client: starting.start_workflow(client, loops, given, again=True))
    except BaseException as error:
        if asked_server:
            # It may have been accepted all the same, its answer lost.
            with contextlib.suppress(Exception):
                service.with_client(running, environ, lambda client: starting.terminate(client, status.id))
        if claimed:
            loops.folder(status.id).forget_secrets()
            with contextlib.suppress(OSError):
                release(loops.home, root, status.id)
        now = loops.status(status.id)
        loops.ledger.write(status.model_copy(update={"version": now.version + 1}))
        if isinstance(error, Exception):
            say(f"{status.id} is as it ended; the folder is untouched.")
        raise
    return loops.status(status.id)


def go_on_from_ledger(loops: Loops, status: Status, typed: TypedLimits) -> Status:
    """Go on with a loop that has not ended and that the server does not know, from its ledger and what has run.

    Raises Usage, Unavailable.
    """
    from beatctl.activities.being_started import being_started
    from beatctl.activities.conclude import edits_under_way, is_given_back
    from beatctl.activities.notify import targets
    from beatctl.activities.tickets import last_ticket
    from beatctl.cli.act import until
    from beatctl.workflows.going_on import caught_up
    from beatctl.workflows.spec import Limits
    from beatctl.workflows.state import LoopInput

    limits = Limits(**{**status.limits, **checked(typed, "resume", status.limits.get("max_iterations") or 0, status)})
    spec, folder = _spec(loops, status), loops.folder(status.id)
    environ = service.environ_of(status, loops.environ)
    running = service.ensure(loops, environ)
    spec = spec.model_copy(update=starting.placed(loops, running, status.id))
    opened = loops.ledger.newest(status.id) >= 0
    with being_started(folder):
        # It has it, but where a `resume` that was killed had not come to that.
        starting.claim_folder(loops, Path(spec.worktree), status.id)
        if not folder.environment.exists():
            starting.write_folder(loops, status.id, Path(spec.directory))
        state = caught_up(status, time.time(), last_ticket(folder), opened=opened)
        asked = state.asked if state.asked == "stop" else None  # a pause is over: that is what was typed
        told = targets.kept(folder.notify)
        known = {
            "limits": limits,
            "asked": asked,
            "notify": told.on if told is not None else None,
            "taking_in": edits_under_way(folder, status.iteration + 1),
            "reopen": opened and is_given_back(folder),
        }
        given = LoopInput(spec=spec, state=state.model_copy(update=known))
        service.with_client(running, environ, lambda client: starting.start_workflow(client, loops, given, again=True))
    return until(loops, status.id, lambda now: now.version > status.version)


def _wait_for_the_end(loops: Loops, status: Status, running: Running, environ: Mapping[str, str]) -> None:
    """The ledger knows of a loop's end a moment before the server does. Raises Unavailable."""
    from temporalio.client import WorkflowExecutionStatus

    async def look(client: Client) -> bool:
        handle = client.get_workflow_handle(service.workflow_id(status.id))
        end = time.monotonic() + _ENDING_S + (_TELLING_S if loops.folder(status.id).notify.exists() else 0)
        while True:
            found = await handle.describe(rpc_timeout=service.RPC_LIMIT)
            if found.status != WorkflowExecutionStatus.RUNNING:
                return True
            if time.monotonic() > end:
                return False
            await asyncio.sleep(_POLL_S)

    try:
        ended = service.with_client(running, environ, look)
    except service.LoopUnknown:
        return  # long past, or the server's database is another one: the ledger has all it takes
    if not ended:
        raise Unavailable(f"The worker is still busy with the end of {status.id}. Try again, or see: beatctl doctor")
