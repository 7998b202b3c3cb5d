"""Verdicts: what is kept, what is discarded, what counts as a failure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatctl.activities.run_agent import AgentResult
from beatctl.activities.run_evaluator import EvaluatorResult
from beatctl.workflows.spec import Direction
from beatctl.workflows.verdict import (
    better,
    judge_agent,
    judge_check,
    judge_optimize,
    judge_retry,
    judge_unscored,
    meets,
    score_of,
)

scores = st.floats(allow_nan=False, allow_infinity=False)
directions: st.SearchStrategy[Direction] = st.sampled_from(["minimize", "maximize"])


def ran(exit_code: int | None = 0, **more: Any) -> EvaluatorResult:
    return EvaluatorResult(**{"ended_by": "exit", "exit_code": exit_code, **more})


@given(scores, scores, directions)
def test_the_best_never_gets_worse(score: float, best: float, direction: Direction) -> None:
    judged = judge_optimize(score, best, direction, changed=True)
    kept = score if judged.verdict == "keep" else best
    assert kept <= best if direction == "minimize" else kept >= best
    assert judged.failure is False


@given(scores, scores, directions)
def test_of_two_scores_one_at_most_is_better(a: float, b: float, direction: Direction) -> None:
    assert not (better(a, b, direction) and better(b, a, direction))
    assert better(a, b, direction) or better(b, a, direction) or a == b


@given(scores, directions)
def test_an_equal_score_is_discarded_but_meets_a_target(score: float, direction: Direction) -> None:
    assert judge_optimize(score, score, direction, changed=True).verdict == "discard"
    assert meets(score, score, direction)


@given(scores, scores, directions)
def test_a_lucky_measurement_of_unchanged_files_is_never_kept(score: float, best: float, direction: Direction) -> None:
    assert judge_optimize(score, best, direction, changed=False).verdict == "discard"


def test_retry_passes_only_after_all_passes_in_a_row() -> None:
    assert judge_retry([ran(0)], 2) is None
    passed = judge_retry([ran(0), ran(0)], 2)
    assert passed is not None
    assert passed.verdict == "pass"
    failed = judge_retry([ran(0), ran(1, line="1 failed")], 3)
    assert failed is not None
    assert (failed.verdict, failed.reason) == ("fail", 'pass 2 of 3: exit code 1: "1 failed"')


@pytest.mark.parametrize(
    ("result", "verdict", "failure"),
    [
        (ran(1), "fail", False),
        (ran(125), "fail", False),
        (ran(126), "crash", True),
        (ran(127), "crash", True),
        (ran(None, signal=11), "crash", True),
        (ran(None, ended_by="timeout", timeout_s=60, signal=9), "timeout", False),
        (ran(None, ended_by="output-limit", signal=9), "crash", True),
    ],
)
def test_an_evaluator_that_cannot_run_is_told_from_a_red_test(
    result: EvaluatorResult, verdict: str, failure: bool
) -> None:
    judged = judge_retry([result], 1)
    assert judged is not None
    assert (judged.verdict, judged.failure) == (verdict, failure)
    assert judged.reason


def test_a_crashed_agents_work_is_not_evaluated_and_counts_as_a_failure() -> None:
    assert judge_agent(AgentResult(status="done", exit_code=0)) is None
    crashed = judge_agent(AgentResult(status="failed", exit_code=7, error="exit code 7"))
    assert crashed is not None
    assert (crashed.verdict, crashed.failure, crashed.reason) == ("crash", True, "exit code 7")
    timed_out = judge_agent(AgentResult(status="timeout"))
    assert timed_out is not None
    assert (timed_out.verdict, timed_out.failure) == ("timeout", True)


def test_a_check_that_fails_discards_without_counting_as_a_failure() -> None:
    assert judge_check(ran(0), "optimize") is None
    refused = judge_check(ran(2, line="3 tests failed"), "optimize")
    assert refused is not None
    assert (refused.verdict, refused.failure, refused.reason) == (
        "discard",
        False,
        'check: exit code 2: "3 tests failed"',
    )
    hung = judge_check(ran(None, ended_by="timeout", timeout_s=5), "retry")
    assert hung is not None
    assert (hung.verdict, hung.reason) == ("fail", "check: timed out after 5 s")


def test_a_candidate_that_hangs_its_evaluator_is_a_timeout_and_one_that_breaks_it_a_crash() -> None:
    assert judge_unscored(ran(None, ended_by="timeout")).verdict == "timeout"
    assert judge_unscored(ran(1)).verdict == "crash"


@given(st.lists(scores, min_size=1, max_size=9))
def test_a_score_of_several_samples_is_their_median_and_needs_all_of_them(values: list[float]) -> None:
    runs = [ran(0, score=value) for value in values]
    score = score_of(runs, len(values))
    assert score is not None
    assert min(values) <= score <= max(values)
    assert score_of([*runs[:-1], ran(1)], len(values)) is None
    assert score_of(runs, len(values) + 1) is None
