"""Worker and Temporal server, as the commands need them: is one there, bring it back, reach a loop through it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from beatctl.cli.output import say
from beatctl.cli.problems import Problem, Unavailable, Usage

if TYPE_CHECKING:
    from temporalio.client import Client, WorkflowHandle

    from beatctl.activities.records import Status
    from beatctl.cli.loops import Loops
    from beatctl.worker.connection import Connection
    from beatctl.worker.what_runs import Running

T = TypeVar("T")
RPC_LIMIT = timedelta(seconds=10)
"""For a signal, an update or a cancellation: with the server there, each takes milliseconds."""


class LoopUnknown(Problem):
    """The Temporal server has no running workflow for this loop."""


def workflow_id(loop: str) -> str:
    from beatctl.worker import connection

    return connection.workflow_id(loop)


def environ_of(status: Status, environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` as it leads to the server the loop is on, whatever it names now."""
    from beatctl.activities.home import Home
    from beatctl.worker import remembered
    from beatctl.worker.run_folder import RunFolder

    return remembered.recalled(RunFolder(Home.locate(environ).root, status.connection), environ)


def is_running(loops: Loops, status: Status) -> bool:
    """Whether the loop's worker and server are kept alive at this moment, or on a shared server its worker runs that
    somebody started by hand."""
    from beatctl.worker.hosts import worker_by_hand
    from beatctl.worker.run_folder import EMBEDDED, RunFolder

    folder = RunFolder(loops.home.root, status.connection)
    return bool(folder.read_state()) or (status.connection != EMBEDDED and worker_by_hand(folder) is not None)


def crash_words(loops: Loops, status: Status) -> list[str]:
    """A line for each of the loop's server and worker that does not answer, or ends again and again."""
    from beatctl.worker import backoff, heartbeat, what_runs
    from beatctl.worker.run_folder import RunFolder

    state = RunFolder(loops.home.root, status.connection).read_state()
    now = time.time()
    return [
        *(heartbeat.words(one, now) for one in what_runs.silences_in(state)),
        *(backoff.words(one, now) for one in what_runs.crash_loops_in(state)),
    ]


def version_words(loops: Loops, status: Status) -> list[str]:
    """A line where an earlier version than this still runs in the background."""
    from beatctl import __version__
    from beatctl.worker import what_runs
    from beatctl.worker.run_folder import RunFolder

    state = RunFolder(loops.home.root, status.connection).read_state()
    if not what_runs.is_outdated(state):
        return []
    return [f"beatctl {state['version']} runs in the background, this is {__version__}: beatctl up -d replaces it."]


def resting_schedules(loops: Loops) -> list[str]:
    """The schedules of this home whose loops would start here, while no worker does that."""
    if not loops.home.schedules.is_dir():
        return []
    from beatctl.cli.schedule.kept import all_kept
    from beatctl.worker.hosts import known
    from beatctl.worker.run_folder import RunFolder

    here = [kept for kept in all_kept(loops.home) if kept.host == known(loops.home)]
    return [kept.name for kept in here if not RunFolder(loops.home.root, kept.connection).read_state()]


def is_down(loops: Loops, status: Status) -> bool:
    """Whether the user said `down`, after which only `start`, `up`, `resume` and `cancel` bring things back."""
    from beatctl.worker.run_folder import RunFolder

    return RunFolder(loops.home.root, status.connection).shut_down.exists()


def down_words(status: Status) -> str:
    """What an attached command says then."""
    return f"beatctl was shut down: {status.id} waits. Go on with: beatctl up -d"


def ensure(loops: Loops, environ: Mapping[str, str]) -> Running:
    """Have server and worker there. Raises Unavailable with what to do."""
    from beatctl.cli import concurrency
    from beatctl.cli.hosts import settle_name
    from beatctl.worker import local

    settle_name(loops)
    environ = concurrency.with_variables(loops.home, environ)
    try:
        return local.ensure_running(loops.home, environ, say)
    except known_problems() as problem:
        raise Unavailable(str(problem)) from problem


def bring_back(loops: Loops, status: Status) -> Running:
    """Have the loop's worker there, unless the user shut it down. Raises Unavailable."""
    if is_down(loops, status):
        raise Unavailable("beatctl was shut down (beatctl down), nothing runs. Go on with: beatctl up -d")
    return ensure(loops, environ_of(status, loops.environ))


def bring_back_if_gone(loops: Loops, status: Status) -> None:
    """For commands that only look: what ran and was killed runs again; not after `down`. Never raises: looking works
    all the same. So is what an earlier version left running replaced by this one."""
    if status.state == "finished":
        return
    from beatctl.cli import concurrency
    from beatctl.worker import local, what_runs
    from beatctl.worker.run_folder import RunFolder

    state = RunFolder(loops.home.root, status.connection).read_state()
    if not what_runs.is_outdated(state) and is_running(loops, status):
        return
    try:
        environ = concurrency.with_variables(loops.home, environ_of(status, loops.environ))
        if local.bring_back(loops.home, environ, say) is not None and not state:
            say("Server and worker were gone; they are back, and what ran meanwhile is taken over.")
    except Usage as mistake:
        say(mistake.text)
    except known_problems() as problem:
        say(str(problem))


def known_problems() -> tuple[type[Exception], ...]:
    """What bringing up server and worker may fail with, in words for the user."""
    from beatctl.worker.connection import ServerUnreachable
    from beatctl.worker.local import NotRunning
    from beatctl.worker.payload_key import BadPayloadKey
    from beatctl.worker.profile import BadProfile
    from beatctl.worker.server_program import ServerProgramMissing

    return (ServerUnreachable, BadProfile, BadPayloadKey, ServerProgramMissing, NotRunning)


def with_loop(
    loops: Loops, status: Status, running: Running, work: Callable[[WorkflowHandle[Any, Any]], Awaitable[T]]
) -> T:
    """Do `work` with the loop's workflow. Raises LoopUnknown, Unavailable."""

    async def reach(client: Client) -> T:
        return await work(client.get_workflow_handle(workflow_id(status.id)))

    try:
        return with_client(running, environ_of(status, loops.environ), reach)
    except LoopUnknown:
        now = loops.status(status.id)
        if now.state == "finished":
            raise LoopUnknown(f"Loop {now.id} has just ended: {now.outcome} ({now.reason}).") from None
        raise LoopUnknown(
            f"The Temporal server does not know loop {now.id}: its start was cut short, or the server's data is gone. "
            f"Its ledger is there: close it with beatctl cancel {now.id}, and beatctl resume {now.id} goes on with it."
        ) from None


def with_client(running: Running, environ: Mapping[str, str], work: Callable[[Client], Awaitable[T]]) -> T:
    """Do `work` with a client of the server. Raises LoopUnknown, Unavailable."""
    return with_server(running.connection, environ, work)


def with_server(connection: Connection, environ: Mapping[str, str], work: Callable[[Client], Awaitable[T]]) -> T:
    """The same, whether or not a worker of this home is there."""
    import asyncio

    from temporalio.service import RPCError, RPCStatusCode

    from beatctl.worker.connection import connect

    async def reach() -> T:
        return await work(await connect(connection, environ=environ))

    try:
        return asyncio.run(reach())
    except known_problems() as problem:
        raise Unavailable(str(problem)) from problem
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise LoopUnknown("The Temporal server knows no such running loop.") from error
        why = "no answer in time" if error.status == RPCStatusCode.DEADLINE_EXCEEDED else error.message
        raise Unavailable(f"The Temporal server at {connection.address} failed: {why}. See: beatctl doctor") from error
