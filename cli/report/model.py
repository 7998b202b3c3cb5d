"""A loop's report as facts: pure, from its status, its specification and its rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel

from beatctl.activities.ledger import AgentRow, Mark, Outcome, Row, State, Status

EDITS = "your edits"
"""How the row begins, in summary or reason, that takes in what the user changed."""
UNCHANGED = "changed nothing"
_NEAR, _NEAR_PERCENT = 3, 5.0
_LONG_WAIT_S = 60.0


class Times(BaseModel):
    """Seconds by what they went into; together `total_s`."""

    agent_s: float = 0.0
    evaluator_s: float = 0.0
    rest_s: float = 0.0
    """Within iterations: checks, snapshots, restores, a pause in the middle of one."""
    waiting_s: float = 0.0
    """Between iterations: cooldown, pauses, waits, a machine that was off."""
    under_way_s: float = 0.0
    """Of a loop that runs: the iteration that has no row yet."""
    total_s: float = 0.0


class Spent(BaseModel):
    """What went into some of the runs: an agent's, a step's, those that came to one verdict."""

    name: str
    runs: int = 0
    duration_s: float = 0.0
    cost_usd: float | None = None
    """None: nobody told."""
    tokens: int | None = None

    def add(self, agent: AgentRow, duration_s: float | None = None) -> None:
        self.runs += 1
        self.duration_s = round(self.duration_s + (agent.duration_s if duration_s is None else duration_s), 3)
        if agent.cost_usd is not None:
            self.cost_usd = round((self.cost_usd or 0.0) + agent.cost_usd, 6)
        if agent.tokens is not None:
            self.tokens = (self.tokens or 0) + agent.tokens


class Kept(BaseModel):
    """An experiment that became the best, and what it did to the score."""

    iteration: int
    before: float | None
    after: float | None
    change_percent: float | None
    share_percent: float | None
    """Of the whole way from the baseline to the best; negative where the user's edits made it worse."""
    edits: bool
    """The user's own edits, taken in: not an agent's work."""
    summary: str
    snapshot: str | None
    cost_usd: float | None
    duration_s: float


class NearMiss(BaseModel):
    """A discarded experiment that came close to the score to beat."""

    iteration: int
    score: float
    to_beat: float
    change_percent: float | None
    summary: str


class Tries(BaseModel):
    """Tries of a retry loop in a row that ended alike."""

    first: int
    last: int
    verdict: str
    reason: str
    summary: str
    """What the agent said in the last of them."""
    duration_s: float


class Wait(BaseModel):
    """A long time in which no iteration ran."""

    before: int
    """The iteration that came after it."""
    duration_s: float


class Survived(BaseModel):
    """What went wrong on the way, or stopped it, and did not end the loop."""

    adopted: list[int] = []
    """Iterations whose agent ran on while a worker was replaced."""
    lost: int = 0
    """Agent runs that died with the machine or their shim and were run again."""
    repaired: list[int] = []
    """Iterations after which something of the repository was put back."""
    crashes: int = 0
    timeouts: int = 0
    evaluator_broken: list[int] = []
    edits: list[int] = []
    """Rows that took in the user's own edits."""
    waits: list[Wait] = []
    """The longest three of a minute and more, and longer than the cooldown."""


class Stair(BaseModel):
    """From this iteration on, this was the score to beat."""

    iteration: int
    score: float


class Report(BaseModel):
    """Everything a report says, but for the rows themselves and their diffs."""

    id: str
    goal: str
    strategy: Literal["retry", "optimize"]
    direction: Literal["minimize", "maximize"] | None
    state: State
    outcome: Outcome | None
    reason: str | None
    detail: str
    agent: str
    models: list[str]
    evaluator: str
    check: str | None
    steps: list[str]
    directory: str
    started_at: str | None
    ended_at: str | None
    elapsed_s: float
    limits: dict[str, Any]
    iterations: int
    counts: dict[str, int]
    """Rows by verdict, the baseline's not among them."""
    baseline: Mark | None
    best: Mark | None
    change_percent: float | None
    """From the baseline to the best."""
    cost_usd: float
    tokens: int
    times: Times
    by_agent: list[Spent]
    by_step: list[Spent]
    by_verdict: list[Spent]
    """`duration_s` of these is the whole iterations'."""
    survived: Survived
    stairs: list[Stair]
    kept: list[Kept]
    near_misses: list[NearMiss]
    tries: list[Tries]
    warnings: list[str]


def made(status: Status, spec: dict[str, Any], rows: Sequence[Row]) -> Report:
    """The report of a loop. `spec` as JSON holds it, empty where it is unknown; `rows` oldest first."""
    known = {row.iteration: row for row in rows}
    experiments = [row for row in rows if row.verdict != "baseline"]
    baseline, best = status.baseline, status.best
    optimize = status.strategy == "optimize"
    counts: dict[str, int] = {}
    for row in experiments:
        counts[row.verdict] = counts.get(row.verdict, 0) + 1
    return Report(
        id=status.id,
        goal=status.goal,
        strategy=status.strategy,
        direction=status.direction,
        state=status.state,
        outcome=status.outcome,
        reason=status.reason,
        detail=status.detail or (status.now if status.state == "waiting" else ""),
        agent=status.agent,
        models=sorted({run.model for run in _runs(rows) if run.model}),
        evaluator=str(spec.get("evaluator") or ""),
        check=spec.get("check") or None,
        steps=[str(step) for step in spec.get("steps") or []],
        directory=status.directory,
        started_at=status.started_at,
        ended_at=status.ended_at,
        elapsed_s=status.elapsed_s,
        limits=status.limits,
        iterations=len(experiments),
        counts=counts,
        baseline=baseline,
        best=best,
        change_percent=percent(best.score, baseline.score) if baseline and best and optimize else None,
        cost_usd=status.cost_usd,
        tokens=status.tokens,
        times=times(status, rows),
        by_agent=_spent(_runs(rows), lambda run: " ".join(filter(None, (run.name, run.model)))),
        by_step=_by_step(rows),
        by_verdict=_by_verdict(experiments),
        survived=_survived(rows, float(status.limits.get("cooldown_s") or 0.0)),
        stairs=stairs(rows) if optimize else [],
        kept=_kept(experiments, known, baseline, best) if optimize else [],
        near_misses=_near_misses(experiments, known) if optimize else [],
        tries=[] if optimize else _tries(experiments),
        warnings=status.warnings,
    )


def percent(value: float | None, against: float | None) -> float | None:
    """How far `value` is from `against`; None where that can't be said."""
    if value is None or against is None or against == 0:
        return None
    return _finite((value - against) / abs(against) * 100)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def to_beat(row: Row, known: dict[int, Row]) -> float | None:
    """The score this experiment started from."""
    parent = known.get(row.parent) if row.parent is not None else None
    return parent.score if parent is not None else None


def stairs(rows: Iterable[Row]) -> list[Stair]:
    """The score to beat as it went: the baseline's, then each kept one's."""
    found = ((row.iteration, row.score) for row in rows if row.verdict in ("baseline", "keep"))
    return [Stair(iteration=iteration, score=score) for iteration, score in found if score is not None]


def times(status: Status, rows: Sequence[Row]) -> Times:
    """Where a loop's time went."""
    agent = sum(row.agent.duration_s for row in rows if row.agent)
    evaluator = sum(row.evaluator.duration_s for row in rows if row.evaluator)
    within = sum(max(row.duration_s, _parts(row)) for row in rows)
    total = max(status.elapsed_s, within)
    left = total - within
    under_way = 0.0
    if status.state == "running" and status.started_at:
        last = next((end for row in reversed(rows) if (end := _end(row)) is not None), _unix(status.started_at))
        under_way = min(left, max(0.0, status.elapsed_s - (last - (_unix(status.started_at) or 0.0)))) if last else left
    found = {
        "agent_s": agent,
        "evaluator_s": evaluator,
        "rest_s": max(0.0, within - agent - evaluator),
        "waiting_s": max(0.0, left - under_way),
        "under_way_s": under_way,
        "total_s": total,
    }
    return Times(**{name: round(value, 3) for name, value in found.items()})


def _parts(row: Row) -> float:
    return (row.agent.duration_s if row.agent else 0.0) + (row.evaluator.duration_s if row.evaluator else 0.0)


def _unix(text: str | None) -> float | None:
    try:
        return datetime.fromisoformat(text or "").timestamp()
    except ValueError:
        return None


def _end(row: Row) -> float | None:
    start = _unix(row.started_at)
    return None if start is None else start + row.duration_s


def _runs(rows: Iterable[Row]) -> list[AgentRow]:
    """Every agent run: a pipeline's steps one by one."""
    return [run for row in rows if row.agent for run in (row.agent.steps or [row.agent])]


def _spent(runs: Iterable[AgentRow], name: Callable[[AgentRow], str]) -> list[Spent]:
    found: dict[str, Spent] = {}
    for run in runs:
        found.setdefault(name(run), Spent(name=name(run))).add(run)
    return sorted(found.values(), key=lambda spent: (-(spent.cost_usd or 0.0), -spent.duration_s))


def _by_step(rows: Iterable[Row]) -> list[Spent]:
    found: list[Spent] = []
    for row in rows:
        for place, run in enumerate((row.agent.steps or []) if row.agent else []):
            if place == len(found):
                found.append(Spent(name=f"step {place + 1}"))
            found[place].add(run)
    return found


def _by_verdict(rows: Iterable[Row]) -> list[Spent]:
    found: dict[str, Spent] = {}
    for row in rows:
        found.setdefault(row.verdict, Spent(name=row.verdict)).add(row.agent or AgentRow(name=""), row.duration_s)
    return sorted(found.values(), key=lambda spent: -spent.duration_s)


def is_edits(row: Row) -> bool:
    """Whether this row took in the user's own edits."""
    return row.agent is None and (row.summary.startswith(EDITS) or (row.reason or "").startswith(EDITS))


def _kept(rows: Iterable[Row], known: dict[int, Row], baseline: Mark | None, best: Mark | None) -> list[Kept]:
    first, last = (mark.score if mark else None for mark in (baseline, best))
    whole = last - first if first is not None and last is not None else 0.0
    found: list[Kept] = []
    for row in rows:
        if row.verdict != "keep":
            continue
        before = to_beat(row, known)
        step = row.score - before if row.score is not None and before is not None else None
        found.append(
            Kept(
                iteration=row.iteration,
                before=before,
                after=row.score,
                change_percent=percent(row.score, before),
                share_percent=_finite(step / whole * 100) if step is not None and whole else None,
                edits=is_edits(row),
                summary=row.summary or row.reason or "",
                snapshot=row.snapshot,
                cost_usd=row.agent.cost_usd if row.agent else None,
                duration_s=row.duration_s,
            )
        )
    return found


def _near_misses(rows: Iterable[Row], known: dict[int, Row]) -> list[NearMiss]:
    """Those discarded with a score nearest to the one to beat; not what changed nothing or was refused by a check."""
    found: list[tuple[float, NearMiss]] = []
    for row in rows:
        against = to_beat(row, known)
        if row.verdict != "discard" or row.score is None or against is None or row.reason == UNCHANGED:
            continue
        change = percent(row.score, against)
        if row.score != against and (change is None or abs(change) > _NEAR_PERCENT):
            continue
        miss = NearMiss(
            iteration=row.iteration,
            score=row.score,
            to_beat=against,
            change_percent=change,
            summary=row.summary or row.reason or "",
        )
        found.append((abs(change or 0.0), miss))
    return [miss for _, miss in sorted(found, key=lambda pair: (pair[0], pair[1].iteration))[:_NEAR]]


def _tries(rows: Iterable[Row]) -> list[Tries]:
    found: list[Tries] = []
    for row in rows:
        reason = row.reason or ""
        last = found[-1] if found else None
        if last and (last.verdict, last.reason) == (row.verdict, reason) and last.last == row.iteration - 1:
            last.last, last.summary = row.iteration, row.summary
            last.duration_s = round(last.duration_s + row.duration_s, 3)
        else:
            alike = {"verdict": row.verdict, "reason": reason, "summary": row.summary, "duration_s": row.duration_s}
            found.append(Tries(first=row.iteration, last=row.iteration, **alike))
    return found


def _survived(rows: Sequence[Row], cooldown_s: float) -> Survived:
    agents = [(row.iteration, row.agent) for row in rows if row.agent]
    waits: list[Wait] = []
    for before, after in pairwise(rows):
        end, start = _end(before), _unix(after.started_at)
        if end is not None and start is not None and start - end >= max(_LONG_WAIT_S, 2 * cooldown_s):
            waits.append(Wait(before=after.iteration, duration_s=round(start - end, 3)))
    return Survived(
        adopted=[number for number, agent in agents if agent.adopted],
        lost=sum(agent.lost for _, agent in agents),
        repaired=[row.iteration for row in rows if "put back: " in (row.reason or "")],
        crashes=sum(row.verdict == "crash" for row in rows),
        timeouts=sum(row.verdict == "timeout" for row in rows),
        evaluator_broken=[row.iteration for row in rows if (row.reason or "").startswith("not judged, the evaluator")],
        edits=[row.iteration for row in rows if is_edits(row)],
        waits=sorted(waits, key=lambda wait: -wait.duration_s)[:3],
    )
