"""Going on from the ledger keeps what was reached and what was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from beatctl.activities.records import Mark, Status
from beatctl.workflows.going_on import caught_up
from beatctl.workflows.spec import Limits

NOW = 1_800_000_000.0


def status(**fields: Any) -> Status:
    given: dict[str, Any] = {"id": "k3f9", "goal": "g", "strategy": "optimize", "state": "running", "directory": "/d"}
    given |= {"iteration": 9, "failures": 2, "version": 40, "started_at": "2026-05-01T00:00:00.000Z"}
    given |= {"baseline": Mark(iteration=0, score=50, snapshot="a"), "best": Mark(iteration=6, score=40, snapshot="b")}
    return Status.model_validate({**given, "limits": Limits().model_dump(), **fields})


def test_counters_and_best_are_as_the_ledger_has_them() -> None:
    state = caught_up(status(), NOW, 77)
    assert (state.iteration, state.failures, state.since_keep, state.ticket) == (9, 2, 3, 77)
    assert state.best == state.base == Mark(iteration=6, score=40, snapshot="b")
    assert (state.opened, state.reopen, state.passed, state.version > 40) == (True, False, False, True)


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({}, None),
        ({"asked": "stop"}, "stop"),
        ({"asked": "pause"}, "pause"),
        ({"state": "paused", "reason": "asked"}, "pause"),
        ({"state": "paused", "reason": "server-lost"}, None),
    ],
)
def test_a_loop_that_was_to_stop_or_pause_still_is(fields: dict[str, Any], asked: str | None) -> None:
    assert caught_up(status(**fields), NOW, 0).asked == asked


def test_a_retry_that_had_passed_has_passed() -> None:
    assert caught_up(status(strategy="retry"), NOW, 0).passed
    assert not caught_up(status(strategy="retry", best=None), NOW, 0).passed


def test_without_a_row_of_the_baseline_it_is_measured_anew() -> None:
    state = caught_up(status(iteration=0), NOW, 0, opened=False)
    assert (state.opened, state.baseline, state.best, state.base) == (False, None, None, None)
