"""The worker of one host and home: `python -m beatctl.worker.main --home … --connection JSON`.

It hosts the loops' workflows and activities on the host's task queue until SIGTERM or SIGINT. Agents are children of
their shims, not of this process: they outlive it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.runtime import Runtime
from temporalio.service import RPCError
from temporalio.worker import Interceptor, UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig

from beatctl import __version__
from beatctl.activities.home import Home
from beatctl.worker import concurrency, heartbeat, log_lines, payload_key, server_settings
from beatctl.worker.connection import Connection, ServerUnreachable, connect
from beatctl.worker.crashes import guarded
from beatctl.worker.hosts import Host, this_host
from beatctl.worker.isolation import python_module
from beatctl.worker.leaving import leave
from beatctl.worker.payload_key import BadPayloadKey
from beatctl.worker.pollers import NameTaken, refuse_a_second_home
from beatctl.worker.profile import BadProfile
from beatctl.worker.run_folder import RunFolder, process_start, write_json
from beatctl.worker.telemetry import settings as telemetry

log = logging.getLogger("beatctl.worker")

THREADS = 64
"""For activities that touch files: enough for many loops at once, few enough for one disk."""


def build_worker(
    client: Client,
    queue: str,
    workflows: Sequence[type],
    activities: Sequence[Callable[..., Any]],
    executor: ThreadPoolExecutor,
    deployment: WorkerDeploymentConfig | None = None,
    interceptors: Sequence[Interceptor] = (),
) -> Worker:
    """A worker with beatctl's settings. Which workflows and activities it hosts is the caller's to say (tests have
    small ones of their own)."""
    with warnings.catch_warnings():
        # That there are fewer threads than activities is meant: agents need none.
        warnings.simplefilter("ignore", UserWarning)
        return Worker(
            client,
            task_queue=queue,
            workflows=workflows,
            activities=activities,
            activity_executor=executor,
            # The sandbox would have to let our own modules and pydantic through, and then watches nothing while it
            # costs milliseconds an iteration. Tests replay histories to show that the workflow is deterministic.
            workflow_runner=UnsandboxedWorkflowRunner(),
            # A cancel reaches an activity with its next heartbeat: unthrottled, 0.1 s instead of 22.
            max_heartbeat_throttle_interval=timedelta(seconds=2),
            default_heartbeat_throttle_interval=timedelta(seconds=1),
            # How long a loop waits for a killed worker's memory of it before any worker may go on.
            sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
            graceful_shutdown_timeout=timedelta(seconds=5),
            # A loop has one at a time, and one that runs a child or waits for its turn holds no thread.
            max_concurrent_activities=2000,
            max_concurrent_local_activities=500,
            max_concurrent_workflow_tasks=200,
            deployment_config=deployment,
            interceptors=interceptors,
        )


def deployment(connection: Connection) -> WorkerDeploymentConfig | None:
    """Worker versioning, where it is asked for: a versioned worker idles until its version is made current, and on the
    embedded server nobody makes it so."""
    if connection.embedded:
        return None
    name, build = os.environ.get("TEMPORAL_DEPLOYMENT_NAME"), os.environ.get("TEMPORAL_WORKER_BUILD_ID")
    if not name or not build:
        return None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment_name=name, build_id=build), use_worker_versioning=True
    )


async def run(home: Home, connection: Connection) -> None:
    """Host the loops until told to stop."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # Before connecting: a server that was started together with this worker comes up meanwhile.
    from beatctl.activities.host import Activities
    from beatctl.activities.host_command import HostCommands
    from beatctl.activities.launching import Launching
    from beatctl.activities.processes import Spawner, faults
    from beatctl.activities.turns import Turns
    from beatctl.worker.edges import Edges
    from beatctl.worker.lost_loops import look_for_lost_loops
    from beatctl.worker.packing import Packer
    from beatctl.worker.telemetry.starting import observe
    from beatctl.workflows.host_command import HostCommandWorkflow
    from beatctl.workflows.launch import LaunchWorkflow
    from beatctl.workflows.loop import LoopWorkflow
    from beatctl.workflows.push import PushWorkflow

    host = this_host(home)
    client = await _connect_in_time(connection, stop, host)
    if client is None:
        return
    if not connection.embedded:
        await refuse_a_second_home(client, host)
    await _settle(client, connection)
    _collect_less()
    spawner = Spawner()
    queue = host.queue
    with ThreadPoolExecutor(THREADS, thread_name_prefix="activity") as executor:
        turns = Turns(*concurrency.read(os.environ))
        await turns.take_over(home)
        ourselves = python_module("beatctl.cli.entry")
        launching = Launching(home, ourselves, partial(_launch_environment, home, connection))
        commands = HostCommands(home, ourselves, partial(_launch_environment, home, connection))
        hosted = [*Activities(home, spawner, turns).all(), *launching.all(), *commands.all()]
        workflows = [LoopWorkflow, LaunchWorkflow, HostCommandWorkflow, PushWorkflow]
        observing = await asyncio.to_thread(observe, telemetry.read(os.environ), home, host, connection.label)
        watching = [*([observing] if observing is not None else []), log_lines.LogLines()]
        edges = [Edges()] if faults.arm(hand_on=True) else []
        worker = build_worker(client, queue, workflows, hosted, executor, deployment(connection), [*watching, *edges])
        folder = RunFolder(home.root, connection.label).create()
        beside = [
            asyncio.create_task(_announce(client, queue, folder, connection)),
            asyncio.create_task(_beat(folder)),
            asyncio.create_task(look_for_lost_loops(client, home, connection)),
        ]
        packer = Packer(home)
        packer.start()
        try:
            await run_until(worker, stop)
        finally:
            packer.stop()
            for task in beside:
                task.cancel()
            await spawner.close()
            if observing is not None:
                await asyncio.to_thread(observing.close)


async def run_until(worker: Worker, stop: asyncio.Event) -> None:
    """Run the worker until `stop`, then shut it down gracefully. Raises what ends the worker by itself."""
    running = asyncio.create_task(worker.run())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not running.done():
        log.info("stopping")
        await worker.shutdown()
    await running


def _launch_environment(home: Home, connection: Connection, schedule: str | None = None) -> dict[str, str]:
    from beatctl.worker.launch_environment import launch_environment, saved_environment

    saved = saved_environment(home.schedule_environment(schedule)) if schedule is not None else None
    return launch_environment(home, connection, os.environ, saved)


async def _connect_in_time(connection: Connection, stop: asyncio.Event, host: Host) -> Client | None:
    """A client as soon as the server is there; None when told to stop before. Says once in a while that it waits."""
    pause, told = 0.05, 0.0
    while not stop.is_set():
        try:
            client = await connect(connection, identity=host.identity(os.getpid()))
            # Connected is not yet served: just after its start the server answers that it isn't healthy.
            await server_settings.check(client)
        except (ServerUnreachable, RPCError) as problem:
            if time.monotonic() - told > 30 and pause > 1:
                log.warning("%s; trying on", problem)
                told = time.monotonic()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            pause = min(pause * 1.3, 5.0)
        else:
            return client
    return None


async def _settle(client: Client, connection: Connection) -> None:
    """What the server has to know. Where we may not tell it, loops may still run: the log has it."""
    try:
        if connection.embedded:
            await server_settings.keep_for_long(client)
        await server_settings.add_search_attributes(client)
    except RPCError as problem:
        log.warning("could not settle the namespace %s: %s", client.namespace, problem)


async def _announce(client: Client, queue: str, folder: RunFolder, connection: Connection) -> None:
    """Tell the supervisor when the server has seen this worker ask for work."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    while True:
        with suppress(RPCError):
            described = await client.workflow_service.describe_task_queue(request)
            if any(poller.identity == client.identity for poller in described.pollers):
                break
        await asyncio.sleep(0.05)
    start = process_start(os.getpid())
    write_json(
        folder.worker,
        {
            "pid": os.getpid(),
            "start": start,
            "started": time.time(),
            "version": __version__,
            "concurrency": concurrency.read(os.environ),
            "keys": [] if connection.embedded else [key.id for key in payload_key.keys(os.environ)],
        },
    )
    log.info("takes work from %s on %s", queue, client.service_client.config.target_host)


async def _beat(folder: RunFolder) -> None:
    """Say again and again that this worker does not hang."""
    every_s = (heartbeat.hung_after_s(os.environ) or heartbeat.HUNG_AFTER_S) / heartbeat.LOOKS / 2
    while True:
        with suppress(OSError):  # a full disk is no reason to be taken for hung: the file is there
            heartbeat.beat(folder.root, os.getpid())
        await asyncio.sleep(every_s)


def _collect_less() -> None:
    """Spare what is loaded by now from garbage collection, and collect less often than each 700 objects: together a
    twentieth of the worker's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def _start_runtime(home: Home, connection: Connection) -> None:
    """The SDK's core writes into the same log, as plain text: it asks the environment, which agents must not inherit
    from us changed. (Forwarding to Python's logging instead crashes now and then when Python ends.) Where metrics are
    sent, so are its own."""
    before = os.environ.get("NO_COLOR")
    os.environ["NO_COLOR"] = "1"
    metrics = telemetry.read(os.environ).metrics
    if metrics is not None:
        from beatctl.worker.telemetry.starting import sdk_metrics

        try:
            config = sdk_metrics(metrics, os.environ, this_host(home), connection.label)
            Runtime.set_default(Runtime(telemetry=config))
        except Exception as problem:  # whatever it makes of the variables: loops go on without
            log.warning("the metrics of Temporal's SDK are not sent: %s", problem)
    Runtime.default()
    del os.environ["NO_COLOR"]
    if before is not None:
        os.environ["NO_COLOR"] = before


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="beatctl worker")
    parser.add_argument("--home", required=True, type=Path)
    parser.add_argument("--connection", required=True, help="address, namespace, embedded, as a JSON object")
    given = parser.parse_args(arguments)
    home, connection = Home(given.home), Connection.model_validate_json(given.connection)
    log_lines.set_up()
    _start_runtime(home, connection)
    try:
        asyncio.run(run(home, connection))
    except (ServerUnreachable, BadProfile, BadPayloadKey, NameTaken) as problem:
        print(problem, file=sys.stderr)  # noqa: T201
        return 3
    return 0


def _logs() -> Path:
    return Home(Path(sys.argv[sys.argv.index("--home") + 1])).logs


if __name__ == "__main__":
    leave(guarded(main, _logs, "worker"))
