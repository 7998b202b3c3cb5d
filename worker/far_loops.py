"""Loops as a shared Temporal server knows them: those of every host, also of one that is away."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_args

from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from beatctl.activities.records import Outcome, State, Status, timestamp
from beatctl.worker.away import Away, look
from beatctl.worker.connection import workflow_id
from beatctl.worker.hosts import host_of, queue_of

if TYPE_CHECKING:
    from temporalio.client import Client, WorkflowExecution, WorkflowExecutionDescription

MOST_RUNNING, MOST_ENDED = 200, 50
_LOOP = "WorkflowType = 'Loop'"
_LAUNCHES = "WorkflowType = 'Launch' AND ExecutionStatus = 'Running'"
_LAUNCH = "beatctl:launch:"
_RUNNING = f"{_LOOP} AND ExecutionStatus = 'Running'"
_ENDED = f"{_LOOP} AND ExecutionStatus IN ('Completed', 'Failed', 'Canceled', 'Terminated', 'TimedOut')"
_ANSWER = timedelta(seconds=2)
_LIMIT = timedelta(seconds=5)
_ASKED_AT_ONCE = 16
_NOT_THERE = 3
"""The exit code of a command that lacks what it needs."""


def launch_id(loop: str) -> str:
    """The id of the workflow that starts a loop on its host. No loop's own id looks like it."""
    return f"{_LAUNCH}{loop}"


def loop_of(workflow: str) -> str:
    """The loop whose workflow, or launch, this is."""
    return workflow.removeprefix(_LAUNCH) if workflow.startswith(_LAUNCH) else workflow.removeprefix("beatctl-")


async def find(client: Client, word: str, label: str) -> list[tuple[Status, Away | None]]:
    """The loops whose id is `word`, else those whose id begins so; each with whether its host is away.

    `label`: the connection's. Raises RPCError.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*", word):
        return []
    exact = await _described(client, workflow_id(word)) or await _described(client, launch_id(word))
    if exact is not None and exact.id == launch_id(word) and (refused := await refusal(client, exact)) is not None:
        changes = {"outcome": "failed", "reason": "refused", "detail": refused[0], "now": ""}
        return [((await told(exact, label)).model_copy(update=changes), None)]
    if exact is not None and (exact.workflow_type == "Loop" or exact.status == WorkflowExecutionStatus.RUNNING):
        described = [exact]
    else:
        loops = f"{_LOOP} AND ExecutionStatus != 'ContinuedAsNew' AND WorkflowId STARTS_WITH '{workflow_id(word)}'"
        launches = f"{_LAUNCHES} AND WorkflowId STARTS_WITH '{launch_id(word)}'"
        ids = [one.id for query in (loops, launches) async for one in client.list_workflows(query, limit=20)]
        named = {loop_of(name): name for name in reversed(ids)}  # a loop that has begun is more than its launch
        described = [one for one in [await _described(client, name) for name in named.values()] if one is not None]
    return [(await told(one, label), await away(client, [one])) for one in described]


async def refusal(client: Client, launch: WorkflowExecutionDescription) -> tuple[str, int] | None:
    """What the host's `start` said against a loop, and its exit code; None where it has not refused it."""
    if launch.status != WorkflowExecutionStatus.FAILED:
        return None
    try:
        await client.get_workflow_handle(launch.id, run_id=launch.run_id).result(rpc_timeout=_LIMIT)
    except WorkflowFailureError as failed:
        cause: BaseException | None = failed
        while cause is not None and not isinstance(cause, ApplicationError):
            cause = cause.__cause__
        if isinstance(cause, ApplicationError):
            details = next((one for one in cause.details if isinstance(one, dict)), {})
            return cause.message, int(details.get("exit_code") or _NOT_THERE)
        return f"Its start was given up: {failed.__cause__ or failed}.", _NOT_THERE
    return None


async def take_back(client: Client, loop: str) -> bool:
    """End the order to start a loop. False where its host has begun with it: then it has to be cancelled itself."""
    launch = await _described(client, launch_id(loop))
    if launch is None or launch.status != WorkflowExecutionStatus.RUNNING:
        return False
    begun = [one for one in launch.raw_description.pending_activities if one.last_started_time.seconds]
    if begun or await _described(client, workflow_id(loop)) is not None:
        return False
    await client.get_workflow_handle(launch_id(loop)).terminate("taken back", rpc_timeout=_LIMIT)
    return True


async def away(client: Client, found: Sequence[WorkflowExecutionDescription]) -> Away | None:
    """Whether the host of these workflows, which is one, is away; None where all have ended."""
    live = [one for one in found if one.status == WorkflowExecutionStatus.RUNNING]
    return await look(client, live[0].task_queue, live) if live else None


async def away_hosts(client: Client, loops: Sequence[Status]) -> dict[str, Away]:
    """Of the hosts of these loops those that are away, by name."""
    by_host: dict[str, list[str]] = {}
    for loop in loops:
        if loop.state != "finished" and loop.host:
            by_host.setdefault(loop.host, []).append(launch_id(loop.id) if loop.queued else workflow_id(loop.id))

    async def judge(host: str, names: list[str]) -> Away | None:
        described = [await _described(client, name) for name in names[:_ASKED_AT_ONCE]]
        live = [one for one in described if one is not None and one.status == WorkflowExecutionStatus.RUNNING]
        return await look(client, queue_of(host), live)

    judged = await asyncio.gather(*(judge(host, names) for host, names in by_host.items()))
    return {host: found for host, found in zip(by_host, judged, strict=True) if found is not None}


async def newest(client: Client, label: str, but: set[str]) -> list[Status]:
    """The server's loops but those with these ids, as it knows them. Raises RPCError."""
    found: dict[str, WorkflowExecution] = {}
    for query, most in ((_RUNNING, MOST_RUNNING), (_ENDED, MOST_ENDED)):
        async for one in client.list_workflows(query, limit=most):
            known = found.get(loop_of(one.id))
            if loop_of(one.id) not in but and (known is None or known.start_time < one.start_time):
                found[loop_of(one.id)] = one
    launches = f"{_LAUNCHES} AND WorkflowId STARTS_WITH '{_LAUNCH}'"
    async for one in client.list_workflows(launches, limit=MOST_ENDED):
        if loop_of(one.id) not in but:
            found.setdefault(loop_of(one.id), one)
    return [await told(one, label) for one in found.values()]


async def whole(client: Client, loop: Status) -> Status:
    """The loop with its counters and scores, from its workflow; as it is where that does not answer in time."""
    if loop.queued:
        return loop
    handle = client.get_workflow_handle(workflow_id(loop.id), result_type=Status)
    try:
        if loop.state != "finished":
            asked = handle.query("status", result_type=Status, rpc_timeout=_ANSWER)
            found: Status = await asyncio.wait_for(asked, _ANSWER.total_seconds())
        elif loop.outcome != "cancelled":  # a cancelled workflow has no result
            found = await asyncio.wait_for(handle.result(rpc_timeout=_ANSWER), _ANSWER.total_seconds())
        else:
            return loop
    except Exception:  # whatever it is (an older worker's words, too): the server's own knowledge is told all the same
        return loop
    return found.model_copy(update={"host": found.host or loop.host, "connection": loop.connection})


async def told(found: WorkflowExecution, label: str) -> Status:
    """A loop by its workflow's attributes and memo."""
    attributes = {pair.key.name: str(pair.value) for pair in found.typed_search_attributes}
    memo = await _memo(found)
    running, queued = found.status == WorkflowExecutionStatus.RUNNING, found.id.startswith(_LAUNCH)
    state = attributes.get("BeatctlState", "waiting" if queued else "") if running else "finished"
    outcome = attributes.get("BeatctlOutcome", "")
    started = float(memo.get("started_at") or found.start_time.timestamp())
    ended = found.close_time.timestamp() if found.close_time else None
    return Status.model_validate(
        {
            "id": loop_of(found.id),
            "goal": str(memo.get("goal") or "(its goal can't be read here)"),
            "strategy": attributes.get("BeatctlStrategy") or "retry",
            "state": state if state in get_args(State) else "running",
            "outcome": None if running else (outcome if outcome in get_args(Outcome) else "cancelled"),
            "directory": str(memo.get("directory") or ""),
            "agent": attributes.get("BeatctlAgent", ""),
            "host": attributes.get("BeatctlHost") or host_of(found.task_queue),
            "connection": label,
            "started_at": timestamp(started),
            "ended_at": timestamp(ended) if ended else None,
            "elapsed_s": round((ended or started) - started, 3),
            "now": "its host is to start it" if queued else "",
            "queued": queued,
            "partial": True,
        }
    )


async def _memo(found: WorkflowExecution) -> dict[str, Any]:
    try:
        return dict(await found.memo())
    except Exception:  # written with a key that is not here, for one
        return {}


async def _described(client: Client, name: str) -> WorkflowExecutionDescription | None:
    try:
        return await client.get_workflow_handle(name).describe(rpc_timeout=_LIMIT)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise
