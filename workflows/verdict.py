"""What an experiment was worth: pure functions from what ran to a verdict.

A verdict is a function of samples, so that one candidate can be measured more than once.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from beatctl.activities.records import Verdict
from beatctl.activities.run_agent import AgentResult
from beatctl.activities.run_evaluator import EvaluatorResult
from beatctl.workflows.spec import Direction


@dataclass(frozen=True)
class Judgement:
    """A verdict and what follows from it."""

    verdict: Verdict
    reason: str | None = None
    score: float | None = None
    failure: bool = False
    """Counts towards `--max-failures`."""
    edited: bool = False
    """The user has edited the files since, and the loop goes on from those."""


def better(score: float, best: float, direction: Direction) -> bool:
    """Whether a score beats another. Equal is not better."""
    return score < best if direction == "minimize" else score > best


def meets(score: float, target: float, direction: Direction) -> bool:
    """Whether a score has reached a target. Equal is reached."""
    return score == target or better(score, target, direction)


def judge_agent(result: AgentResult) -> Judgement | None:
    """A verdict where the agent could not do its work, and so nothing is evaluated; else None."""
    if result.status == "done":
        return None
    verdict: Verdict = "timeout" if result.status == "timeout" else "crash"
    return Judgement(verdict, result.error or f"the agent ended with exit code {result.exit_code}", failure=True)


def judge_check(result: EvaluatorResult, strategy: Literal["retry", "optimize"]) -> Judgement | None:
    """A verdict where the check refuses the candidate; else None."""
    if result.ended_by == "exit" and result.exit_code == 0:
        return None
    return Judgement("fail" if strategy == "retry" else "discard", f"check: {result.words()}")


def evaluator_crashed(result: EvaluatorResult) -> bool:
    """Retry: whether the evaluator itself could not run (126, 127, a signal), rather than found a failure."""
    if result.ended_by in ("output-limit", "not-started"):
        return True
    return result.signal is not None or result.exit_code in (126, 127)


def judge_retry(runs: Sequence[EvaluatorResult], wanted: int) -> Judgement | None:
    """Retry's verdict after some evaluator runs in a row; None where more passes are still wanted.

    The first run that does not pass decides.
    """
    for number, run in enumerate(runs, 1):
        if run.ended_by == "timeout":
            return Judgement("timeout", run.words())
        if evaluator_crashed(run):
            return Judgement("crash", run.words(), failure=True)
        if run.exit_code != 0:
            passed = f"pass {number} of {wanted}: " if wanted > 1 else ""
            return Judgement("fail", passed + run.words())
    return Judgement("pass") if len(runs) >= wanted else None


def score_of(runs: Sequence[EvaluatorResult], wanted: int) -> float | None:
    """A candidate's score: the median of its samples; None where a sample is missing or got no score."""
    scores = [run.score for run in runs if run.score is not None]
    if len(scores) < wanted:
        return None
    median = statistics.median(scores)
    # The sum of two huge ones has no place in a float.
    return median if math.isfinite(median) else statistics.median(score / 2 for score in scores) * 2


def judge_optimize(score: float, best: float, direction: Direction, *, changed: bool) -> Judgement:
    """Keep or discard. What changed nothing is never kept, however lucky its measurement."""
    if not changed:
        return Judgement("discard", "changed nothing", score)
    if better(score, best, direction):
        return Judgement("keep", None, score)
    return Judgement("discard", "equal score" if score == best else None, score)


def judge_unscored(run: EvaluatorResult) -> Judgement:
    """A candidate that broke its own evaluation, since the best still scores."""
    return Judgement("timeout" if run.ended_by == "timeout" else "crash", run.words())
