"""Who takes work from a host's queue, by what the Temporal server has seen."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import UTC, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from beatctl.worker.hosts import Host, home_of

log = logging.getLogger("beatctl.worker")

ASKS_EVERY_S = 70.0
"""A worker asks for work at least this often: each time it waits a minute for some."""
_LIMIT = timedelta(seconds=5)


class NameTaken(Exception):
    """Another home's worker has this host's name; the text is for the user."""


@dataclass(frozen=True)
class Poller:
    """A worker that has asked a queue for work, in the last minutes."""

    identity: str
    last: float
    """When it last asked, in unix seconds."""

    def may_live(self, now: float) -> bool:
        return now - self.last < ASKS_EVERY_S


async def pollers(client: Client, queue: str) -> list[Poller]:
    """Those that asked for work in the last five minutes, the newest first. Raises RPCError."""
    newest: dict[str, float] = {}
    for kind in (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY):
        described = await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
            ),
            timeout=_LIMIT,
        )
        for poller in described.pollers:
            last = poller.last_access_time.ToDatetime(UTC).timestamp()
            newest[poller.identity] = max(last, newest.get(poller.identity, 0.0))
    return sorted((Poller(name, last) for name, last in newest.items()), key=lambda poller: -poller.last)


async def refuse_a_second_home(client: Client, host: Host) -> None:
    """Raises NameTaken where the worker of another home takes work as this host: each would be given the other's
    loops, whose files it does not have."""
    try:
        found = await pollers(client, host.queue)
    except RPCError as problem:  # it may be denied where taking work is not
        log.warning("could not ask who takes work as %s: %s", host.name, problem)
        return
    for poller in found:
        other = home_of(poller.identity)
        if other not in (None, host.home) and poller.may_live(time.time()):
            raise NameTaken(
                f"Another home's worker takes work as host {host.name} ({poller.identity}). Two homes can't share a "
                f"name: give this one another (beatctl worker --name NAME). If that worker has just ended, try again "
                f"in a minute."
            )
