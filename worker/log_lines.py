"""The worker's log: each line with the loop and iteration it is about, and a line for what becomes of them."""

from __future__ import annotations

import logging
import time
from collections import deque
from contextvars import ContextVar
from typing import Any

from temporalio import workflow
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from beatctl.activities.conclude import CloseInput, ConcludeInput
from beatctl.activities.records import Row, Status

log = logging.getLogger("beatctl.loop")

_SELDOM_S = 600.0

_about: ContextVar[tuple[str, int | None] | None] = ContextVar("about", default=None)


def about(given: object) -> tuple[str, int | None] | None:
    """Which loop and iteration an activity is about, by what it is given; None where it is about none."""
    if isinstance(given, Status):
        return given.id, None
    if isinstance(given, ConcludeInput):
        return given.status.id, given.row.iteration
    if isinstance(given, CloseInput):
        return given.status.id, given.row.iteration if given.row is not None else None
    loop = getattr(given, "loop", None)
    if not isinstance(loop, str):
        return None
    for holder in (given, getattr(given, "standing", None), getattr(given, "ticket", None)):
        if isinstance(iteration := getattr(holder, "iteration", None), int):
            return loop, iteration
    return loop, None


class Named(logging.Filter):
    """Gives each record the loop and iteration it is about: `beatctl_loop`, `beatctl_iteration`, and both as a suffix
    for the text, `about`."""

    def filter(self, record: logging.LogRecord) -> bool:
        loop, iteration = _about.get() or _about_workflow() or (None, None)
        record.beatctl_loop, record.beatctl_iteration = loop, iteration
        number = "" if iteration is None else f" #{iteration}"
        record.about = "" if loop is None else f" [{loop}{number}]"
        return True


def _about_workflow() -> tuple[str, int | None] | None:
    if not workflow.in_workflow():
        return None
    current = getattr(workflow.instance(), "current", None)
    return workflow.info().workflow_id.removeprefix("beatctl-"), getattr(current, "number", None)


class Seldom(logging.Filter):
    """Lets through what the exporters of telemetry say of a collector that is away: each once in a while, not for each
    batch of a night."""

    def __init__(self) -> None:
        super().__init__()
        self._quiet_until: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("opentelemetry."):
            return True
        now = time.monotonic()
        if now < self._quiet_until.get(record.name, 0.0):
            return False
        self._quiet_until[record.name] = now + _SELDOM_S
        return True


def set_up() -> None:
    """Write this process's log to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s%(about)s"))
    handler.addFilter(Named())
    handler.addFilter(Seldom())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("temporalio").setLevel(logging.WARNING)


class LogLines(Interceptor):
    """Says in the log what becomes of iterations and loops."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._rows: deque[tuple[str, int]] = deque(maxlen=1000)
        """Those that have their line: a local activity is repeated where its end was not put on record."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Lines(next, self)

    def done(self, given: object) -> None:
        """An activity has ended well."""
        if isinstance(given, ConcludeInput):
            self._concluded(given.status, given.row)
            self._heard(given.status)
        elif isinstance(given, CloseInput):
            if given.row is not None:
                self._concluded(given.status, given.row)
            self._states.pop(given.status.id, None)
            log.info("ended: %s (%s)", given.status.outcome, given.status.reason)
        elif isinstance(given, Status):
            self._heard(given)

    def _concluded(self, status: Status, row: Row) -> None:
        if (status.id, row.iteration) in self._rows:
            return
        self._rows.append((status.id, row.iteration))
        score = "" if row.score is None else f", score {row.score:.12g}"
        best = status.best.score if status.best is not None else None
        log.info("%s%s%s, %.1f s", row.verdict, score, "" if best is None else f", best {best:.12g}", row.duration_s)

    def _heard(self, status: Status) -> None:
        state = f"{status.state} ({status.reason})" if status.state in ("paused", "waiting") else status.state
        if self._states.get(status.id, "running") != state:
            log.info("%s", state)
        self._states[status.id] = state


class _Lines(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, lines: LogLines) -> None:
        super().__init__(next)
        self._lines = lines

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        given = input.args[0] if input.args else None
        # Not reset: the activity's task ends with it, and what the SDK says of a failure it says in that task.
        _about.set(about(given))
        result = await self.next.execute_activity(input)
        self._lines.done(given)
        return result
