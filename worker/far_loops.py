"""Loops as a shared Temporal server knows them: those of every host, also of one that is away."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_args

from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from beatctl.activities.ledger import Outcome, State, Status, timestamp
from beatctl.worker.away import Away, look
from beatctl.worker.connection import workflow_id
from beatctl.worker.hosts import host_of, queue_of

if TYPE_CHECKING:
    from temporalio.client import Client, WorkflowExecution, WorkflowExecutionDescription

MOST_RUNNING, MOST_ENDED = 200, 50
_LOOP = "WorkflowType = 'Loop'"
_RUNNING = f"{_LOOP} AND ExecutionStatus = 'Running'"
_ENDED = f"{_LOOP} AND ExecutionStatus IN ('Completed', 'Failed', 'Canceled', 'Terminated', 'TimedOut')"
_ANSWER = timedelta(seconds=2)
_LIMIT = timedelta(seconds=5)
_ASKED_AT_ONCE = 16


async def find(client: Client, word: str, label: str) -> list[tuple[Status, Away | None]]:
    """The loops whose id is `word`, else those whose id begins so; each with whether its host is away.

    `label`: the connection's. Raises RPCError.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*", word):
        return []
    found = await _described(client, workflow_id(word))
    ids = [found.id] if found is not None and found.workflow_type == "Loop" else []
    if not ids:
        query = f"{_LOOP} AND ExecutionStatus != 'ContinuedAsNew' AND WorkflowId STARTS_WITH '{workflow_id(word)}'"
        ids = list(dict.fromkeys([one.id async for one in client.list_workflows(query, limit=20)]))
    described = [one for one in [await _described(client, name) for name in ids] if one is not None]
    return [(await told(one, label), await away(client, [one])) for one in described]


async def away(client: Client, found: Sequence[WorkflowExecutionDescription]) -> Away | None:
    """Whether the host of these workflows, which is one, is away; None where all have ended."""
    live = [one for one in found if one.status == WorkflowExecutionStatus.RUNNING]
    return await look(client, live[0].task_queue, live) if live else None


async def away_hosts(client: Client, loops: Sequence[Status]) -> dict[str, Away]:
    """Of the hosts of these loops those that are away, by name."""
    by_host: dict[str, list[str]] = {}
    for loop in loops:
        if loop.state != "finished" and loop.host:
            by_host.setdefault(loop.host, []).append(loop.id)

    async def judge(host: str, ids: list[str]) -> Away | None:
        described = [await _described(client, workflow_id(loop)) for loop in ids[:_ASKED_AT_ONCE]]
        live = [one for one in described if one is not None and one.status == WorkflowExecutionStatus.RUNNING]
        return await look(client, queue_of(host), live)

    judged = await asyncio.gather(*(judge(host, ids) for host, ids in by_host.items()))
    return {host: found for host, found in zip(by_host, judged, strict=True) if found is not None}


async def newest(client: Client, label: str, but: set[str]) -> list[Status]:
    """The server's loops but those with these ids, as it knows them. Raises RPCError."""
    found: dict[str, WorkflowExecution] = {}
    for query, most in ((_RUNNING, MOST_RUNNING), (_ENDED, MOST_ENDED)):
        async for one in client.list_workflows(query, limit=most):
            known = found.get(one.id)
            if one.id.removeprefix("beatctl-") not in but and (known is None or known.start_time < one.start_time):
                found[one.id] = one
    return [await told(one, label) for one in found.values()]


async def whole(client: Client, loop: Status) -> Status:
    """The loop with its counters and scores, from its workflow; as it is where that does not answer in time."""
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
    running = found.status == WorkflowExecutionStatus.RUNNING
    state = attributes.get("BeatctlState", "") if running else "finished"
    outcome = attributes.get("BeatctlOutcome", "")
    started = float(memo.get("started_at") or found.start_time.timestamp())
    ended = found.close_time.timestamp() if found.close_time else None
    return Status.model_validate(
        {
            "id": found.id.removeprefix("beatctl-"),
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
