"""What an agent is told: the goal, the standing, why the last try failed, and what was tried."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from beatctl.activities.ledger import Experiment
from beatctl.activities.prompt import LEDGER_BUDGET, OUTPUT_BUDGET, Standing, Task, compose, number

OPTIMIZE = Task(goal="make it small", strategy="optimize", evaluator="du -b x", direction="minimize", check="make ok")
RETRY = Task(goal="fix it", strategy="retry", evaluator="npm test")
STANDING = Standing(iteration=7, max_iterations=50, baseline=239107, best=171204.0, best_iteration=5)


def row(iteration: int, **more: object) -> Experiment:
    return Experiment.model_validate({"iteration": iteration, "verdict": "discard", **more})


def test_an_optimizing_agent_learns_goal_direction_and_the_score_to_beat() -> None:
    text = compose(OPTIMIZE, STANDING, [], "")
    for words in (
        "make it small",
        "`du -b x`",
        "lower is better",
        "171204 (experiment 5)",
        "239107",
        "7 of at most 50",
    ):
        assert words in text
    assert "`make ok` has to exit 0" in text


def test_the_next_try_sees_why_the_last_one_failed() -> None:
    assert "TypeError: x is not a function" in compose(RETRY, STANDING, [], "…\nTypeError: x is not a function\n")


def test_experiments_come_newest_first_with_their_verdict_so_that_none_is_repeated() -> None:
    rows = [row(6, summary="inline it", score=180000), row(5, verdict="keep", summary="drop moment", score=171204)]
    text = compose(OPTIMIZE, STANDING, rows, "")
    assert text.index("#6 discard 180000: inline it") < text.index("#5 keep 171204: drop moment")
    assert "don't repeat" in text


def test_memory_none_sends_the_goal_alone() -> None:
    bare = RETRY.model_copy(update={"memory": "none"})
    assert compose(bare, STANDING, [row(1)], "output") == "fix it"


def test_a_pipelines_step_carries_its_own_step_only() -> None:
    task = Task(goal="all", steps=["refactor", "run the tests"], strategy="retry", evaluator="npm test")
    second = compose(task, STANDING.model_copy(update={"step": 2}), [], "")
    assert second.startswith("run the tests")
    assert "refactor" not in second
    bare = task.model_copy(update={"memory": "none"})
    assert compose(bare, STANDING.model_copy(update={"step": 2}), [], "") == "run the tests"


@given(st.integers(0, 3000), st.text(max_size=400), st.text(max_size=3 * OUTPUT_BUDGET))
def test_however_long_the_night_the_prompt_keeps_its_budget(count: int, summary: str, output: str) -> None:
    rows = [row(n, summary=summary, reason=summary) for n in range(count, 0, -1)]
    text = compose(OPTIMIZE, STANDING, rows, output)
    assert len(text) <= LEDGER_BUDGET + OUTPUT_BUDGET + 2000


def test_scores_are_written_as_people_write_them() -> None:
    assert [number(v) for v in (171204.0, 0.25, -3.0, 1e300, None)] == ["171204", "0.25", "-3", "1e+300", "none"]
