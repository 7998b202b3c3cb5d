"""For the crash tests: the worker dies before or after an activity's work, as processes/faults.py is told."""

from __future__ import annotations

from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from beatctl.activities.processes import faults


class Edges(Interceptor):
    """Hosted only where faults were asked for."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Edge(next)


class _Edge(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        name = activity.info().activity_type
        faults.point(f"before:{name}")
        result = await self.next.execute_activity(input)
        faults.point(f"after:{name}")
        return result
