"""What arrives on a phone says which loop, what happened, how it stands and what to type."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import pytest

from beatctl.activities.notify.happened import Event, NotifyInput, happened
from beatctl.activities.notify.texts import message
from beatctl.activities.records import Mark, Status
from beatctl.workflows.agent_limits import is_worth_telling
from beatctl.workflows.notifying import BEST_EVERY_S, best_is_due, is_wanted
from beatctl.workflows.spec import Limits
from beatctl.workflows.state import LoopState

NOW = "2026-03-01T21:00:00.000Z"


def told(event: Event, **more: Any) -> tuple[str, list[str], str]:
    """Title, lines and kind, in a zone two hours ahead."""
    status = Status(
        **{
            "id": "k3f9",
            "goal": "reduce bundle size\nof the dashboard",
            "strategy": "optimize",
            "state": "running",
            "directory": "/repo",
            "baseline": Mark(iteration=0, score=239107),
            "best": Mark(iteration=187, score=171204),
            "iteration": 212,
            "kept": 12,
            "cost_usd": 14.2,
            "elapsed_s": 18720.0,
            **more,
        }
    )
    zone = timezone(timedelta(hours=2), "EET")
    what = NotifyInput.model_validate_json(
        NotifyInput(loop="k3f9", id="1", happened=happened(event, status, NOW)).model_dump_json()
    ).happened
    assert what is not None
    made = message(what, lambda time: time.astimezone(zone))
    assert made.fields["text"] == made.text
    return made.title, made.text.split("\n"), made.kind


FIGURES = "best 171,204 #187 (-28.4%), baseline 239,107; kept 12 of 212; $14.20; 5h 12m"


def test_an_end_says_what_it_came_to_and_how_to_take_it() -> None:
    assert told("finish", state="finished", outcome="improved", reason="max-iterations") == (
        "k3f9 improved: 171,204 (-28.4%)",
        [
            "reduce bundle size",
            "Ended: max-iterations.",
            FIGURES,
            "To look: beatctl report k3f9",
            "To take it: beatctl apply k3f9 --branch NAME",
        ],
        "success",
    )
    title, lines, kind = told("finish", state="finished", outcome="reached", reason="target", branch="smaller")
    assert (title, kind) == ("k3f9 reached", "success")
    assert lines[-1].endswith("beatctl apply k3f9")


def test_a_failure_is_told_as_one_with_its_reason() -> None:
    title, lines, kind = told(
        "finish",
        state="finished",
        outcome="failed",
        reason="no-baseline",
        detail="No score.\nIts last line: x",
        baseline=None,
        best=None,
        kept=0,
        iteration=0,
        cost_usd=0.0,
        tokens=0,
    )
    assert (title, kind) == ("k3f9 failed", "failure")
    assert lines[1:] == [
        "Ended: no-baseline.",
        "No score. Its last line: x",
        "no baseline; kept 0 of 0; 5h 12m",
        "To look: beatctl show k3f9",
    ]


def test_a_pause_says_why_and_which_command_goes_on() -> None:
    words = "You edited src/app.ts while k3f9 waited: paused, nothing overwritten."
    assert told("pause", state="paused", reason="edited", detail=words) == (
        "k3f9 paused: edited",
        ["reduce bundle size", words, FIGURES, "To go on: beatctl resume k3f9"],
        "warning",
    )


def test_a_wait_says_until_when_in_the_machines_own_time() -> None:
    waiting = {"state": "waiting", "reason": "rate-limit", "detail": "claude's limit is reached"}
    title, lines, kind = told("waiting", **waiting, waiting_until="2026-03-02T01:30:00.000Z")
    assert (title, kind) == ("k3f9 waits until Mon 03:30 EET", "info")
    assert lines[1:3] == ["claude's limit is reached", "It goes on by itself in 4h 30m."]
    title, *_ = told("waiting", **waiting, waiting_until="2026-03-01T21:30:00.000Z")
    assert title == "k3f9 waits until 23:30 EET"


def test_a_new_best_is_told_against_the_baseline_and_a_retry_loop_by_whether_it_passed() -> None:
    title, lines, kind = told("best")
    assert (title, kind) == ("k3f9 has a new best: 171,204 (-28.4%)", "success")
    assert lines == ["reduce bundle size", FIGURES, "To see it: beatctl diff k3f9"]
    _, lines, _ = told("pause", strategy="retry", state="paused", reason="asked", baseline=None, best=None, kept=0)
    assert "not passed yet; 212 iterations; $14.20; 5h 12m" in lines
    *_, kind = told("finish", strategy="retry", state="finished", outcome="reached", reason="passed")
    assert kind == "success"


def test_long_texts_are_cut_before_they_travel_through_the_history() -> None:
    status = Status(
        id="k3f9", goal="g" * 500_000, strategy="retry", state="paused", detail="d" * 500_000, directory="/repo"
    )
    assert len(happened("pause", status, NOW).model_dump_json()) < 3000


def test_a_best_found_soon_after_one_that_was_told_is_told_later_and_not_again() -> None:
    state = LoopState(limits=Limits(), started_at=0.0)
    assert not best_is_due(state, 10.0)
    state.best_untold = True
    assert best_is_due(state, 10.0)
    state.best_told_at = 10.0
    assert not best_is_due(state, 10.0 + BEST_EVERY_S - 1)
    assert best_is_due(state, 10.0 + BEST_EVERY_S)


@pytest.mark.parametrize(
    ("event", "outcome", "wanted", "is_told"),
    [
        ("finish", "improved", ["finish"], True),
        ("finish", "failed", ["finish"], True),
        ("finish", "failed", ["failure"], True),
        ("finish", "cancelled", ["failure"], False),
        ("pause", None, ["finish", "failure"], False),
        ("pause", None, ["pause"], True),
        ("pause", None, [], False),
    ],
)
def test_a_failure_counts_as_an_end_and_an_end_not_as_a_failure(
    event: Event, outcome: str | None, wanted: list[Event], is_told: bool
) -> None:
    assert is_wanted(event, outcome, wanted) is is_told


def test_a_service_that_is_overloaded_for_a_while_is_told_once_and_a_long_wait_each_time() -> None:
    assert [is_worth_telling(tries, 60.0) for tries in (1, 2, 3)] == [True, False, False]
    assert is_worth_telling(5, 3600.0)
