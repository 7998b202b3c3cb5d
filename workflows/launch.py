"""LaunchWorkflow: starts a loop on a host, and stays until it has ended. The loop is a workflow of its own and needs
this one for nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from beatctl.activities.launching import Launch, Launching
    from beatctl.activities.records import Status

_HEARTBEAT = timedelta(seconds=5)
_NO_LIMIT = timedelta(days=3650)
_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=30)
)


class LaunchInput(Launch):
    """What to launch, and what becomes of it."""

    cancels_loop: bool = False
    """Whether a launch that is cancelled cancels its loop; else it only stops watching."""
    ends_others: bool = False
    """Whether the schedule's loops that have not ended are cancelled first."""


@workflow.defn(name="Launch")
class LaunchWorkflow:
    """Its result is the loop's last status. What `start` refuses fails it, with the words."""

    @workflow.run
    async def run(self, given: LaunchInput) -> Status:
        launch = Launch.model_validate(given.model_dump(include=set(Launch.model_fields)))
        try:
            if given.ends_others and given.schedule is not None:
                await self._end_others(given.schedule)
            loop = await self._start(launch)
            workflow.upsert_memo({"loop": loop})
            workflow.set_current_details(f"Loop {loop}")
            return await self._stay(loop, cancels_loop=given.cancels_loop)
        finally:
            await asyncio.shield(self._forget())

    async def _stay(self, loop: str, *, cancels_loop: bool) -> Status:
        try:
            # One that came while the loop was being started, which nothing interrupts, has been taken for delivered.
            if workflow.cancellation_reason() is not None:
                raise asyncio.CancelledError
            return await self._wait(loop)
        except (asyncio.CancelledError, FailureError) as error:
            if cancels_loop and is_cancelled_exception(error):
                await asyncio.shield(self._end(loop))
            raise

    async def _start(self, launch: Launch) -> str:
        return await workflow.execute_activity_method(
            Launching.start_loop,
            launch,
            start_to_close_timeout=_NO_LIMIT,
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=_RETRY,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary="start the loop",
        )

    async def _wait(self, loop: str) -> Status:
        return await workflow.execute_activity_method(
            Launching.wait_for_end,
            loop,
            start_to_close_timeout=_NO_LIMIT,
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=_RETRY,
            summary=f"until {loop} has ended",
        )

    async def _end(self, loop: str) -> Status:
        return await workflow.execute_activity_method(
            Launching.end_loop,
            loop,
            start_to_close_timeout=_NO_LIMIT,
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=_RETRY,
            summary=f"cancel {loop}",
        )

    async def _end_others(self, schedule: str) -> None:
        await workflow.execute_activity_method(
            Launching.end_others,
            schedule,
            start_to_close_timeout=_NO_LIMIT,
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=_RETRY,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=f"cancel what runs of {schedule}",
        )

    async def _forget(self) -> None:
        await workflow.execute_activity_method(
            Launching.forget_launch,
            start_to_close_timeout=timedelta(minutes=1),
            retry_policy=_RETRY,
            summary="tidy up",
        )
