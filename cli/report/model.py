"""A loop's report as facts: pure, from its status, its specification and its rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import BaseModel

from beatctl.activities.records import Mark, Note, Outcome, Row, State, Status
from beatctl.cli import render
from beatctl.cli.lineage import is_edits
from beatctl.cli.report.course import Survived, Times, survived, times
from beatctl.cli.report.spending import Spent, by_agent, by_step, by_verdict, runs_of

UNCHANGED = "changed nothing"
_NEAR, _NEAR_PERCENT = 3, 5.0


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


class Repeat(BaseModel):
    """An experiment that came to the files of an earlier one."""

    iteration: int
    of: int
    """0: the baseline."""


class Tries(BaseModel):
    """Tries of a retry loop in a row that ended alike."""

    first: int
    last: int
    verdict: str
    reason: str
    summary: str
    """What the agent said in the last of them."""
    duration_s: float


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
    worktree: str
    origin: str | None
    """Where the loop has a worktree of its own: the folder that was made from."""
    branch: str | None
    """The branch `apply` commits to unless told otherwise."""
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
    cost_estimated: bool
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
    repeats: list[Repeat] = []
    tries: list[Tries]
    notes: list[Note]
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
        models=sorted({run.model for run in runs_of(rows) if run.model}),
        evaluator=str(spec.get("evaluator") or ""),
        check=spec.get("check") or None,
        steps=[str(step) for step in spec.get("steps") or []],
        directory=status.directory,
        worktree=status.worktree,
        origin=status.origin,
        branch=status.branch,
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
        cost_estimated=status.cost_estimated,
        tokens=status.tokens,
        times=times(status, rows),
        by_agent=by_agent(rows),
        by_step=by_step(rows),
        by_verdict=by_verdict(experiments),
        survived=survived(status, rows),
        stairs=stairs(rows) if optimize else [],
        kept=_kept(experiments, known, baseline, best) if optimize else [],
        near_misses=_near_misses(experiments, known) if optimize else [],
        repeats=[
            Repeat(iteration=row.iteration, of=row.repeat_of)
            for row in experiments
            if row.repeat_of is not None and render.repeat_words(row)
        ],
        tries=[] if optimize else _tries(experiments),
        notes=status.notes,
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
        if row.verdict != "discard" or row.score is None or against is None or (row.reason or "").startswith(UNCHANGED):
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
