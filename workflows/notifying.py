"""What of a loop's course is told, and when: a queue beside the loop, which never waits for it but at its end."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Protocol

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import FailureError, is_cancelled_exception

from beatctl.activities.host import Activities
from beatctl.activities.notify.happened import Event, NotifyInput, happened
from beatctl.activities.records import Status, timestamp
from beatctl.workflows.spec import LoopSpec
from beatctl.workflows.state import LoopState

BEST_EVERY_S = 900.0
"""Between two messages of a new best: a loop may find one every minute."""
_MOST_WAITING = 20
_TRY_LIMIT = timedelta(seconds=120)
_HEARTBEAT = timedelta(seconds=5)
_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=4.0, maximum_interval=timedelta(seconds=30)
)
"""The activity counts the tries: those it was kept from are none."""


class Course(Protocol):
    """What telling needs of the loop."""

    spec: LoopSpec
    state: LoopState

    def time(self) -> float: ...


def is_wanted(event: Event, outcome: str | None, wanted: list[Event]) -> bool:
    """Whether the loop's user asked to be told. A failure is an end, too. Pure."""
    return event in wanted or (event == "finish" and outcome == "failed" and "failure" in wanted)


def best_is_due(state: LoopState, now: float) -> bool:
    """Whether a new best that nobody was told of may be told. Pure."""
    return state.best_untold and (state.best_told_at is None or now - state.best_told_at >= BEST_EVERY_S)


class Notifier:
    """A loop's notifications. Nothing is asked for where the loop has none."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._under_way: str | None = None

    @property
    def _wanted(self) -> list[Event]:
        changed = self._course.state.notify
        return self._course.spec.notify if changed is None else changed

    def tell(self, event: Event) -> None:
        """Have this told, with the loop as it stands now."""
        course = self._course
        if is_wanted(event, course.state.outcome, self._wanted):
            self._queue(event, course.state.status(course.spec, course.time()))

    def concluded(self, *, kept: bool) -> None:
        """An iteration has its row: tell of the best, if there is a new one and the last was told long enough ago."""
        course = self._course
        if "best" not in self._wanted:
            return
        state, now = course.state, course.time()
        state.best_untold = state.best_untold or kept
        if best_is_due(state, now):
            state.best_untold, state.best_told_at = False, now
            self.tell("best")

    async def run(self) -> None:
        """Send what is to be told, one after the other. What was not through when a run of the chain handed over is in
        the state, and begun again by the next: the activity knows it by its id."""
        while True:
            await workflow.wait_condition(lambda: bool(self._course.state.tellings))
            first = self._course.state.tellings[0]
            self._under_way = first.id
            try:
                await self._send(first)
            except FailureError as error:
                if is_cancelled_exception(error):
                    raise
                workflow.logger.warning("not notified: %s", error)
            self._under_way = None
            self._course.state.tellings.remove(first)

    async def end(self, status: Status) -> None:
        """Tell of the loop's end, and wait until that is through or given up: no other message is of interest now."""
        if not self._wanted:
            return
        state = self._course.state
        state.tellings = [given for given in state.tellings if given.id == self._under_way]
        if is_wanted("finish", status.outcome, self._wanted):
            self._queue("finish", status, last=True)
        else:
            state.tellings.append(NotifyInput(loop=status.id, id=str(workflow.uuid4()), last=True))
        try:
            await workflow.wait_condition(lambda: not state.tellings)
        except asyncio.CancelledError:
            if workflow.cancellation_reason() is None:
                raise
            await workflow.wait_condition(lambda: not state.tellings)  # cancelling an ended loop ends nothing

    def _queue(self, event: Event, status: Status, *, last: bool = False) -> None:
        told = happened(event, status, timestamp(workflow.now().timestamp()))
        waiting = self._course.state.tellings
        waiting.append(NotifyInput(loop=status.id, id=str(workflow.uuid4()), happened=told, last=last))
        while len(waiting) > _MOST_WAITING:
            del waiting[1]  # the first is under way

    async def _send(self, given: NotifyInput) -> None:
        await workflow.execute_activity_method(
            Activities.notify,
            given,
            start_to_close_timeout=_TRY_LIMIT,
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=_RETRY,
            summary=f"tell: {given.happened.event if given.happened else 'nothing more'}",
        )
