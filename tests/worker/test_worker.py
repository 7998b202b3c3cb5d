"""The worker: its settings do what they are for, the server is told what it has to know, and it ends when told to."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio import activity, workflow
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RetryPolicy

from beatctl.activities.home import Home
from beatctl.worker import server_settings
from beatctl.worker.connection import connect
from beatctl.worker.embedded_server import SEARCH_ATTRIBUTES
from beatctl.worker.hosts import task_queue
from beatctl.worker.local import worker_line
from beatctl.worker.main import build_worker, run_until
from beatctl.worker.run_folder import RunFolder, read_json
from tests.support import wait_until
from tests.worker.conftest import Machine


class Given(BaseModel):
    words: list[str]
    path: Path


@activity.defn
def join(given: Given) -> str:
    """A synchronous activity: runs in a thread."""
    return " ".join(given.words)


@activity.defn
async def sleep_until_cancelled(mark: str) -> None:
    """Beats as a child process's activity does, and leaves a mark when it is cancelled."""
    Path(mark).write_text("running")
    try:
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        cancelled = activity.cancellation_details()
        Path(mark).write_text("cancelled" if cancelled and cancelled.cancel_requested else f"ended: {cancelled}")
        raise


@workflow.defn
class Small:
    @workflow.run
    async def run(self, given: Given) -> list[str]:
        soon = timedelta(seconds=20)
        return [
            await workflow.execute_activity(join, given, start_to_close_timeout=soon),
            await workflow.execute_local_activity(join, given, start_to_close_timeout=soon),
        ]


@workflow.defn
class Long:
    @workflow.run
    async def run(self, mark: str) -> None:
        await workflow.execute_activity(
            sleep_until_cancelled,
            mark,
            start_to_close_timeout=timedelta(hours=1),
            heartbeat_timeout=timedelta(seconds=30),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


@asynccontextmanager
async def small_worker(client: Client, queue: str) -> AsyncIterator[asyncio.Event]:
    """A worker with beatctl's settings and these workflows; the event ends it."""
    stop = asyncio.Event()
    with ThreadPoolExecutor(4) as executor:
        worker = build_worker(client, queue, [Small, Long], [join, sleep_until_cancelled], executor)
        running = asyncio.create_task(run_until(worker, stop))
        yield stop
        stop.set()
        await running


def test_models_travel_and_work_is_done_in_threads_and_locally(machine: Machine) -> None:
    found = machine.ensure()

    async def work() -> list[str]:
        client = await connect(found.connection)
        async with small_worker(client, "small"):
            given = Given(words=["a", "b"], path=Path("/"))
            return await client.execute_workflow(Small.run, given, id="small", task_queue="small")

    assert asyncio.run(work()) == ["a b", "a b"]


def test_a_cancel_reaches_a_running_activity_and_a_stopping_worker_is_no_cancel(machine: Machine, place: Path) -> None:
    found = machine.ensure()
    cancelled, stopped = place / "cancelled", place / "stopped"

    async def work() -> None:
        client = await connect(found.connection)
        async with small_worker(client, "long") as stop:
            one = await client.start_workflow(Long.run, str(cancelled), id="one", task_queue="long")
            await client.start_workflow(Long.run, str(stopped), id="two", task_queue="long")
            await asyncio.to_thread(wait_until, lambda: cancelled.exists() and stopped.exists(), "both activities")
            await one.cancel()
            with pytest.raises(WorkflowFailureError):
                await asyncio.wait_for(one.result(), 20)
            stop.set()

    asyncio.run(work())
    assert cancelled.read_text() == "cancelled"
    assert "worker_shutdown=True" in stopped.read_text()
    assert "cancel_requested=False" in stopped.read_text()


def test_the_embedded_server_keeps_closed_runs_for_90_days_and_finds_loops_by_attribute(machine: Machine) -> None:
    found = machine.ensure()

    async def look() -> tuple[timedelta, dict[str, Any]]:
        client = await connect(found.connection)
        # As the worker does at every start: no harm the second time.
        await server_settings.keep_for_long(client)
        await server_settings.add_search_attributes(client)
        described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
        listed = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace="default"))
        return described.config.workflow_execution_retention_ttl.ToTimedelta(), dict(listed.custom_attributes)

    retention, attributes = asyncio.run(look())
    assert retention == timedelta(days=90)
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    assert attributes == attributes | dict.fromkeys(SEARCH_ATTRIBUTES, keyword)


def test_search_attributes_are_added_to_a_server_that_lacks_them(
    program: Path, place: Path, environment: dict[str, str]
) -> None:
    """A shared server knows nothing of beatctl until its first worker comes."""
    from temporalio.testing import WorkflowEnvironment

    async def look() -> set[str]:
        server = await WorkflowEnvironment.start_local(dev_server_existing_path=str(program))
        try:
            await server_settings.add_search_attributes(server.client)
            request = ListSearchAttributesRequest(namespace="default")
            return set((await server.client.operator_service.list_search_attributes(request)).custom_attributes)
        finally:
            await server.shutdown()

    assert set(SEARCH_ATTRIBUTES) <= asyncio.run(look())


def test_a_worker_alone_takes_work_and_ends_with_exit_code_0(machine: Machine, place: Path) -> None:
    shared = machine.ensure().connection.model_copy(update={"embedded": False})
    home = Home(place / "other").create()
    folder = RunFolder(home.root, shared.label)
    log = place / "log"
    with log.open("wb") as output:
        worker = subprocess.Popen(worker_line(home, shared), env=machine.environ, stdout=output, stderr=output)
    try:
        wait_until(lambda: read_json(folder.worker).get("pid") == worker.pid, "the worker to take work")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0, log.read_text()
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()
    assert f"takes work from {task_queue(home)}" in log.read_text()
    assert "stopping" in log.read_text()


def test_a_worker_without_a_server_waits_and_ends_when_told(machine: Machine, place: Path) -> None:
    machine.home.create()
    shared = '{"address": "127.0.0.1:1", "embedded": false}'
    line = [sys.executable, "-m", "beatctl.worker.main", "--home", str(machine.home.root), "--connection", shared]
    worker = subprocess.Popen(line, env=machine.environ, stderr=subprocess.PIPE)
    try:
        # It handles the signal as soon as it tries to connect; before that Python ends by it.
        wait_until(lambda: worker.poll() is not None or handles_sigterm(worker.pid), "the worker to take signals")
        assert worker.poll() is None
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.communicate()


def handles_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return True
    caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))


def test_using_the_sdk_does_not_change_a_commands_exit_code(machine: Machine) -> None:
    found = machine.ensure()
    code = (
        "import asyncio\nfrom beatctl.worker.connection import Connection, connect\n"
        "from beatctl.worker.leaving import leave\n"
        f"asyncio.run(connect(Connection(address={found.connection.address!r}, embedded=True)))\n"
        "print('done')\nleave(4)"
    )
    for _ in range(5):
        ended = machine.python(code)
        assert ended.communicate(timeout=60)[0] == "done\n"
        assert ended.returncode == 4


def test_a_queue_keeps_its_name_when_the_machine_gets_another(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(place / "state")
    first = task_queue(home)
    monkeypatch.setattr("socket.gethostname", lambda: "renamed")
    assert task_queue(home) == first
    assert task_queue(Home(place / "other")).startswith("beatctl@renamed-")
    # Another machine's copy of this home has a queue of its own.
    monkeypatch.setattr("beatctl.worker.hosts._machine", lambda: "another")
    assert task_queue(home).startswith("beatctl@renamed-")
    assert os.path.exists(home.root / "run" / "queue.json")
