"""HostCommandWorkflow: one `beatctl` command on the host whose queue it is on."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from beatctl.activities.host_command import Answer, HostCommand, HostCommands

_LIMIT = timedelta(hours=1)
_HEARTBEAT = timedelta(seconds=5)


@workflow.defn(name="HostCommand")
class HostCommandWorkflow:
    """Its result is what the command printed."""

    @workflow.run
    async def run(self, given: HostCommand) -> Answer:
        return await workflow.execute_activity_method(
            HostCommands.run_command,
            given,
            start_to_close_timeout=_LIMIT,
            heartbeat_timeout=_HEARTBEAT,
            # Somebody waits for it, and is better asked again than surprised by a second `apply`.
            retry_policy=RetryPolicy(maximum_attempts=1),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=" ".join(given.words[:2]),
        )
