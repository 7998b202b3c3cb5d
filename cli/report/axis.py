"""The score axis of the picture: where a score is drawn, so that no outlier flattens the rest. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from beatctl.cli import render

_LARGEST, _SMALLEST = 1e150, 1e-150
"""What is beyond these is drawn as if it were these, so that no sum or quotient overflows."""
_WIDE, _WIDEST = 30.0, 1e12
"""Between these ratios of the highest and the lowest score to beat, the axis is logarithmic."""
_ROOM = 1.5
"""How far scores beside the staircase may widen the axis, in heights of the staircase."""


@dataclass(frozen=True)
class Axis:
    """A stretch of scores; what lies outside is drawn at its edge."""

    low: float
    high: float
    logarithmic: bool = False

    def place(self, score: float) -> float:
        """From 0, the low end, to 1."""
        low, high, at = (self._scaled(value) for value in (self.low, self.high, self._nearest(score)))
        return min(1.0, max(0.0, (at - low) / (high - low)))

    def holds(self, score: float) -> bool:
        return self.low <= _bounded(score) <= self.high

    def _nearest(self, score: float) -> float:
        return min(max(_bounded(score), self.low), self.high)

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value


def axis_for(stairs: Sequence[float], scores: Sequence[float]) -> Axis | None:
    """An axis that shows every score that was the one to beat, and of all others what is near; None without any."""
    steps = [_bounded(value) for value in stairs]
    others = [_bounded(value) for value in scores]
    if not steps and not others:
        return None
    low, high = _fences(others or steps)
    if steps:
        height = max(steps) - min(steps)
        if min(steps) > 0 and _WIDE <= max(steps) / min(steps) <= _WIDEST:
            room = (max(steps) / min(steps)) ** 0.15
            return Axis(min(steps) / room, max(steps) * room, True)
        if height:
            low, high = max(low, min(steps) - _ROOM * height), min(high, max(steps) + _ROOM * height)
        low, high = min(low, *steps), max(high, *steps)
    margin = (high - low) * 0.06
    if margin < max(abs(low), abs(high)) * 1e-12 or margin == 0:  # one score, or all but one
        margin = max(abs(low), abs(high)) * 0.05 or 1.0
    return Axis(low - margin, high + margin)


def _bounded(value: float) -> float:
    return 0.0 if abs(value) < _SMALLEST else min(max(value, -_LARGEST), _LARGEST)


def _fences(scores: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest score that are no outliers, by Tukey's rule over the scores that differ."""
    distinct = sorted(set(scores))
    if len(distinct) < 4:
        middle = statistics.median_low(scores)
        spread = statistics.median([abs(value / 2 - middle / 2) for value in distinct]) * 2
        near = [value for value in distinct if abs(value / 2 - middle / 2) <= 2 * spread]
        return near[0], near[-1]
    first, _, third = statistics.quantiles(distinct, n=4)
    reach = 1.5 * (third - first)
    near = [value for value in distinct if first - reach <= value <= third + reach] or distinct
    return near[0], near[-1]


def ticks(axis: Axis, wanted: int = 5) -> list[tuple[float, str]]:
    """Round scores along the axis: where (0 to 1), and what to write there."""
    if axis.logarithmic:
        powers = range(math.ceil(math.log10(axis.low)), math.floor(math.log10(axis.high)) + 1)
        every = max(1, len(powers) // wanted)
        decades = [10.0**power for power in powers][::every]
        return [(axis.place(value), render.score(value)) for value in decades]
    step = _round_step((axis.high - axis.low) / wanted)
    first = math.ceil(axis.low / step)
    values = [step * number for number in range(first, first + wanted * 3) if step * number <= axis.high]
    return [(axis.place(value), _label(value, step)) for value in values]


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= step * 0.999)


def _label(value: float, step: float) -> str:
    if abs(value) < step / 2:
        return "0"
    digits = max(0, -math.floor(math.log10(step)))
    if digits > 6 or abs(value) >= 1e9:
        significant = max(1, math.floor(math.log10(abs(value))) - math.floor(math.log10(step)) + 1)
        return f"{value:.{min(17, significant)}g}"
    return f"{value:,.{digits}f}"
