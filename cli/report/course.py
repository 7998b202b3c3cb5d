"""How a loop's time went, and what went wrong on the way without ending it. Pure, from its status and rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from pydantic import BaseModel

from beatctl.activities.records import Row, Status
from beatctl.cli.lineage import is_edits

_LONG_WAIT_S = 60.0
_PAUSES = 10


class Times(BaseModel):
    """Seconds by what they went into; together `total_s`."""

    agent_s: float = 0.0
    evaluator_s: float = 0.0
    rest_s: float = 0.0
    """Within iterations: checks, snapshots, restores, a pause in the middle of one."""
    waiting_s: float = 0.0
    """Between iterations: cooldown, pauses, turns, a machine that was off."""
    limits_s: float = 0.0
    """For the reset of agents' limits."""
    under_way_s: float = 0.0
    """Of a loop that runs: the iteration that has no row yet."""
    total_s: float = 0.0


class Wait(BaseModel):
    """A long time in which no iteration ran."""

    before: int
    """The iteration that came after it."""
    duration_s: float


class Paused(BaseModel):
    """A pause that is over."""

    reason: str
    after: int
    """The latest iteration then."""
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
    limits: dict[str, float] = {}
    """Seconds of waiting for each agent's limits, where there were any."""
    met: dict[str, int] = {}
    """How often each agent met one."""
    pauses: list[Paused] = []
    """The newest ten."""
    waits: list[Wait] = []
    """The longest three of a minute and more, and longer than the cooldown."""


def times(status: Status, rows: Sequence[Row]) -> Times:
    """Where a loop's time went."""
    agent = sum(row.agent.duration_s for row in rows if row.agent)
    evaluator = sum(row.evaluator.duration_s for row in rows if row.evaluator)
    within = sum(max(row.duration_s, _parts(row)) for row in rows)
    total = max(status.elapsed_s, within)
    left = total - within
    limits = sum(wait.waited_s for row in rows for wait in row.waits)
    under_way = 0.0
    if status.state == "running" and status.started_at:
        last = next((end for row in reversed(rows) if (end := _end(row)) is not None), _unix(status.started_at))
        taken = last - (_unix(status.started_at) or 0.0) - status.idle_s if last else 0.0
        under_way = min(left, max(0.0, status.elapsed_s - taken))
    found = {
        "agent_s": agent,
        "evaluator_s": evaluator,
        "rest_s": max(0.0, within - agent - evaluator),
        "waiting_s": max(0.0, left - under_way - limits),
        "limits_s": min(limits, left - under_way),
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


def survived(status: Status, rows: Sequence[Row]) -> Survived:
    """What went wrong on the way, or stopped it."""
    cooldown_s = float(status.limits.get("cooldown_s") or 0.0)
    agents = [(row.iteration, row.agent) for row in rows if row.agent]
    least = max(_LONG_WAIT_S, 2 * cooldown_s)
    pauses = _pauses(status)
    gaps = _without_idle(_gaps(rows), status.idle_s)
    waits = [gap for gap in gaps if gap.duration_s - _paused_before(gap.before, pauses) >= least]
    limits: dict[str, float] = {}
    met: dict[str, int] = {}
    for wait in (wait for row in rows for wait in row.waits):
        limits[wait.agent] = limits.get(wait.agent, 0.0) + wait.waited_s
        met[wait.agent] = met.get(wait.agent, 0) + 1
    return Survived(
        adopted=[number for number, agent in agents if agent.adopted],
        lost=sum(agent.lost for _, agent in agents),
        repaired=[row.iteration for row in rows if "put back: " in (row.reason or "")],
        crashes=sum(row.verdict == "crash" for row in rows),
        timeouts=sum(row.verdict == "timeout" for row in rows),
        evaluator_broken=[row.iteration for row in rows if (row.reason or "").startswith("not judged, the evaluator")],
        edits=[row.iteration for row in rows if is_edits(row)],
        limits=limits,
        met=met,
        pauses=pauses[-_PAUSES:],
        waits=sorted(waits, key=lambda wait: -wait.duration_s)[:3],
    )


def _paused_before(iteration: int, pauses: Sequence[Paused]) -> float:
    return sum(pause.duration_s for pause in pauses if pause.after + 1 == iteration)


def _pauses(status: Status) -> list[Paused]:
    found = []
    for pause in status.pauses:
        since, until = _unix(pause.since), _unix(pause.until or "")
        if since is not None and until is not None:
            seconds = round(max(0.0, until - since), 3)
            found.append(Paused(reason=pause.reason, after=pause.after, duration_s=seconds))
    return found


def _gaps(rows: Sequence[Row]) -> list[Wait]:
    """The time before each row in which none ran, and which was no wait for a limit."""
    found = []
    for before, after in pairwise(rows):
        end, start = _end(before), _unix(after.started_at)
        if end is not None and start is not None:
            limits = sum(wait.waited_s for wait in after.waits)
            found.append(Wait(before=after.iteration, duration_s=round(max(0.0, start - end - limits), 3)))
    return found


def _without_idle(gaps: list[Wait], idle_s: float) -> list[Wait]:
    """The gaps less the time between an end and going on, which was no wait: taken from the gap it fits into best."""
    fitting = [gap for gap in gaps if gap.duration_s >= idle_s]
    if not idle_s or not fitting:
        return gaps
    best = min(fitting, key=lambda gap: gap.duration_s)
    less = Wait(before=best.before, duration_s=round(best.duration_s - idle_s, 3))
    return [less if gap is best else gap for gap in gaps]
