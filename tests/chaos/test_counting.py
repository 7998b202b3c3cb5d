"""What the chaos run counts, it counts: else its zeros would mean nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.counting import (
    Entry,
    course,
    differences,
    doubled,
    entries,
    going_on,
    lost_agents,
    missing,
    repeated,
)
from tests.chaos.plan import EDGES, WHAT, make_overnight_plan, make_plan


def entry(event: str, iteration: int, at: float, who: str = "agent", code: int | None = None) -> Entry:
    about = {"who": who, "event": event, "id": f"{who}{at}", "iteration": iteration, "run": f"{iteration}"}
    return Entry.model_validate({**about, "at": at, "code": code})


def row(iteration: int, exit_code: int | None, **more: Any) -> dict[str, Any]:
    agent = None if exit_code is None else {"exit_code": exit_code}
    return {
        "iteration": iteration,
        "verdict": "keep",
        "score": 1.0,
        "parent": 0,
        "evaluator": {"exit_code": 0},
        "agent": agent,
        "duration_s": float(iteration),
        **more,
    }


LOG = [
    entry("start", 1, 1.0),
    entry("end", 1, 2.0, code=0),
    entry("start", 1, 2.5, "evaluator"),
    entry("end", 1, 2.6, "evaluator"),
    entry("start", 2, 3.0),
    entry("end", 2, 4.0, code=7),
    entry("start", 3, 5.0),
]


def test_a_run_that_never_ended_and_one_whose_end_nobody_told_are_lost() -> None:
    rows = [row(0, None), row(1, 0), row(2, 7), row(3, 0)]
    assert lost_agents(LOG, rows, 3) == [3]
    assert lost_agents(LOG, [row(1, 0), row(2, 0)], 2) == [2]
    assert lost_agents(LOG, [row(1, 0)], 2) == [2]


def test_a_second_start_of_a_run_is_a_repetition_and_another_ones_run_is_not() -> None:
    assert repeated(LOG, "agent") == repeated(LOG, "evaluator") == []
    again = [*LOG, entry("start", 2, 9.0), entry("start", 2, 9.5), entry("start", 1, 9.6, "evaluator")]
    assert repeated(again, "agent") == ["2", "2"]
    assert repeated(again, "evaluator") == ["1"]


def test_rows_that_are_not_there_or_there_twice_or_too_many_are_counted() -> None:
    assert missing([0, 2], 3) == [1, 3]
    assert missing(range(4), 3) == doubled(range(4), 3) == []
    assert doubled([0, 1, 1, 2, 4], 3) == [1, 4]


@pytest.mark.parametrize(
    ("kill", "seconds"),
    [
        (1.5, 1.0),  # in agent 1: its end at 2.0, then the evaluator at 2.5
        (2.2, 0.8),  # between two runs: the start at 2.5 may have been on its way; its end at 2.6, then agent 2
        (4.5, None),  # nothing has ended since
    ],
)
def test_a_loop_went_on_only_when_a_result_was_taken_after_the_kill(kill: float, seconds: float | None) -> None:
    assert going_on([kill], LOG) == [pytest.approx(seconds) if seconds else None]


def test_the_log_is_read_whole_and_a_difference_in_a_score_is_seen_one_in_time_is_none() -> None:
    text = "".join(one.model_dump_json() + "\n" for one in LOG)
    assert entries(text) == LOG
    calm = [row(1, 0), row(2, 7)]
    assert differences(course(calm), course([row(1, 0), row(2, 7, duration_s=99.0)])) == []
    assert len(differences(course(calm), course([row(1, 0), row(2, 7, score=2.0)]))) == 1
    assert differences(["a"], ["a", "b"]) == ["1 | 2 in number"]


@pytest.mark.parametrize(("seed", "kills"), [(1, 10), (2, 30), (3, 100)])
def test_a_plan_is_the_seeds_and_names_everyone(seed: int, kills: int) -> None:
    plan = make_plan(seed, kills)
    assert plan == make_plan(seed, kills)
    assert plan != make_plan(seed + 1, kills)
    assert len(plan.kills) == kills
    assert {kill.what for kill in plan.kills if kill.edge is None} == set(WHAT)
    assert {kill.what for kill in plan.kills if kill.slow} == {"worker", "all"}
    moments = [kill.iteration for kill in plan.kills]
    assert moments == sorted(moments)
    assert max(moments) < plan.iterations
    at_edges = {kill.edge for kill in plan.kills if kill.edge}
    assert at_edges == set(EDGES if kills >= 27 else EDGES[:6])


def test_a_night_has_as_many_kills_of_worker_and_server() -> None:
    plan = make_overnight_plan(1, 700, each=5)
    assert sorted(kill.what for kill in plan.kills) == ["server"] * 5 + ["worker"] * 5
    assert plan.iterations == 700
