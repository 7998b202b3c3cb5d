"""The picture of a loop: every experiment as a point over its iteration, and the staircase of the best. Pure.

Places are percent of the picture's width from the left and of its height from the top, so that one drawing fits a
phone and a desk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from beatctl.activities.records import Row
from beatctl.cli.report.axis import Axis, axis_for, ticks
from beatctl.cli.report.model import Report
from beatctl.cli.units import in_words

_MOST_POINTS = 1500
_LANE = 94.0
"""Where points without a score are drawn, below the others."""
_FLOOR = 88.0
"""Where the scores' own part ends when there is such a lane."""


class Point(NamedTuple):
    iteration: int
    x: float
    y: float
    kind: str
    """The verdict; `above` or `below` for a score beyond the picture's edge."""


class Tick(NamedTuple):
    at: float
    text: str


class Picture(NamedTuple):
    points: list[Point]
    path: str
    """The staircase, as an SVG path in a box of 100 by 100; empty without one."""
    y_ticks: list[Tick]
    x_ticks: list[Tick]
    baseline_y: float | None
    best: Tick | None
    lane_y: float | None
    title: str
    left_out: int
    """Points that were thinned out."""
    beyond: int
    """Scores drawn at the edge."""


def drawn(report: Report, rows: Sequence[Row]) -> Picture:
    """The picture. An optimize loop's points are scores; a retry loop's are how long each try took."""
    values = _values(report, rows)
    seconds = report.strategy == "retry"
    stairs = [stair.score for stair in report.stairs]
    scored = [value for value in values.values() if value is not None]
    axis = axis_for([0.0] if seconds and scored else stairs, scored)
    last = max((row.iteration for row in rows), default=0)
    lane = any(value is None for value in values.values()) or axis is None
    floor = _FLOOR if lane else 100.0
    points = [_point(row, values[row.iteration], axis, last, floor) for row in rows if row.iteration in values]
    chosen = thinned(points)
    labels = [] if axis is None else ticks(axis)
    named = [
        Tick(_y(place, floor), in_words(float(text.replace(",", ""))) if seconds else text) for place, text in labels
    ]
    end = report.stairs[-1] if report.stairs and axis else None
    return Picture(
        points=chosen,
        path=_path(report, axis, last, floor) if axis and report.stairs else "",
        y_ticks=[tick for tick in named if not tick.text.startswith("-") or not seconds],
        x_ticks=_x_ticks(last),
        baseline_y=_y(axis.place(stairs[0]), floor) if axis and stairs else None,
        best=Tick(_y(axis.place(end.score), floor), f"#{end.iteration}") if axis and end else None,
        lane_y=_LANE if lane else None,
        title="How long each try took" if seconds else "Score of each experiment",
        left_out=len(points) - len(chosen),
        beyond=sum(point.kind in ("above", "below") for point in points),
    )


def _values(report: Report, rows: Sequence[Row]) -> dict[int, float | None]:
    if report.strategy == "retry":
        return {row.iteration: row.duration_s for row in rows if row.verdict != "baseline"}
    return {row.iteration: row.score for row in rows}


def _point(row: Row, value: float | None, axis: Axis | None, last: int, floor: float) -> Point:
    x = _x(row.iteration, last)
    if value is None or axis is None:
        return Point(row.iteration, x, _LANE, row.verdict)
    kind: str = row.verdict
    if not axis.holds(value):
        kind = "above" if value > axis.high else "below"
    return Point(row.iteration, x, _y(axis.place(value), floor), kind)


def _x(iteration: int, last: int) -> float:
    return round(iteration / last * 100, 2) if last else 0.0


def _y(place: float, floor: float) -> float:
    return round((1 - place) * floor, 2)


def _path(report: Report, axis: Axis, last: int, floor: float) -> str:
    parts: list[str] = []
    for stair in report.stairs:
        x, y = _x(stair.iteration, last), _y(axis.place(stair.score), floor)
        parts.append(f"H{x:g}V{y:g}" if parts else f"M{x:g} {y:g}")
    return "".join([*parts, "H100"])


def _x_ticks(last: int) -> list[Tick]:
    if last == 0:
        return [Tick(0.0, "0")]
    step = next(step for power in range(12) for step in (10**power, 2 * 10**power, 5 * 10**power) if last / step <= 7)
    numbers = [number for number in range(0, last + 1, step) if last - number >= step * 0.4 or number == last]
    return [Tick(_x(number, last), f"{number:,}") for number in dict.fromkeys([*numbers, last])]


def thinned(points: Sequence[Point], most: int = _MOST_POINTS) -> list[Point]:
    """At most about `most` points: all that were kept or passed; of the others in each stretch the outermost."""
    if len(points) <= most:
        return list(points)
    chosen = {point.iteration: point for point in points if point.kind in ("baseline", "keep", "pass")}
    stretch = 100.0 / (most / 4)
    spans: dict[tuple[int, str], list[Point]] = {}
    for point in points:
        spans.setdefault((int(point.x / stretch), point.kind), []).append(point)
    for span in spans.values():
        for point in (min(span, key=lambda p: p.y), max(span, key=lambda p: p.y), span[len(span) // 2]):
            chosen[point.iteration] = point
    return [chosen[number] for number in sorted(chosen)]
