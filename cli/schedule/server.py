"""Schedules as the Temporal server has them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from beatctl.cli import service
from beatctl.cli.loops import Loops
from beatctl.cli.problems import Unavailable, Usage
from beatctl.cli.schedule import timing as timings
from beatctl.cli.schedule.kept import Kept, all_kept

if TYPE_CHECKING:
    from temporalio.client import Client, ScheduleActionResult, ScheduleDescription, ScheduleHandle

    from beatctl.worker.connection import Connection

T = TypeVar("T")
RPC_LIMIT = timedelta(seconds=10)
_ID = "beatctl-"
_MEMO = "beatctl"
_LAUNCH = "beatctl:schedule:"
"""No loop's workflow is called so."""


@dataclass(frozen=True)
class Run:
    """Something that a schedule has started."""

    started_at: datetime
    loop: str | None
    """None: not known yet, or refused."""
    state: str
    """`running`, `finished`, `refused`; `unknown` where the server has forgotten."""
    outcome: str | None = None
    words: str = ""
    """Why it was refused."""


@dataclass(frozen=True)
class Seen:
    """A schedule as it is now."""

    kept: Kept
    paused: bool = False
    note: str = ""
    next: Sequence[datetime] = ()
    runs: Sequence[Run] = field(default=())
    """The newest last."""
    running: int = 0
    started: int = 0
    skipped: int = 0
    """Since a loop still ran."""
    missed: int = 0
    """Since the server was away for longer than the catch-up window."""
    left: int | None = None
    """How many loops it still starts; None: no limit."""
    away: str | None = None
    """Where the host of its loops has no worker now: since when, in words. What is to be started waits for one."""


class Resting(Seen):
    """One whose server was shut down: only what was kept is known."""


def connection_of(loops: Loops) -> Connection | None:
    """The shared server that is chosen; None: the embedded one."""
    from beatctl.worker.connection import chosen

    return chosen(loops.environ)


def label_of(loops: Loops) -> str:
    from beatctl.worker.run_folder import EMBEDDED

    shared = connection_of(loops)
    return shared.label if shared is not None else EMBEDDED


def is_down(loops: Loops) -> bool:
    """Whether the user said `down` to the server that is chosen."""
    from beatctl.worker import what_runs

    return what_runs.folder_of(loops.home, loops.environ).shut_down.exists()


def reach(loops: Loops, work: Callable[[Client], Awaitable[T]]) -> T:
    """Do `work` with a client of the server that is chosen; the embedded one runs then, unless it was shut down.

    Raises Unavailable.
    """
    shared = connection_of(loops)
    if shared is None:
        if is_down(loops):
            raise Unavailable("beatctl was shut down (beatctl down): schedules rest. Go on with: beatctl up -d")
        shared = service.ensure(loops, loops.environ).connection
    return service.with_server(shared, loops.environ, work)


async def create(client: Client, kept: Kept, files: dict[str, str], *, paused: bool) -> None:
    """`files`: texts that the arguments name. Raises Usage where the name is taken or the times make no sense."""
    from temporalio.client import Schedule, ScheduleActionStartWorkflow, ScheduleAlreadyRunningError
    from temporalio.service import RPCError, RPCStatusCode

    from beatctl.worker.hosts import queue_of
    from beatctl.workflows.launch import LaunchInput, LaunchWorkflow

    timing = kept.timing
    given = LaunchInput(
        schedule=kept.name,
        arguments=kept.arguments,
        directory=kept.directory,
        files=files,
        cancels_loop=timing.overlap == "cancel-other",
        ends_others=timing.overlap == "terminate-other",
    )
    action = ScheduleActionStartWorkflow(
        LaunchWorkflow.run,
        given,
        id=f"{_LAUNCH}{kept.name}",
        task_queue=queue_of(kept.host),
        static_summary=f"a loop of the schedule {kept.name}",
    )
    schedule = Schedule(
        action=action,
        spec=timings.spec(timing),
        policy=timings.policy(timing),
        state=timings.state(timing, paused=paused),
    )
    try:
        handle = await client.create_schedule(
            _ID + kept.name, schedule, memo={_MEMO: kept.model_dump(mode="json")}, rpc_timeout=RPC_LIMIT
        )
    except ScheduleAlreadyRunningError:
        raise taken(kept.name) from None
    except RPCError as error:
        if error.status != RPCStatusCode.INVALID_ARGUMENT:
            raise
        raise Usage(f"Temporal does not take these times: {error.message}.", help_of="schedule create") from None
    if not (await handle.describe(rpc_timeout=RPC_LIMIT)).info.next_action_times:
        await handle.delete(rpc_timeout=RPC_LIMIT)
        raise Usage(f"{timing.words()} never comes: nothing was made.", help_of="schedule create")


def taken(name: str) -> Usage:
    return Usage(f"There is a schedule {name} already: beatctl schedule show {name}")


async def names(client: Client) -> list[str]:
    """Of beatctl's schedules in this namespace. The server may know one some moments before it lists it."""
    found = []
    async for listed in await client.list_schedules():
        action = listed.schedule.action if listed.schedule is not None else None
        if listed.id.startswith(_ID) and getattr(action, "workflow", None) == "Launch":
            found.append(listed.id.removeprefix(_ID))
    return found


async def known(client: Client, loops: Loops) -> list[str]:
    """The same, with those that this home has made."""
    return sorted({*(kept.name for kept in all_kept(loops.home, label_of(loops))), *(await names(client))})


def find(known: Sequence[str], word: str) -> str:
    """The schedule that a word names in full or by its beginning. Raises Usage with those there are."""
    from difflib import get_close_matches

    found = [word] if word in known else [name for name in known if word and name.startswith(word.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise Usage(f'"{word}" could be any of these schedules: {", ".join(found)}')
    near = get_close_matches(word, known, n=3)
    if near:
        raise Usage(f'No schedule "{word}". Near it: {", ".join(near)}.')
    there = f" There are: {', '.join(known[:8])}." if known else " There are none yet."
    raise Usage(f'No schedule "{word}".{there}')


def handle(client: Client, name: str) -> ScheduleHandle:
    return client.get_schedule_handle(_ID + name)


async def see(client: Client, name: str, *, runs: int) -> Seen | None:
    """A schedule with its newest `runs`; None where the server has none of this name."""
    from temporalio.service import RPCError, RPCStatusCode

    try:
        found = await handle(client, name).describe(rpc_timeout=RPC_LIMIT)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise
    return await _seen(client, found, runs)


async def see_all(client: Client, names: Sequence[str], *, runs: int) -> dict[str, Seen | None]:
    seen = await asyncio.gather(*(see(client, name, runs=runs) for name in names))
    return dict(zip(names, seen, strict=True))


async def _seen(client: Client, found: ScheduleDescription, runs: int) -> Seen | None:
    memo = await found.memo()
    if _MEMO not in memo:
        return None
    state, info = found.schedule.state, found.info
    kept = Kept.model_validate(memo[_MEMO])
    newest = sorted(info.recent_actions, key=lambda one: one.started_at)[-runs:]
    return Seen(
        kept=kept,
        paused=state.paused,
        note=state.note or "",
        next=info.next_action_times,
        runs=await asyncio.gather(*(_run(client, one) for one in newest)),
        running=len(info.running_actions),
        started=info.num_actions,
        skipped=info.num_actions_skipped_overlap,
        missed=info.num_actions_missed_catchup_window,
        left=state.remaining_actions if state.limited_actions else None,
        away=await _away(client, kept) if kept.connection != "embedded" else None,
    )


async def _away(client: Client, kept: Kept) -> str | None:
    from beatctl.cli.elsewhere import away_words
    from beatctl.worker import away
    from beatctl.worker.hosts import queue_of

    gone = await away.look(client, queue_of(kept.host), [])
    return away_words(kept.host, gone.since, datetime.now().astimezone()) if gone is not None else None


async def _run(client: Client, one: ScheduleActionResult) -> Run:
    """What has become of something that was started."""
    from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
    from temporalio.service import RPCError, RPCStatusCode

    from beatctl.activities.records import Status

    action: Any = one.action
    launch = client.get_workflow_handle(
        action.workflow_id, first_execution_run_id=action.first_execution_run_id, result_type=Status
    )
    try:
        found = await launch.describe(rpc_timeout=RPC_LIMIT)
        loop = (await found.memo()).get("loop")
        if found.status == WorkflowExecutionStatus.RUNNING:
            return Run(one.started_at, loop, "running")
        if found.status == WorkflowExecutionStatus.COMPLETED:
            ended = await launch.result()
            return Run(one.started_at, ended.id, "finished", ended.outcome)
        if found.status == WorkflowExecutionStatus.FAILED and loop is None:
            await launch.result()
    except WorkflowFailureError as failed:
        return Run(one.started_at, None, "refused", words=_words(failed))
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        return Run(one.started_at, None, "unknown")
    return Run(one.started_at, loop, "finished")


def _words(failed: BaseException) -> str:
    """The innermost error's."""
    while failed.__cause__ is not None:
        failed = failed.__cause__
    return str(getattr(failed, "message", failed))
