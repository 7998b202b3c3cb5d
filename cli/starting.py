"""Making a loop: its entry in the ledger, its hold on the folder, its environment, its workflow; or none of them."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from beatctl.cli import notifications, service
from beatctl.cli.loops import Loops, Taken, folder_in_use, new_id, taken, wanted_id
from beatctl.cli.output import say, visible
from beatctl.cli.problems import Usage
from beatctl.cli.start_options import Chosen
from beatctl.cli.worktree import make_own_worktree

if TYPE_CHECKING:
    from temporalio.client import Client

    from beatctl.activities.agents.spec import AgentSpec
    from beatctl.activities.records import Status
    from beatctl.activities.workspace import Origin
    from beatctl.worker.what_runs import Running
    from beatctl.workflows.spec import LoopSpec
    from beatctl.workflows.state import LoopInput

_SUMMARY_BYTES = 200
_KEYWORD_CHARACTERS = 255
_TRIES = 5
"""With an id of our own making: a shared server may have a loop of that id, of another host."""
_TERMINATE_LIMIT = timedelta(seconds=3)
_TASK_LIMIT = timedelta(seconds=5)


def make_spec(
    loops: Loops,
    chosen: Chosen,
    loop: str,
    agent: AgentSpec,
    directory: Path,
    root: Path,
    running: Running | None,
    *,
    origin: Origin | None,
    allow_large: bool,
    fallback: AgentSpec | None = None,
) -> LoopSpec:
    """The specification of a new loop. `running` None: one that is only tried out, without a server."""
    from beatctl.worker.hosts import this_host
    from beatctl.workflows.spec import Limits, LoopSpec

    limits = Limits(**chosen.limits)
    return LoopSpec(
        id=loop,
        goal=chosen.goal,
        strategy=chosen.strategy,
        evaluator=chosen.evaluator,
        direction=chosen.direction,
        steps=chosen.steps,
        check=chosen.check,
        samples=chosen.samples,
        on_fail=chosen.on_fail,
        memory=chosen.memory,
        memory_budget=chosen.memory_budget,
        template=chosen.template,
        agent=agent,
        fallback=fallback,
        limits=limits,
        directory=str(directory),
        worktree=str(root),
        origin=str(origin.top) if origin is not None else None,
        branch=chosen.branch,
        repo=chosen.repo,
        ref=chosen.ref,
        setup=chosen.setup,
        setup_timeout_s=limits.eval_timeout_s if chosen.setup_timeout_s is None else chosen.setup_timeout_s,
        allow_large=allow_large,
        notify=chosen.notify.on if chosen.notify is not None else [],
        ui_url=ui_url(running, loop) if running is not None else None,
        connection=running.connection.label if running is not None else "embedded",
        host=this_host(loops.home).name if running is not None else None,
        schedule=loops.environ.get("BEATCTL_LOOP_SCHEDULE") or None,
        **lowered(loops),
    )


def ui_url(running: Running, loop: str) -> str | None:
    """The loop's page in the Temporal Web UI, where that is known."""
    if not running.ui_url:
        return None
    return f"{running.ui_url}/namespaces/{running.connection.namespace}/workflows/{service.workflow_id(loop)}"


def placed(loops: Loops, running: Running, loop: str) -> dict[str, object]:
    """What of a loop's specification is as it is now, when it goes on."""
    from beatctl.worker.hosts import this_host

    return {"ui_url": ui_url(running, loop), "host": this_host(loops.home).name, **lowered(loops)}


def lowered(loops: Loops) -> dict[str, int]:
    """The thresholds that tests lower."""
    names = {"continue_as_new_events": "BEATCTL_CONTINUE_AS_NEW_EVENTS", "limit_margin_s": "BEATCTL_LIMIT_MARGIN_S"}
    given = {field: loops.environ.get(variable, "") for field, variable in names.items()}
    return {field: int(number) for field, number in given.items() if number.isdigit()}


def first_status(spec: LoopSpec, started: float) -> Status:
    """A loop's status before its workflow has said anything."""
    from beatctl.activities.records import Status, timestamp

    return Status(
        id=spec.id,
        goal=spec.goal,
        strategy=spec.strategy,
        state="running",
        ui_url=spec.ui_url,
        directory=spec.directory,
        now="starting",
        direction=spec.direction,
        agent=spec.agent.name,
        limits=spec.limits.model_dump(),
        started_at=timestamp(started),
        worktree=spec.worktree,
        origin=spec.origin,
        branch=spec.branch,
        repo=spec.repo,
        ref=spec.ref,
        connection=spec.connection,
        host=spec.host,
        schedule=spec.schedule,
    )


def start_loop(
    loops: Loops,
    chosen: Chosen,
    agent: AgentSpec,
    directory: Path,
    root: Path,
    running: Running,
    *,
    origin: Origin | None = None,
    allow_large: bool,
    fallback: AgentSpec | None = None,
) -> Status:
    """Start a loop; with `origin` in a worktree of its own, made here, instead of in `directory` and `root`.

    Whatever fails on the way, nothing of it is left. Raises Usage (folder in use), Unavailable.
    """
    tries = 1 if wanted_id(loops.environ) else _TRIES
    for left in reversed(range(tries)):
        try:
            with contextlib.ExitStack() as held:
                return _start(held, loops, chosen, agent, directory, root, running, origin, allow_large, fallback)
        except Taken:
            if not left:
                say("Nothing was started; the folder is untouched.")
                raise
    raise AssertionError("unreachable")


def _start(
    held: contextlib.ExitStack,
    loops: Loops,
    chosen: Chosen,
    agent: AgentSpec,
    directory: Path,
    root: Path,
    running: Running,
    origin: Origin | None,
    allow_large: bool,
    fallback: AgentSpec | None,
) -> Status:
    from beatctl.activities.being_started import being_started

    started, wanted = time.time(), wanted_id(loops.environ)
    while True:
        loop = wanted or new_id({status.id for status in loops.all()})
        if origin is not None:
            root = loops.home.worktrees / loop
            directory = root / origin.below
        spec = make_spec(
            loops,
            chosen,
            loop,
            agent,
            directory,
            root,
            running,
            origin=origin,
            allow_large=allow_large,
            fallback=fallback,
        )
        status = first_status(spec, started)
        held.enter_context(being_started(loops.folder(loop)))
        if loops.ledger.add_loop(status, spec.model_dump_json(), started):
            break
        if wanted:
            raise taken(loop)
    from beatctl.workflows.state import LoopInput

    asked_server = False
    try:
        if origin is not None:
            make_own_worktree(origin, root, chosen.branch)
        claim_folder(loops, root, loop)
        write_folder(loops, loop, directory)
        notifications.keep(loops, loop, chosen.notify, directory)
        asked_server = True
        given = LoopInput(spec=spec)
        service.with_client(running, loops.environ, lambda client: start_workflow(client, loops, given))
    except BaseException as error:
        if asked_server and not isinstance(error, Usage):  # else its id is another's
            # It may have been accepted all the same, its answer lost.
            with contextlib.suppress(Exception):
                service.with_client(running, loops.environ, lambda client: terminate(client, loop))
        _undo(loops, loop, root, origin, chosen.branch)
        if isinstance(error, Exception) and not isinstance(error, Taken):
            say("Nothing was started; the folder is untouched.")
        raise
    return loops.status(loop)


def claim_folder(loops: Loops, root: Path, loop: str) -> None:
    """Make the loop the folder's owner. Raises Usage."""
    from beatctl.activities.workspace import FolderInUse, claim

    try:
        claim(loops.home, root, loop, loops.is_live)
    except FolderInUse as used:
        raise (Usage(used.text) if used.busy else folder_in_use(used.loop)) from None


def write_folder(loops: Loops, loop: str, directory: Path) -> None:
    """Make the loop's folder, with the environment that its children get."""
    from beatctl.activities.agents.environment import child_environment
    from beatctl.activities.processes import save_environment

    folder = loops.folder(loop)
    folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    save_environment(folder.environment, child_environment({**loops.environ, "PWD": str(directory)}))


async def start_workflow(client: Client, loops: Loops, given: LoopInput, *, again: bool = False) -> None:
    """Start a loop's workflow. `again`: it has had one, which has ended."""
    from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
    from temporalio.exceptions import WorkflowAlreadyStartedError

    from beatctl.worker.hosts import this_host
    from beatctl.workflows.loop import LoopWorkflow

    if given.spec.repo is not None:
        await _start_push(client, loops, given.spec.id)
    spec, host = given.spec, this_host(loops.home)
    attributes = {
        "BeatctlState": "running",
        "BeatctlAgent": spec.agent.name,
        "BeatctlFolder": spec.worktree,
        "BeatctlStrategy": spec.strategy,
        "BeatctlHost": host.name,
    }
    try:
        await client.start_workflow(
            LoopWorkflow.run,
            given,
            id=service.workflow_id(spec.id),
            task_queue=host.queue,
            # How long the server waits for a worker that was killed while it decided what comes next.
            task_timeout=_TASK_LIMIT,
            static_summary=_summary(spec.goal),
            memo={"goal": spec.goal[:1000], "directory": spec.directory, "started_at": time.time()},
            search_attributes=TypedSearchAttributes(
                [
                    SearchAttributePair(SearchAttributeKey.for_keyword(name), value[:_KEYWORD_CHARACTERS])
                    for name, value in attributes.items()
                ]
            ),
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE if again else WorkflowIDReusePolicy.REJECT_DUPLICATE,
            rpc_timeout=service.RPC_LIMIT,
        )
    except WorkflowAlreadyStartedError:
        raise taken(spec.id) from None


async def _start_push(client: Client, loops: Loops, loop: str) -> None:
    """Have the loop's branch pushed after its end: asked for before it begins, so that nothing can come between."""
    from temporalio.common import WorkflowIDConflictPolicy

    from beatctl.worker.hosts import this_host
    from beatctl.workflows.push import PushWorkflow

    await client.start_workflow(
        PushWorkflow.run,
        loop,
        id=f"beatctl:push:{loop}",
        task_queue=this_host(loops.home).queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        rpc_timeout=service.RPC_LIMIT,
    )


def _summary(goal: str) -> str:
    """The goal's first line, as much of it as Temporal takes for a workflow's summary."""
    line = visible(goal.strip().partition("\n")[0])
    return line.encode()[:_SUMMARY_BYTES].decode("utf-8", "ignore")


async def terminate(client: Client, loop: str) -> None:
    handle = client.get_workflow_handle(service.workflow_id(loop))
    await asyncio.shield(handle.terminate("the start was given up", rpc_timeout=_TERMINATE_LIMIT))


def _undo(loops: Loops, loop: str, root: Path, origin: Origin | None, branch: str | None) -> None:
    from beatctl.activities.workspace import WorkspaceProblem, release, remove_worktree

    if origin is not None and root.exists():  # where it could not be made, nothing of it is left
        with contextlib.suppress(WorkspaceProblem, OSError):
            remove_worktree(origin.top, root, branch)
    with contextlib.suppress(OSError):
        release(loops.home, root, loop)
    shutil.rmtree(loops.folder(loop).root, ignore_errors=True)
    loops.ledger.remove_loop(loop)
