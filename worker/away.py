"""Whether a host is away: nobody asks for its work. Only the Temporal server can tell, and only by what it saw."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, PendingActivityState, PendingWorkflowTaskState
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest

from beatctl.worker.pollers import ASKS_EVERY_S, pollers

if TYPE_CHECKING:
    from temporalio.client import Client, WorkflowExecutionDescription

TAKEN_WITHIN_S = 4.0
"""A worker that is there takes what waits at once."""
_LIMIT = timedelta(seconds=5)
_EVENTS = 100
_BY_A_WORKER = (
    *(EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED, EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED),
    *(EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED, EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED),
    EventType.EVENT_TYPE_MARKER_RECORDED,
)


@dataclass(frozen=True)
class Evidence:
    """What the server knows of a host's worker. Unix seconds."""

    polls: Sequence[float] = ()
    """When workers last asked for work; the server forgets after five minutes."""
    waits: Sequence[float] = ()
    """Since when work waits to be taken."""
    seen: Sequence[float] = ()
    """When a worker was last at one of the host's workflows."""


@dataclass(frozen=True)
class Away:
    """No worker takes the host's work."""

    since: float | None
    """None: none has ever been seen."""


def judged(evidence: Evidence, now: float) -> Away | None:
    """None while a worker may be there. Pure.

    One that asks for work waits a minute for some, and is not known to be gone meanwhile; but it would have been given
    what has come since.
    """
    asked = max(evidence.polls, default=None)
    if asked is not None and now - asked < ASKS_EVERY_S:
        left = [since for since in evidence.waits if since > asked and now - since > TAKEN_WITHIN_S]
        if not left:
            return None
    return Away(max([*evidence.polls, *evidence.seen], default=None))


async def look(client: Client, queue: str, workflows: Sequence[WorkflowExecutionDescription]) -> Away | None:
    """Whether the host of this queue is away, by what it asks for and what waits of its workflows. Raises RPCError."""
    asked = [poller.last for poller in await pollers(client, queue)]
    waits = [since for found in workflows for since in _waits(found)]
    seen = [moment for found in workflows for moment in _seen(found)]
    away = judged(Evidence(asked, waits, seen), time.time())
    if away is not None and not asked and workflows:
        seen.append(await _last_event(client, workflows[0]))
        away = judged(Evidence(asked, waits, [moment for moment in seen if moment]), time.time())
    return away


def _waits(found: WorkflowExecutionDescription) -> list[float]:
    """Since when the workflow's tasks wait for a worker."""
    raw = found.raw_description
    waits = [
        _seconds(one.scheduled_time)
        for one in raw.pending_activities
        if one.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    ]
    task = raw.pending_workflow_task
    if task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED:
        waits.append(_seconds(task.scheduled_time))
    return [since for since in waits if since]


def _seen(found: WorkflowExecutionDescription) -> list[float]:
    """When a worker gave signs of life in the workflow's activities."""
    return [
        moment
        for one in found.raw_description.pending_activities
        for moment in (_seconds(one.last_heartbeat_time), _seconds(one.last_started_time))
        if moment
    ]


async def _last_event(client: Client, found: WorkflowExecutionDescription) -> float:
    """When a worker last did something that is in the history; 0 where that is not among the latest events."""
    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace,
        execution=WorkflowExecution(workflow_id=found.id, run_id=found.run_id),
        maximum_page_size=_EVENTS,
    )
    latest = await client.workflow_service.get_workflow_execution_history_reverse(request, timeout=_LIMIT)
    return max((_seconds(one.event_time) for one in latest.history.events if one.event_type in _BY_A_WORKER), default=0)


def _seconds(moment: Timestamp) -> float:
    """Unix seconds; 0 where it is not set."""
    return moment.ToDatetime(UTC).timestamp() if moment.seconds else 0.0
