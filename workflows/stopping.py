"""When a loop ends, and as what: pure functions of counters, limits and the time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from beatctl.activities.records import Outcome
from beatctl.workflows.spec import Direction, Limits
from beatctl.workflows.verdict import better, meets

Strategy = Literal["retry", "optimize"]
Reason = Literal[
    "passed",
    "target",
    "max-iterations",
    "max-failures",
    "plateau",
    "max-duration",
    "max-cost",
    "max-tokens",
    "stopped",
    "cancelled",
    "no-baseline",
    "error",
]


@dataclass(frozen=True)
class Progress:
    """What the decision to go on rests on."""

    strategy: Strategy
    direction: Direction | None
    iterations: int
    """Agent iterations done; rows for the user's own edits don't count."""
    failures: int
    since_keep: int
    passed: bool
    baseline: float | None
    best: float | None
    elapsed_s: float
    cost_usd: float = 0.0
    tokens: int = 0


def reason_to_end(progress: Progress, limits: Limits) -> Reason | None:
    """The first reason to start nothing more, or None. Success comes before any limit."""
    if progress.passed:
        return "passed"
    if (
        limits.target is not None
        and progress.direction is not None
        and progress.best is not None
        and meets(progress.best, limits.target, progress.direction)
    ):
        return "target"
    if limits.max_failures and progress.failures >= limits.max_failures:
        return "max-failures"
    if limits.max_iterations and progress.iterations >= limits.max_iterations:
        return "max-iterations"
    if limits.plateau and progress.strategy == "optimize" and progress.since_keep >= limits.plateau:
        return "plateau"
    return spent(progress, limits)


def spent(progress: Progress, limits: Limits) -> Reason | None:
    """Which of time, money and tokens is used up, if any: then not even a pipeline's next step is begun."""
    if limits.for_s and progress.elapsed_s >= limits.for_s:
        return "max-duration"
    if limits.max_cost_usd and progress.cost_usd >= limits.max_cost_usd:
        return "max-cost"
    if limits.max_tokens and progress.tokens >= limits.max_tokens:
        return "max-tokens"
    return None


def outcome_of(reason: Reason, progress: Progress) -> Outcome:
    """What a loop that ended for this reason has come to."""
    if reason == "cancelled":
        return "cancelled"
    if reason in ("passed", "target"):
        return "reached"
    if reason == "no-baseline" or progress.strategy == "retry":
        return "failed"
    if (
        progress.direction is not None
        and progress.best is not None
        and progress.baseline is not None
        and better(progress.best, progress.baseline, progress.direction)
    ):
        return "improved"
    return "failed" if reason in ("max-failures", "error") else "unchanged"


def cooldown_s(limits: Limits, elapsed_s: float) -> float:
    """Seconds to wait before the next iteration, never beyond the end of `--for`."""
    if limits.for_s:
        return min(limits.cooldown_s, max(0.0, limits.for_s - elapsed_s))
    return limits.cooldown_s
