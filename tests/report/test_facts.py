"""What a report says of a loop: facts from rows, words, table."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from beatctl.activities.records import AgentRow, EvaluatorRow, Mark, Note, pauses_over, timestamp, with_pause
from beatctl.cli.report import sentences, tsv
from beatctl.cli.report.axis import axis_for, ticks
from beatctl.cli.report.model import made
from beatctl.cli.report.terminal import lines
from tests.report.ledgers import STARTED, Made, noisy, optimized, pipeline, retried, row

finite = st.floats(allow_nan=False, allow_infinity=False)


def report_of(loop: Made) -> Any:
    return made(loop.status, loop.spec, loop.rows)


def text_of(loop: Made, columns: int = 100) -> str:
    return "\n".join(lines(report_of(loop), columns=columns))


def test_each_kept_experiment_is_told_with_what_it_brought() -> None:
    loop = optimized(
        [
            row(0, "baseline", 100.0),
            row(1, "keep", 90.0, parent=0, summary="lazy icons"),
            row(2, "discard", 91.0, parent=1, summary="nearly"),
            row(3, "discard", 90.0, parent=1, reason="changed nothing"),
            row(4, "keep", 60.0, parent=1, summary="no moment"),
        ]
    )
    found = report_of(loop)
    assert [(kept.iteration, kept.before, kept.after) for kept in found.kept] == [(1, 100.0, 90.0), (4, 90.0, 60.0)]
    assert [kept.share_percent for kept in found.kept] == [25.0, 75.0]
    assert found.change_percent == -40.0
    assert [miss.iteration for miss in found.near_misses] == [2]
    text = text_of(loop)
    assert "100 → 60  -40.0%  in #4" in text
    assert "#4     90 → 60   -33.3%    75%  no moment" in text


@given(st.lists(st.tuples(st.booleans(), st.floats(1, 1e6)), max_size=30))
def test_shares_of_the_gain_add_up_and_the_staircase_ends_at_the_best(steps: list[tuple[bool, float]]) -> None:
    best, parent, rows = 1e6, 0, [row(0, "baseline", 1e6)]
    for number, (crashed, score) in enumerate(steps, 1):
        if crashed:
            rows.append(row(number, "crash", parent=parent))
        elif score < best:
            rows.append(row(number, "keep", score, parent=parent))
            best, parent = score, number
        else:
            rows.append(row(number, "discard", score, parent=parent))
    found = report_of(optimized(rows))
    assert found.stairs[-1].score == best
    assert sum(found.counts.values()) == len(steps)
    if found.kept:
        assert math.isclose(sum(kept.share_percent for kept in found.kept), 100.0)
    assert len(tsv.lines(rows)) == len(rows) + 1


def test_the_users_edits_are_not_taken_for_an_agents_work() -> None:
    rows = [
        row(0, "baseline", 100.0),
        row(1, "keep", 80.0, parent=0, agent=AgentRow(name="claude")),
        row(2, "keep", 90.0, parent=1, summary="your edits: src/app.ts", reason="your edits"),
        row(3, "keep", 70.0, parent=2, agent=AgentRow(name="claude")),
    ]
    found = report_of(optimized(rows))
    assert [kept.edits for kept in found.kept] == [False, True, False]
    assert found.survived.edits == [2]
    assert [stair.score for stair in found.stairs] == [100.0, 80.0, 90.0, 70.0]
    assert "as 2 commits of your own" in sentences._applied(found)


def test_time_is_told_by_what_it_went_into() -> None:
    agent, evaluator = AgentRow(name="claude", duration_s=30.0), EvaluatorRow(duration_s=10.0)
    rows = [
        row(0, "baseline", 5.0, duration_s=10.0, evaluator=evaluator, started_at=timestamp(STARTED)),
        row(1, "keep", 4.0, parent=0, agent=agent, evaluator=evaluator, started_at=timestamp(STARTED + 12)),
        row(2, "crash", parent=1, agent=agent, started_at=timestamp(STARTED + 4000)),
    ]
    ended = report_of(optimized(rows, elapsed_s=4060.0)).times
    assert (ended.agent_s, ended.evaluator_s, ended.rest_s, ended.waiting_s) == (60.0, 20.0, 30.0, 3950.0)
    assert [wait.before for wait in report_of(optimized(rows, elapsed_s=4060.0)).survived.waits] == [2]
    going = report_of(optimized(rows, elapsed_s=4100.0, state="running", outcome=None)).times
    assert (going.under_way_s, going.waiting_s) == (50.0, 3940.0)


def test_a_pause_is_told_with_its_reason_and_not_as_a_wait_too() -> None:
    rows = [
        row(0, "baseline", 5.0, started_at=timestamp(STARTED)),
        row(1, "keep", 4.0, parent=0, started_at=timestamp(STARTED + 60)),
        row(2, "keep", 3.0, parent=1, started_at=timestamp(STARTED + 4_000)),
    ]
    pauses = with_pause([], "no-space", 1, timestamp(STARTED + 120))
    pauses = with_pause(pauses, "server-lost", 1, timestamp(STARTED + 3_000))
    over = pauses_over(pauses, timestamp(STARTED + 3_990))
    told = "\n".join(sentences.survived(report_of(optimized(rows, pauses=over, elapsed_s=4_000.0))))
    assert told == "48m paused after #1: no-space\n16m 30s paused after #1: server-lost"
    assert "server-lost" not in str(report_of(optimized(rows, pauses=pauses)).survived)  # it lasts: the head says it
    for number in range(60):
        pauses = with_pause(pauses, "asked", number, timestamp(STARTED + 5_000 + number))
    assert (len(pauses), pauses[-1].after) == (50, 59)


def test_time_between_an_end_and_going_on_is_no_wait() -> None:
    rows = [
        row(0, "baseline", 5.0, started_at=timestamp(STARTED)),
        row(1, "keep", 4.0, parent=0, started_at=timestamp(STARTED + 60)),
        row(2, "keep", 3.0, parent=1, started_at=timestamp(STARTED + 9_000)),
        row(3, "keep", 2.0, parent=2, started_at=timestamp(STARTED + 10_000)),
    ]
    found = report_of(optimized(rows, idle_s=8_880.0, elapsed_s=1_170.0))
    assert [(wait.before, wait.duration_s) for wait in found.survived.waits] == [(3, 950.0)]
    assert found.times.waiting_s == 970.0


def test_a_worktrees_branch_and_the_users_notes_are_told() -> None:
    notes = [Note(text="try lazy loading", at="", iteration=2), Note(text="not\x1b[2J the charts", at="")]
    loop = optimized([row(0, "baseline", 5.0), row(1, "keep", 4.0, parent=0)], branch="small", notes=notes)
    text = text_of(loop)
    assert "beatctl apply k3f9  " in text
    assert "#2    try lazy loading" in text
    assert "next  not [2J the charts" in text


@pytest.mark.parametrize("columns", [60, 80, 160])
@pytest.mark.parametrize("loop", [noisy(120), retried(["exit code 1"] * 40, passed=False), pipeline()])
def test_no_line_is_wider_than_the_terminal(loop: Made, columns: int) -> None:
    odd = [one.model_copy(update={"summary": "長い要約 👩‍💻 " * 20 + "\x1b[31m\t</script>"}) for one in loop.rows]
    text = text_of(Made(loop.status.model_copy(update={"goal": "目標 " * 60}), odd, loop.spec), columns)
    assert [line for line in text.splitlines() if cell_len(line) > columns] == []
    assert "\x1b" not in text


def test_a_retry_tells_how_its_tries_ended_and_which_passed() -> None:
    text = text_of(retried(["exit code 1"] * 7 + ["2 tests fail"], passed=True))
    assert "passed in #9" in text
    assert "#1-7      fail" in text
    assert "#8        fail" in text
    assert "→" not in text
    failed = text_of(retried([f"error {number}" for number in range(40)], passed=False))
    assert "not passed" in failed
    assert "error 0" in failed
    assert "error 39" in failed
    assert "beatctl logs m2t4" in failed


def test_a_pipeline_tells_what_each_step_took() -> None:
    loop = pipeline()
    assert [(step.runs, step.duration_s) for step in report_of(loop).by_step] == [(4, 40.0), (4, 80.0), (3, 90.0)]
    assert "step 2: run the integration tests" in text_of(loop)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (
            {"state": "running", "outcome": None, "reason": None},
            ["It runs.", "beatctl watch k3f9", "beatctl stop k3f9"],
        ),
        (
            {
                "state": "paused",
                "outcome": None,
                "reason": "evaluator-broken",
                "detail": "The evaluator gives no score.",
            },
            ["paused (evaluator-broken)", "gives no score", "beatctl resume k3f9"],
        ),
        ({"outcome": "unchanged", "reason": "plateau", "limits": {"plateau": 5}}, ["5 iterations without a better"]),
        ({"outcome": "failed", "reason": "no-baseline", "detail": "No score from the baseline."}, ["logs k3f9 0"]),
        ({"outcome": "cancelled", "reason": "cancelled"}, ["You cancelled it."]),
        (
            {"outcome": "improved", "reason": "max-duration", "limits": {"for_s": 30600}},
            ["over (8h 30m)", "--for 8h30m"],
        ),
        ({"outcome": "reached", "reason": "target", "limits": {"target": 5.0}}, ["target 5 is met", "--target none"]),
    ],
)
def test_why_and_what_to_type_next_fit_how_it_stands(state: dict[str, Any], words: list[str]) -> None:
    scored = row(0, "baseline", None if state.get("reason") == "no-baseline" else 5.0)
    text = text_of(optimized([scored, row(1, "crash", parent=0, reason="exit code 1")], **state))
    for part in words:
        assert part in text


def test_a_loop_with_nothing_in_it_yet_has_a_report_too() -> None:
    empty = optimized([], state="running", outcome=None, reason=None)
    assert "no score yet" in text_of(empty)
    assert report_of(empty).times.total_s == 0
    assert "not passed yet" in text_of(retried([], passed=False, state="running", outcome=None, best=None))
    again = retried([], passed=False, outcome="reached", reason="passed", best=Mark(iteration=0))
    assert "passes already" in text_of(again)


def test_the_table_has_a_line_for_each_row_whatever_agents_wrote() -> None:
    rows = [
        row(0, "baseline", 171204.0, snapshot="abcdef0123456"),
        row(1, "keep", 0.1, summary='a\tb\nc "quoted" 👍', snapshot="1234567890"),
        row(2, "timeout", reason="timed out"),
        row(3, "inconclusive", reason="edited"),
    ]
    assert tsv.lines(rows) == [
        "commit\tmetric\tstatus\tdescription",
        "abcdef0\t171204\tkeep\tbaseline",
        "1234567\t0.1\tkeep\ta b c 'quoted' 👍",
        "\t\tcrash\ttimed out",
        "\t\tdiscard\tedited",
    ]


def test_scores_that_are_nearly_the_same_are_written_apart() -> None:
    before, after = sentences.pair_of(2.635983081, 2.635983085)
    assert before != after
    assert sentences.pair_of(239107, 171204) == ("239,107", "171,204")


def test_a_crash_score_a_hundred_times_the_best_does_not_flatten_the_picture() -> None:
    stairs = [100.0, 98.0, 95.0]
    axis = axis_for(stairs, [*stairs, 99.0, 101.0, 97.5, 100.5, 9_900.0, 1e12])
    assert axis is not None
    assert axis.place(100.0) - axis.place(95.0) > 0.25
    assert not axis.holds(9_900.0)
    assert axis.place(9_900.0) == 1.0


@given(st.lists(finite, max_size=8), st.lists(finite, max_size=40))
def test_any_scores_have_an_axis_that_shows_what_was_to_beat(stairs: list[float], others: list[float]) -> None:
    axis = axis_for(stairs, others)
    assert (axis is None) == (not stairs and not others)
    if axis is None:
        return
    assert axis.low < axis.high
    for score in (*stairs, *others):
        assert 0.0 <= axis.place(score) <= 1.0
    assert all(axis.holds(score) for score in stairs)
    labels = ticks(axis)
    assert len(labels) < 20
    assert all(0.0 <= at <= 1.0 for at, _ in labels)


@given(finite, st.integers(1, 20))
def test_scores_all_the_same_lie_in_the_middle(score: float, count: int) -> None:
    axis = axis_for([score], [score] * count)
    assert axis is not None
    assert 0.25 < axis.place(score) < 0.75
