"""A short chaos run: `make chaos` is a long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.plan import WHAT, make_plan
from tests.chaos.runs import disturbed_beside_undisturbed

KILLS = 10


@pytest.mark.timeout(900)
def test_whoever_is_killed_at_whatever_moment_no_agent_run_is_lost_or_paid_twice(
    place: Path, server_program: str | None
) -> None:
    if server_program is None:
        pytest.skip("no Temporal server program on this machine")
    plan = make_plan(1, KILLS)
    assert {kill.what for kill in plan.kills} == set(WHAT)
    outcome = disturbed_beside_undisturbed(place, server_program, 1, plan, print)
    assert len(outcome.kills) == KILLS
    assert outcome.iterations == plan.iterations
    assert outcome.failed() == []
    assert outcome.taken_over
