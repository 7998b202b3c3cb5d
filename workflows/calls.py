"""How the workflow calls its activities: timeouts, retries, and the labels that the Web UI shows.

An agent or evaluator run is a normal activity with a heartbeat and no schedule-to-close: it is retried for ever, which
adopts what runs. The quick steps on the workspace are local activities.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.conclude import CloseInput, ConcludeInput, Kept
from beatctl.activities.host import Activities
from beatctl.activities.missing_files import MissingInput
from beatctl.activities.notes import NotesInput
from beatctl.activities.prompt import Standing, Task
from beatctl.activities.records import Status
from beatctl.activities.reopen_workspace import Reopened, ReopenInput
from beatctl.activities.run_agent import AgentResult, RunAgentInput
from beatctl.activities.run_evaluator import EvaluatorResult, RunEvaluatorInput
from beatctl.activities.sessions import Session
from beatctl.activities.snapshot_workspace import EditsInput, Opened, OpenInput, RestoreInput, Snapshot, SnapshotInput
from beatctl.activities.tickets import Ticket
from beatctl.workflows.spec import LoopSpec

Given = TypeVar("Given")
Result = TypeVar("Result")

_HEARTBEAT = timedelta(seconds=5)
_NO_LIMIT = timedelta(days=3650)
_MARGIN_S = 600.0
"""On top of a child's own limit, which the shim keeps: the activity's limit is a net below it."""
_ADOPT = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), backoff_coefficient=1.5, maximum_interval=timedelta(seconds=5)
)
_QUICK = RetryPolicy(initial_interval=timedelta(milliseconds=100), backoff_coefficient=3.0, maximum_attempts=4)
_QUICK_LIMIT = timedelta(minutes=30)
_PAUSES = ("no-space", "folder-gone", "workspace")


class Behind(Exception):
    """The ledger has what this workflow is about to do: a power cut set the server's data back."""


class Calls:
    """The activities of one loop, with its spec filled in."""

    def __init__(
        self, spec: LoopSpec, wait: Callable[[str, str], Awaitable[None]], ticket: Callable[[], Ticket]
    ) -> None:
        """`wait(reason, detail)` pauses the loop until it is resumed; `ticket()` begins its next step."""
        self._spec = spec
        self._wait = wait
        self._ticket = ticket

    async def _sure(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """The call's result, however often the workspace has to be mended before there is one.

        Each call of an activity that the server retries is a step of its own: its attempts are counted anew.
        """
        while True:
            try:
                return await call()
            except FailureError as error:
                if is_cancelled_exception(error):
                    raise
                raise_if_behind(error)
                await self._wait(*problem_of(error))

    async def _begin(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """The same for what a loop that is being cancelled does not begin any more."""
        heed_cancel()
        return await self._sure(call)

    async def open(self) -> Opened:
        spec = self._spec
        given = OpenInput(
            loop=spec.id,
            worktree=spec.worktree,
            allow_large=spec.allow_large,
            own_worktree=spec.origin is not None,
            task=task_of(spec),
            ticket=self._ticket(),
        )
        try:
            return await workflow.execute_activity_method(
                Activities.open_workspace,
                given,
                start_to_close_timeout=_NO_LIMIT,  # it waits for its turn
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=_ADOPT,  # what goes wrong says itself when there is no hope
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                summary="baseline snapshot",
            )
        except FailureError as error:
            raise_if_behind(error)
            raise

    async def reopen(self, base: str | None, after: int, keep: str) -> Reopened:
        """See ReopenInput."""
        spec = self._spec
        return await self._begin(
            lambda: workflow.execute_activity_method(
                Activities.reopen_workspace,
                ReopenInput(
                    loop=spec.id,
                    worktree=spec.worktree,
                    allow_large=spec.allow_large,
                    task=task_of(spec),
                    base=base,
                    after=after,
                    keep=keep,
                    ticket=self._ticket(),
                ),
                start_to_close_timeout=timedelta(hours=2),
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=_QUICK,
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                summary="take the folder again",
            )
        )

    async def run_agent(
        self,
        agent: AgentSpec,
        run: str,
        timeout_s: float,
        standing: Standing,
        *,
        session: Session | None = None,
        as_of: int | None,
        not_after: float | None,
    ) -> AgentResult:
        step = f" step {standing.step}" if self._spec.steps else ""
        return await self._begin(
            lambda: workflow.execute_activity_method(
                Activities.run_agent,
                RunAgentInput(
                    loop=self._spec.id,
                    run=run,
                    agent=agent,
                    timeout_s=timeout_s,
                    directory=self._spec.directory,
                    worktree=self._spec.worktree,
                    standing=standing,
                    session=session,
                    as_of=as_of,
                    not_after=not_after,
                    ticket=self._ticket(),
                ),
                start_to_close_timeout=_NO_LIMIT,  # the shim keeps the run's own; its wait for a turn has none
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=_ADOPT,
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                summary=f"#{standing.iteration} {agent.name}{step}",
            )
        )

    async def run_evaluator(
        self, command: str, iteration: int, run: str, timeout_s: float, *, scored: bool, untouched: bool
    ) -> EvaluatorResult:
        result = await self._begin(
            lambda: workflow.execute_activity_method(
                Activities.run_evaluator,
                RunEvaluatorInput(
                    loop=self._spec.id,
                    iteration=iteration,
                    run=run,
                    command=command,
                    timeout_s=timeout_s,
                    directory=self._spec.directory,
                    scored=scored,
                    untouched=untouched,
                    ticket=self._ticket(),
                ),
                start_to_close_timeout=_NO_LIMIT,  # as an agent's
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=_ADOPT,
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                summary=f"#{iteration} {run}",
            )
        )
        if result.ended_by == "cancel" and result.started:
            heed_cancel()  # it says nothing about what it measured
        return result

    async def run_setup(self, command: str) -> EvaluatorResult:
        spec = self._spec
        result = await self._begin(
            lambda: workflow.execute_activity_method(
                Activities.run_setup,
                RunEvaluatorInput(
                    loop=spec.id,
                    iteration=0,
                    run="setup",
                    command=command,
                    timeout_s=spec.setup_timeout_s,
                    directory=spec.directory,
                    scored=False,
                    ticket=self._ticket(),
                ),
                start_to_close_timeout=_limit(spec.setup_timeout_s),
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=_ADOPT,
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                summary="setup",
            )
        )
        if result.ended_by == "cancel":
            heed_cancel()
        return result

    async def find_missing(self, origin: str) -> str:
        """What the loop's own worktree lacks of what git ignores in the user's folder, in a sentence; else empty."""
        given = MissingInput(origin=origin, worktree=self._spec.worktree, directory=self._spec.directory)
        try:
            return await _locally(Activities.find_missing, given, summary="look for what git ignores")
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            return ""  # a hint is no reason to fail

    async def snapshot(
        self, name: str, *, child_ran: bool = True, run: str | None = None, again: bool = False
    ) -> Snapshot:
        """`run`, `again`: see SnapshotInput."""
        message = f"beatctl: {self._spec.id} experiment {name}"
        given = SnapshotInput(
            loop=self._spec.id,
            name=name,
            message=message,
            child_ran=child_ran,
            run=run,
            again=again,
            ticket=self._ticket(),
        )
        return await self._begin(lambda: _locally(Activities.snapshot_workspace, given, summary=f"#{name} snapshot"))

    async def restore(self, snapshot: str, keep: str) -> list[str]:
        given = RestoreInput(loop=self._spec.id, snapshot=snapshot, keep=keep, ticket=self._ticket())
        return await self._begin(lambda: _locally(Activities.restore_workspace, given, summary="restore"))

    async def find_edits(self) -> list[str]:
        given = EditsInput(loop=self._spec.id, ticket=self._ticket())
        return await self._begin(lambda: _locally(Activities.find_edits, given, summary="look for edits"))

    async def keep_notes(self, notes: list[str]) -> None:
        given = NotesInput(loop=self._spec.id, notes=notes, ticket=self._ticket())
        await self._begin(lambda: _locally(Activities.keep_notes, given, summary="notes"))

    async def conclude(self, given: ConcludeInput) -> str | None:
        given = given.model_copy(update={"ticket": self._ticket()})
        return await self._sure(
            lambda: _locally(
                Activities.conclude_iteration, given, summary=f"#{given.row.iteration} {given.row.verdict}"
            )
        )

    async def look_up(self) -> Kept:
        """How the loop stands by the ledger."""
        return await _locally(Activities.look_up, self._spec.id, summary="look into the ledger", retry=_ADOPT)

    async def publish(self, status: Status) -> int | None:
        """The version that is in the ledger, where that is newer."""
        return await _start_locally(Activities.publish_status, status, f"status: {status.state}", _QUICK)

    async def close(self, given: CloseInput) -> Status:
        """Tried for as long as it takes: a loop whose end nobody wrote down would hold its folder for ever."""
        given = given.model_copy(update={"ticket": self._ticket()})
        return await _locally(Activities.close_workspace, given, summary=f"close: {given.status.outcome}", retry=_ADOPT)


def task_of(spec: LoopSpec) -> Task:
    """The loop's texts, from which its prompts are made."""
    return Task(
        goal=spec.goal,
        steps=spec.steps,
        strategy=spec.strategy,
        evaluator=spec.evaluator,
        check=spec.check,
        direction=spec.direction,
        memory=spec.memory,
        memory_budget=spec.memory_budget,
        template=spec.template,
    )


def heed_cancel() -> None:
    """Raise CancelledError once the loop's cancellation was asked for.

    What ends well although it was asked to be cancelled (an evaluator that was quicker than its next heartbeat) gives
    its result, and the cancellation with that is taken for delivered: without another look it would be forgotten.
    """
    if workflow.cancellation_reason() is not None:
        raise asyncio.CancelledError


async def _locally(
    activity: Callable[[Activities, Given], Result], given: Given, summary: str, retry: RetryPolicy = _QUICK
) -> Result:
    """A quick step on the workspace, in the worker that runs the workflow. Once begun it is finished, and its result
    is taken: a cancellation that comes meanwhile is heeded by what would begin next."""
    running = _start_locally(activity, given, summary, retry)
    while True:
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if running.cancelled() or workflow.cancellation_reason() is None:
                raise


def _start_locally(
    activity: Callable[[Activities, Given], Result], given: Given, summary: str, retry: RetryPolicy
) -> workflow.ActivityHandle[Result]:
    return workflow.start_local_activity_method(
        activity, given, start_to_close_timeout=_QUICK_LIMIT, retry_policy=retry, summary=summary
    )


def raise_if_behind(error: FailureError) -> None:
    """Raises Behind where that is what an activity has found."""
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, ApplicationError) and cause.type == "behind":
        raise Behind from error


def problem_of(error: FailureError) -> tuple[str, str]:
    """Why an activity failed, as a reason to pause and a sentence. A local activity's error comes unwrapped."""
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, ApplicationError):
        return (cause.type if cause.type in _PAUSES else "workspace"), cause.message
    return "workspace", str(cause or error)


def _limit(timeout_s: float) -> timedelta:
    return timedelta(seconds=timeout_s + _MARGIN_S) if timeout_s else _NO_LIMIT
