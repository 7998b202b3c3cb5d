"""The metrics: their names and units, and what they are taken from. Pure but for reading the ledger.

What the ledger knows is read from it anew for each export: it counts on over restarts, and nothing is counted twice or
lost by a kill. Times are counted by the worker, as its activities end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Status

Labels = dict[str, str]
Points = list[tuple[float, Labels]]


@dataclass(frozen=True)
class Metric:
    """One metric, as it is told."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    """UCUM; what no unit is for, in braces."""
    labels: tuple[str, ...]
    description: str


ITERATIONS = Metric(
    "beatctl.iterations",
    "counter",
    "{iteration}",
    ("beatctl.verdict", "beatctl.strategy"),
    "Rows of the ledger: iterations that were concluded, baselines included.",
)
COST = Metric("beatctl.cost", "counter", "{USD}", ("beatctl.strategy",), "Dollars that agent runs have cost.")
TOKENS = Metric("beatctl.tokens", "counter", "{token}", ("beatctl.strategy",), "Tokens that agent runs have used.")
LOOPS = Metric(
    "beatctl.loops",
    "gauge",
    "{loop}",
    ("beatctl.state", "beatctl.reason"),
    "Loops by state; of those that are paused or waiting, by reason.",
)
SCORE = Metric(
    "beatctl.score",
    "gauge",
    "{score}",
    ("beatctl.loop.id", "beatctl.strategy"),
    "The latest score of a loop that goes on.",
)
BEST = Metric(
    "beatctl.best",
    "gauge",
    "{score}",
    ("beatctl.loop.id", "beatctl.strategy"),
    "The best score of a loop that goes on.",
)
FAILURES = Metric(
    "beatctl.failures",
    "gauge",
    "{failure}",
    ("beatctl.loop.id", "beatctl.strategy"),
    "Failures in a row of a loop that goes on: agents that crashed or ran out of time.",
)
WAITING = Metric(
    "beatctl.waiting.time",
    "counter",
    "s",
    ("beatctl.reason",),
    "How long loops have waited or been paused, while this worker ran; `turn`: for other loops' runs.",
)
AGENT_TIME = Metric(
    "beatctl.agent.duration",
    "histogram",
    "s",
    ("gen_ai.agent.name", "beatctl.status"),
    "Agent runs, by how they ended.",
)
EVALUATOR_TIME = Metric(
    "beatctl.evaluator.duration",
    "histogram",
    "s",
    ("beatctl.run", "beatctl.status"),
    "Runs of evaluator and check, by how they ended.",
)
METRICS = (ITERATIONS, COST, TOKENS, LOOPS, SCORE, BEST, FAILURES, WAITING, AGENT_TIME, EVALUATOR_TIME)

STATES = ("running", "paused", "waiting", "finished")
BUCKETS = (0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14400.0)
"""Seconds: from a no-op to an agent that takes hours."""


@dataclass
class Waits:
    """How long this home's loops have waited, by reason."""

    _totals: dict[str, float] = field(default_factory=dict)
    _since: dict[str, tuple[str, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def heard(self, status: Status, now: float) -> None:
        """A loop's status at the moment `now` (monotonic seconds)."""
        reason = (status.reason or status.state) if status.state in ("paused", "waiting") else None
        with self._lock:
            before = self._since.get(status.id)
            if before is not None and before[0] == reason:
                return
            if before is not None:
                del self._since[status.id]
                self._add(before[0], now - before[1])
            if reason is not None:
                self._since[status.id] = reason, now

    def waited(self, reason: str, seconds: float) -> None:
        """A wait that is over."""
        with self._lock:
            self._add(reason, seconds)

    def _add(self, reason: str, seconds: float) -> None:
        self._totals[reason] = self._totals.get(reason, 0.0) + max(0.0, seconds)

    def points(self, now: float) -> Points:
        """Waits that go on are in it up to `now`."""
        with self._lock:
            totals = dict(self._totals)
            for reason, since in self._since.values():
                totals[reason] = totals.get(reason, 0.0) + max(0.0, now - since)
        return [(seconds, {"beatctl.reason": reason}) for reason, seconds in totals.items()]


def observed(ledger: Ledger, connection: str, waits: Waits) -> dict[Metric, Callable[[], Points]]:
    """What is looked up for each export: of the loops on the server `connection`, see Status.connection."""

    def iterations() -> Points:
        return [
            (count, {"beatctl.verdict": verdict, "beatctl.strategy": strategy})
            for strategy, verdict, count in ledger.verdicts(connection)
        ]

    def cost() -> Points:
        return [(cost, {"beatctl.strategy": strategy}) for strategy, cost, _ in ledger.spent(connection)]

    def tokens() -> Points:
        return [(tokens, {"beatctl.strategy": strategy}) for strategy, _, tokens in ledger.spent(connection)]

    def loops() -> Points:
        # Each state at least with 0: that a worker with no loops lives is told from none.
        counts: dict[tuple[str, str | None], int] = {(state, None): 0 for state in STATES}
        counts |= {(state, reason): count for state, reason, count in ledger.states(connection)}
        return [
            (count, {"beatctl.state": state} | ({"beatctl.reason": reason} if reason else {}))
            for (state, reason), count in counts.items()
        ]

    def each(value: Callable[[Status], float | None]) -> Callable[[], Points]:
        return lambda: [
            (found, {"beatctl.loop.id": status.id, "beatctl.strategy": status.strategy})
            for status in going_on()
            if (found := value(status)) is not None
        ]

    def going_on() -> Iterable[Status]:
        return (status for status in ledger.unfinished() if status.connection == connection)

    return {
        ITERATIONS: iterations,
        COST: cost,
        TOKENS: tokens,
        LOOPS: loops,
        SCORE: each(lambda status: ledger.last_score(status.id)),
        BEST: each(lambda status: status.best.score if status.best else None),
        FAILURES: each(lambda status: float(status.failures)),
        WAITING: lambda: waits.points(time.monotonic()),
    }
