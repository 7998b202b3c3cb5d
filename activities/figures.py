"""Scores and durations as people read them, wherever they are told. Pure; standard library only."""

from __future__ import annotations

import math

_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}


def score(value: float | None) -> str:
    """`171,204`, `0.8731`, `1.2e-07`; `-` for none."""
    if value is None:
        return "-"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if 1e-4 <= abs(value) < 1e9:
        digits = max(0, 6 - max(1, math.floor(math.log10(abs(value))) + 1))
        text = f"{value:,.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.6g}"


def change(value: float | None, against: float | None) -> str:
    """How far `value` is from `against`, in percent: `-28.4%`. Empty where that can't be said."""
    if value is None or against is None or against == 0:
        return ""
    percent = (value - against) / abs(against) * 100
    if percent == 0:
        return "="
    return f"{percent:+.1f}%" if abs(percent) >= 0.05 else f"{percent:+.2g}%"


def in_words(seconds: float) -> str:
    """A duration as people say it, at most two units: `450ms`, `45s`, `2m 41s`, `5h 12m`, `3d 4h`."""
    if 0 < seconds < 1:
        return f"{max(1, round(seconds * 1000))}ms"
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f}s"
    left = round(seconds)
    parts: list[str] = []
    for unit, seconds_in in _UNITS.items():
        count, left = divmod(left, seconds_in)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
    return " ".join(part for part in parts[:2] if part) or "0s"


def number(value: float | None) -> str:
    """A score as people write it: 171204, 0.4213, never 171204.0."""
    if value is None:
        return "none"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
