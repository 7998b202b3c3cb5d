"""What a person reads about loops and experiments."""

from __future__ import annotations

from typing import Any

import pytest

from beatctl.activities.records import AgentRow, Mark, Row, Status, Verdict
from beatctl.cli import render
from beatctl.cli.follow import exit_code, paused_words
from beatctl.cli.output import visible
from beatctl.workflows.spec import Limits


def row(number: int, verdict: Verdict, score: float | None = None, **more: Any) -> Row:
    return Row(iteration=number, verdict=verdict, score=score, started_at="", duration_s=1.0, **more)


def status(**more: Any) -> Status:
    given: dict[str, Any] = {
        "id": "k3f9",
        "goal": "reduce bundle size",
        "strategy": "optimize",
        "state": "running",
        "directory": "/work",
        "limits": Limits().model_dump(),
    }
    return Status(**{**given, **more})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (171204, "171,204"),
        (0, "0"),
        (-3.0, "-3"),
        (0.87312, "0.87312"),
        (0.1, "0.1"),
        (1234.5678, "1,234.57"),
        (1e-7, "1e-07"),
        (1.5e20, "1.5e+20"),
        (99.99999999, "100"),
    ],
)
def test_scores_read_well_at_every_size(value: float | None, text: str) -> None:
    assert render.score(value) == text


@pytest.mark.parametrize(
    ("value", "against", "text"),
    [
        (171204, 239107, "-28.4%"),
        (172880, 171204, "+1.0%"),
        (5, 5, "="),
        (5, 0, ""),
        (None, 5, ""),
        (-50, -100, "+50.0%"),
        (100.01, 100, "+0.01%"),
    ],
)
def test_a_change_is_told_against_what_was_to_beat(value: float | None, against: float | None, text: str) -> None:
    assert render.change(value, against) == text


def test_a_verdict_is_a_line_that_fits() -> None:
    discard = row(212, "discard", 172880, summary="lazy-load chart\nlegend")
    assert render.row_line(discard, 171204) == "#212  discard        172,880    +1.0%  lazy-load chart legend"
    crash = row(210, "crash", reason="build failed: Cannot find module './fmt'", summary="I am done")
    assert render.row_line(crash, 171204).endswith("build failed: Cannot find module './fmt'")
    long = row(3, "keep", 1.0, summary="word " * 100)
    assert len(render.row_line(long, 2.0, columns=80)) <= 80
    assert render.row_line(row(1, "fail", reason="exit code 1"), None) == "#1    fail       exit code 1"


def test_an_agents_words_cannot_move_the_cursor() -> None:
    assert visible("done\x1b[2J\x07 and\r\nmore") == "done [2J  and more"
    assert "\x1b" not in render.row_line(row(1, "keep", 1.0, summary="\x1b[31mred"), None)


def test_the_baseline_has_no_change_and_colours_only_where_wanted() -> None:
    assert "%" not in render.row_line(row(0, "baseline", 5.0), 4.0)
    assert "\x1b[32m" in render.row_line(row(1, "keep", 5.0), 4.0, colours=True)


def test_status_tells_best_limits_and_what_runs() -> None:
    shown = render.status_lines(
        status(
            iteration=213,
            best=Mark(iteration=187, score=171204),
            baseline=Mark(iteration=0, score=239107),
            counts={"baseline": 1, "keep": 12, "discard": 200},
            cost_usd=14.2,
        ),
        now="#213 claude 2m 41s",
    )
    text = "\n".join(shown)
    for part in (
        "171,204 #187 (-28.4%), baseline 239,107",
        "213/10",
        "12 keep, 200 discard",
        "$14.20",
        "claude 2m 41s",
    ):
        assert part in text
    paused = render.status_lines(status(state="paused", reason="edited", detail="You edited n"))
    assert "paused (edited)" in paused[0]
    assert any("You edited n" in line for line in paused)


def test_what_is_asked_for_shows_at_once() -> None:
    assert render.state_word(status(asked="pause")) == "pausing"
    assert render.state_word(status(asked="stop")) == "stopping"
    assert render.state_word(status(state="finished", outcome="improved")) == "improved"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"outcome": "reached"}, 0),
        ({"outcome": "improved"}, 0),
        ({"outcome": "unchanged", "reason": "max-iterations"}, 1),
        ({"outcome": "failed", "reason": "max-failures"}, 1),
        ({"outcome": "failed", "reason": "no-baseline"}, 3),
        ({"outcome": "cancelled", "reason": "cancelled"}, 4),
    ],
)
def test_scripts_can_tell_how_a_loop_ended(more: dict[str, Any], code: int) -> None:
    assert exit_code(status(state="finished", **more)) == code


def test_a_pause_always_says_how_to_go_on() -> None:
    for more in ({"reason": "asked"}, {"reason": "edited", "detail": "You edited n: beatctl resume k3f9 takes it in."}):
        assert paused_words(status(state="paused", **more)).count("beatctl resume k3f9") == 1


def test_the_end_says_what_to_type_next() -> None:
    lines = render.ending_lines(
        status(
            state="finished",
            outcome="improved",
            reason="max-iterations",
            iteration=5,
            best=Mark(iteration=4, score=46),
            baseline=Mark(iteration=0, score=50),
            counts={"keep": 4, "crash": 1},
            elapsed_s=75,
        )
    )
    assert lines[0] == "k3f9 improved (max-iterations) after 1m 15s: 46 #4 (-8.0%), baseline 50"
    assert "4 keep, 1 crash" in lines[1]
    assert "beatctl undo k3f9" in lines[-1]


def test_limits_name_only_what_holds() -> None:
    usual = render.limits_line(Limits().model_dump())
    assert usual == "iterations 10, failures in a row 3, agent 30m, evaluator 10m"
    every = Limits(max_iterations=0, for_s=28800, cooldown_s=1.5, target=0.0, plateau=20, max_unchanged=0)
    line = render.limits_line(every.model_dump())
    for part in ("iterations no limit", "time 8h", "cooldown 1.5s", "target 0", "plateau 20", "unchanged no limit"):
        assert part in line


def test_rows_of_a_pipeline_are_rows_like_others() -> None:
    agent = AgentRow(name="claude", steps=[AgentRow(name="claude")])
    assert "keep" in render.row_line(row(1, "keep", 2.0, agent=agent), 3.0)
