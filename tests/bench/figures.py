"""How figures are taken and printed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence


def heading(text: str) -> None:
    print(f"\n{text}", flush=True)


def line(what: str, figure: str, note: str = "") -> None:
    print(f"  {what:<44}{figure:>12}  {note}".rstrip(), flush=True)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def timed(work: Callable[[], object], times: int) -> float:
    """Median seconds of `times` runs, after one that doesn't count."""
    work()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return median(taken)
