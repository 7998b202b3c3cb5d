"""A course of numbers as one line of small bars. Pure."""

from __future__ import annotations

from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.-=+*#@"


def sparkline(values: Sequence[float], columns: int, *, bars: str = BARS) -> str:
    """A bar for each value, the highest bar for the largest; with more values than `columns`, for every so many the
    last one. Empty where there is no course to see yet."""
    if len(values) < 2 or columns < 2:
        return ""
    if len(values) > columns:
        values = [values[(position + 1) * len(values) // columns - 1] for position in range(columns)]
    low, high = min(values), max(values)
    if low == high:
        return bars[0] * len(values)
    top = len(bars) - 1
    # Divided first: the span of two large numbers may be more than a float holds.
    scale = high / 2 - low / 2
    return "".join(bars[round((value / 2 - low / 2) / scale * top)] for value in values)
