"""PushWorkflow: the branch of a loop that was started with --repo is pushed after its end. The loop does not wait."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from beatctl.activities.host_command import HostCommand, HostCommands
    from beatctl.activities.launching import Launching

_HEARTBEAT = timedelta(seconds=5)
_NO_LIMIT = timedelta(days=3650)
_LIMIT = timedelta(hours=1)
_RETRY = RetryPolicy(maximum_interval=timedelta(seconds=30))
_UNREACHABLE = 3
_PAUSES_S = (30, 120, 600, 3600)
"""Between tries to reach the repository. After the last it waits for `beatctl push`."""


@workflow.defn(name="Push")
class PushWorkflow:
    """For one loop, by its id. Its result is the exit code of the last `beatctl push`; None: the loop never began."""

    @workflow.run
    async def run(self, loop: str) -> int | None:
        if not await self._has_ended(loop):
            return None
        code = await self._push(loop)
        for pause in _PAUSES_S:
            if code != _UNREACHABLE:
                break
            await workflow.sleep(pause)
            code = await self._push(loop)
        return code

    async def _has_ended(self, loop: str) -> bool:
        try:
            await workflow.execute_activity_method(
                Launching.wait_for_end,
                loop,
                start_to_close_timeout=_NO_LIMIT,
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=_RETRY,
                summary=f"until {loop} has ended",
            )
        except ActivityError as error:
            if isinstance(error.cause, ApplicationError) and error.cause.non_retryable:
                return False  # its start was given up
            raise
        return True

    async def _push(self, loop: str) -> int:
        answer = await workflow.execute_activity_method(
            HostCommands.run_command,
            HostCommand(words=["push", loop, "--json"]),
            start_to_close_timeout=_LIMIT,
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=_RETRY,
            summary=f"push {loop}",
        )
        return answer.exit_code
