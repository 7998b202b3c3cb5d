"""What an agent is told: the goal, the standing, why the last try failed, and what was tried."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatctl.activities.figures import number
from beatctl.activities.prompt import EXAMPLE, Standing, Task, check_template, compose
from beatctl.activities.prompt_memory import BUDGETS, DEFAULT_BUDGET
from beatctl.activities.prompt_template import VARIABLES, TemplateProblem
from beatctl.activities.records import Experiment
from beatctl.cli import start_options

OPTIMIZE = Task(goal="make it small", strategy="optimize", evaluator="du -b x", direction="minimize", check="make ok")
RETRY = Task(goal="fix it", strategy="retry", evaluator="npm test")
PIPELINE = Task(goal="all", steps=["refactor", "run the tests"], strategy="retry", evaluator="npm test")
STANDING = Standing(iteration=7, max_iterations=50, baseline=239107, best=171204.0, best_iteration=5)
RESUMED = STANDING.model_copy(update={"resumes": 6})


def row(iteration: int, **more: object) -> Experiment:
    return Experiment.model_validate({"iteration": iteration, "verdict": "discard", **more})


def a_night(count: int, *, kept: tuple[int, ...] = (), words: str = "tried something") -> list[Experiment]:
    """Newest first."""
    return [row(n, verdict="keep" if n in kept else "discard", summary=words) for n in range(count, 0, -1)]


def remembering(task: Task, memory: str, **more: object) -> Task:
    return task.model_copy(update={"memory": memory, **more})


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
    bare = remembering(RETRY, "none")
    assert compose(bare, STANDING, [row(1)], "output") == "fix it"
    assert compose(bare, STANDING, [row(1)], "output", ["try x"]).endswith("- try x\n")


def test_a_pipelines_step_carries_its_own_step_only() -> None:
    second = compose(PIPELINE, STANDING.model_copy(update={"step": 2}), [], "")
    assert second.startswith("run the tests")
    assert "refactor" not in second
    assert compose(remembering(PIPELINE, "none"), STANDING.model_copy(update={"step": 2}), [], "") == "run the tests"


def test_memory_last_tells_the_last_try_at_length_and_no_other() -> None:
    said = "I moved the icons into a sprite. " * 20
    rows = [row(6, summary=said, score=180000, reason="check: 2 tests fail"), row(5, summary="drop moment")]
    text = compose(remembering(OPTIMIZE, "last"), STANDING, rows, "180000 bytes")
    assert f"## The last try\n#6 discard 180000 (check: 2 tests fail): {said.strip()}" in text
    assert "180000 bytes" in text
    assert "drop moment" not in text
    assert "left out" not in text


def test_a_session_that_goes_on_is_told_what_is_new_since_and_nothing_twice() -> None:
    rows = [row(6, summary="inline it", score=180000), row(5, verdict="keep", summary="drop moment", score=171204)]
    standing = RESUMED.model_copy(update={"notes_told": 1})
    text = compose(remembering(OPTIMIZE, "session"), standing, rows, "180000 bytes", ["old note", "new note"])
    for words in (
        "iteration 7 of at most 50",
        "session of iteration 6",
        "#6 discard 180000",
        "180000 bytes",
        "new note",
    ):
        assert words in text
    assert "put back to the best" in text
    for words in ("make it small", "#5 keep", "old note", "have been cleared", "taken back"):
        assert words not in text


def test_a_session_learns_of_what_another_agent_tried_meanwhile_and_of_notes_taken_back() -> None:
    rows = [row(6, summary="by the fallback"), row(5, summary="by the fallback, too"), row(4, summary="its own")]
    standing = RESUMED.model_copy(update={"resumes": 4, "notes_taken_back": True})
    text = compose(remembering(RETRY, "session"), standing, rows, "")
    assert "#6 discard: by the fallback\n#5 discard: by the fallback, too\n#4 discard: its own" in text
    assert "left out" not in text
    assert "#4 was your last in this session" in text
    assert "taken back the earlier notes" in text


def test_without_a_session_to_go_on_with_the_whole_ledger_is_told() -> None:
    rows = a_night(6)
    assert compose(remembering(OPTIMIZE, "session"), STANDING, rows, "x") == compose(OPTIMIZE, STANDING, rows, "x")


def test_a_change_that_was_tried_before_is_named() -> None:
    rows = [
        row(57, repeat_of=41, parent=5, reason="check: red"),
        row(56, repeat_of=0, parent=5),
        row(55, repeat_of=5, parent=5, reason="changed nothing"),
    ]
    text = compose(OPTIMIZE, STANDING, rows, "")
    assert "#57 discard (the same change as #41; check: red)\n" in text
    assert "#56 discard (the same files as the baseline)\n" in text
    assert "#55 discard (changed nothing)\n" in text


def test_when_space_is_short_kept_experiments_are_told_before_discarded_ones_and_how_many_are_left_out() -> None:
    task = OPTIMIZE.model_copy(update={"memory_budget": 500})
    text = compose(task, STANDING, a_night(300, kept=(2, 9, 200)), "")
    for number_of in (300, 200, 9, 2, 299):
        assert f"#{number_of} " in text
    told = text.count("tried something")
    assert 10 < told < 100
    assert f"… and {300 - told} others left out." in text
    alike = compose(task, STANDING, a_night(300), "")
    assert f"… and {300 - alike.count('tried something')} older ones." in alike


@given(
    st.sampled_from(["last", "ledger", "session", "resumed"]),
    st.sampled_from([BUDGETS[0], 1000, DEFAULT_BUDGET]),
    st.integers(0, 700),
    st.text(max_size=400),
    st.text(max_size=20_000),
    st.lists(st.text(min_size=1, max_size=3000), max_size=20),
)
def test_however_long_the_night_the_prompt_keeps_its_budget(
    memory: str, budget: int, count: int, words: str, output: str, notes: list[str]
) -> None:
    rows = [row(n, summary=words, reason=words, verdict="keep" if n % 9 else "discard") for n in range(count, 0, -1)]
    standing = STANDING.model_copy(update={"resumes": 1}) if memory == "resumed" else STANDING
    task = remembering(OPTIMIZE, "session" if memory == "resumed" else memory, memory_budget=budget)
    bare = compose(task, standing, [], "")
    assert len(compose(task, standing, rows, output, notes)) - len(bare) <= 4 * budget


@pytest.mark.parametrize(
    ("template", "line", "words"),
    [
        ("{{ goal }\n", 1, "unexpected '}'"),
        ("{{ goal }}\n{% if last %}\n{{ score }}{% endif %}\n", 3, "there is no variable score"),
        ("{{ goal }}\n\n{{ last.verdicts }}\n", 3, "no attribute 'verdicts'"),
        ("{{ last.verdict }}\n", 1, "'None' has no attribute 'verdict'"),
        ("x\n{{ 1 / 0 }}", 2, "division by zero"),
        ("{{ goal.__class__.__mro__ }}", 1, "unsafe"),
        ("{% include 'x' %}", 1, "no loader"),
        ("{# nothing #}\n", 1, "comes to nothing"),
        ("{% if last %}x{% endif %}", 1, "comes to nothing"),
    ],
)
def test_a_template_that_can_not_be_used_is_refused_with_line_and_words(template: str, line: int, words: str) -> None:
    with pytest.raises(TemplateProblem) as refused:
        check_template(OPTIMIZE.model_copy(update={"template": template}))
    assert refused.value.line == line
    assert words in refused.value.words


def test_a_template_replaces_the_whole_prompt() -> None:
    template = (
        "{{ work }} ({{ iteration }}/{{ max_iterations }}, {{ direction }}, {{ best }})\n"
        "{% for e in experiments if e.score is not none %}\n{{ e.iteration }}={{ e.score }}\n{% endfor %}"
    )
    task, standing, rows, output, notes = EXAMPLE
    text = compose(task.model_copy(update={"template": template}), standing, rows, output, notes)
    assert text == "reduce bundle size of the dashboard module (4/50, minimize, 204880)\n3=206112\n2=204880\n"
    kept = compose(task.model_copy(update={"template": "{{ default }}"}), standing, rows, output, notes)
    assert kept == compose(task, standing, rows, output, notes)
    every = "".join(f"{{{{ {name} }}}}" for name in VARIABLES)
    check_template(task.model_copy(update={"template": every}))


def test_start_knows_the_budgets_without_importing_them() -> None:
    assert (start_options.DEFAULT_MEMORY_BUDGET, start_options.MEMORY_BUDGETS) == (DEFAULT_BUDGET, BUDGETS)


def test_scores_are_written_as_people_write_them() -> None:
    assert [number(v) for v in (171204.0, 0.25, -3.0, 1e300, None)] == ["171204", "0.25", "-3", "1e+300", "none"]
