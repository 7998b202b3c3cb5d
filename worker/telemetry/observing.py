"""Sees the worker's activities end, and tells what is to be sent of them. Nothing waits for it: what takes a moment is
done by a thread of its own, and whatever goes wrong in it is a line in the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from beatctl.activities.conclude import CloseInput, ConcludeInput
from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Row, Status
from beatctl.activities.run_agent import AgentResult, RunAgentInput
from beatctl.activities.run_evaluator import EvaluatorResult, RunEvaluatorInput
from beatctl.worker.log_lines import Named, about
from beatctl.worker.telemetry.export import Export
from beatctl.worker.telemetry.ids import Ids, iteration_ids, loop_ids
from beatctl.worker.telemetry.metrics import AGENT_TIME, EVALUATOR_TIME, Waits, observed
from beatctl.worker.telemetry.runs import runs_in
from beatctl.worker.telemetry.spans import Timed, loop_span, spans_of

log = logging.getLogger("beatctl.worker")

_TIMED = {"open_workspace": "snapshot", "snapshot_workspace": "snapshot", "restore_workspace": "restore"}
_MOST_TIMED = 100
"""Of one iteration: a broken evaluator has its workspace restored for as long as somebody resumes the loop."""
_PATIENCE_S = 3.0
"""At the end: less than the supervisor has with a worker that ends."""


class Observing(Interceptor):
    """What one worker tells of one home's loops on one server."""

    def __init__(self, home: Home, connection: str, host: str, export: Export, *, content: bool) -> None:
        """`connection`: the server's label, see Status.connection."""
        self._home = home
        self._host = host
        self._export = export
        self._content = content
        self._ledger = Ledger(home.ledger)
        self._waits = Waits()
        self._begun: dict[str, Status] = {}
        """A status of each loop that goes on: when it was started is in the ids."""
        self._timed: dict[str, tuple[int, list[Timed]]] = {}
        """Of each loop's iteration that is under way."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="telemetry")
        for status in self._ledger.unfinished():
            if status.connection == connection:
                self._heard(status)
        export.observe(observed(self._ledger, connection, self._waits), (AGENT_TIME, EVALUATOR_TIME))
        if export.handler is not None:
            export.handler.addFilter(Named())
            export.handler.addFilter(self._with_ids)
            logging.getLogger().addHandler(export.handler)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Observed(next, self)

    def begins(self, given: object) -> None:
        """An activity begins."""
        if isinstance(given, ConcludeInput | CloseInput):
            self._begun[given.status.id] = given.status

    def done(self, name: str, given: object, result: object, started: float, ended: float) -> None:
        """An activity has ended well. Times are unix seconds."""
        whose = about(given)
        if name in _TIMED and whose is not None and whose[1] is not None:
            self._note(whose[0], whose[1], Timed(_TIMED[name], started, ended))
        elif isinstance(given, RunAgentInput) and isinstance(result, AgentResult):
            self._ran_agent(given, result)
        elif isinstance(given, RunEvaluatorInput) and isinstance(result, EvaluatorResult):
            self._ran_evaluator(given, result)
        elif isinstance(given, ConcludeInput):
            self._heard(given.status)
            put_back = given.restore is not None
            self._concluded(given.status, given.row, Timed("restore", started, ended) if put_back else None)
        elif isinstance(given, CloseInput):
            self._closed(given, result, Timed("restore", started, ended) if given.restore is not None else None)
        elif isinstance(given, Status):
            self._heard(given)

    def _heard(self, status: Status) -> None:
        self._begun[status.id] = status
        self._waits.heard(status, time.monotonic())

    def _note(self, loop: str, iteration: int, timed: Timed) -> None:
        number, noted = self._timed.get(loop, (-1, []))
        noted = noted if number == iteration else []
        self._timed[loop] = iteration, [*noted, timed][:_MOST_TIMED]

    def _ran_agent(self, given: RunAgentInput, result: AgentResult) -> None:
        if result.waited_s:
            self._waits.waited("turn", result.waited_s)
        if result.status not in ("edited", "missing", "unstarted"):
            labels = {"gen_ai.agent.name": given.agent.name, "beatctl.status": result.status}
            self._export.record(AGENT_TIME, result.duration_s, labels)

    def _ran_evaluator(self, given: RunEvaluatorInput, result: EvaluatorResult) -> None:
        if result.waited_s:
            self._waits.waited("turn", result.waited_s)
        if result.started:
            kind = given.run.rstrip("0123456789").rstrip("-")
            ended = "failed" if result.ended_by == "exit" and result.exit_code != 0 else result.ended_by
            labels = {"beatctl.run": kind, "beatctl.status": "done" if ended == "exit" else ended}
            self._export.record(EVALUATOR_TIME, result.duration_s, labels)

    def _concluded(self, status: Status, row: Row, last: Timed | None) -> None:
        number, noted = self._timed.pop(status.id, (-1, []))
        timed = [*(noted if number == row.iteration else []), *([last] if last is not None else [])]

        def send() -> None:
            folder = self._home.loop(status.id).iteration(row.iteration)
            runs = runs_in(folder, scored=status.strategy == "optimize")
            self._export.send(spans_of(status, row, runs, timed, self._host, content=self._content))

        self._later(send)

    def _closed(self, given: CloseInput, result: object, last: Timed | None) -> None:
        status = result if isinstance(result, Status) else given.status
        if given.row is not None:
            self._concluded(status, given.row, last)
        self._timed.pop(status.id, None)
        self._waits.heard(status, time.monotonic())
        self._later(lambda: self._export.send([loop_span(status, self._host)]))
        self._begun.pop(status.id, None)

    def _later(self, work: Callable[[], None]) -> None:
        if not self._export.traces:
            return

        def safely() -> None:
            try:
                work()
            except Exception:  # whatever it is: loops go on without
                log.warning("spans could not be sent", exc_info=True)

        self._thread.submit(safely)

    def _with_ids(self, record: logging.LogRecord) -> bool:
        """A filter that refuses nothing: gives a record the ids of the span it belongs to."""
        begun = self._begun.get(getattr(record, "beatctl_loop", None) or "")
        iteration = getattr(record, "beatctl_iteration", None)
        ids: Ids | None = None
        if begun is not None:
            ids = loop_ids(begun) if iteration is None else iteration_ids(begun, iteration)
        record.beatctl_ids = ids
        return True

    def close(self) -> None:
        """Send what is left, for some seconds at most."""
        if self._export.handler is not None:
            logging.getLogger().removeHandler(self._export.handler)
        end = time.monotonic() + _PATIENCE_S
        wait([self._thread.submit(lambda: None)], _PATIENCE_S)
        self._thread.shutdown(wait=False)
        self._export.close(max(0.5, end - time.monotonic()))


class _Observed(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, observing: Observing) -> None:
        super().__init__(next)
        self._observing = observing

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        started = time.time()
        given = input.args[0] if input.args else None
        self._observing.begins(given)
        result = await self.next.execute_activity(input)
        try:
            self._observing.done(activity.info().activity_type, given, result, started, time.time())
        except Exception:  # whatever it is: the activity has done its work
            log.warning("telemetry of %s failed", activity.info().activity_type, exc_info=True)
        return result
