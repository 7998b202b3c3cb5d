"""When a loop ends: limits that hold, and outcomes that tell the truth."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatctl.workflows.spec import Limits
from beatctl.workflows.stopping import Progress, cooldown_s, outcome_of, reason_to_end

START = Progress("optimize", "minimize", 0, 0, 0, False, 10.0, 10.0, 0.0)


@pytest.mark.parametrize(
    ("progress", "limits", "reason"),
    [
        ({}, {}, None),
        ({"iterations": 10}, {}, "max-iterations"),
        ({"iterations": 11}, {"max_iterations": 0}, None),
        ({"failures": 3}, {}, "max-failures"),
        ({"failures": 30}, {"max_failures": 0}, None),
        ({"best": 4.0}, {"target": 5.0}, "target"),
        ({"best": 5.0}, {"target": 5.0}, "target"),
        ({"best": 6.0}, {"target": 5.0}, None),
        ({"best": 6.0, "direction": "maximize"}, {"target": 5.0}, "target"),
        ({"best": 0.0, "iterations": 10}, {"target": 0.0}, "target"),
        ({"since_keep": 4}, {"plateau": 4}, "plateau"),
        ({"since_keep": 3}, {"plateau": 4}, None),
        ({"elapsed_s": 60.0}, {"for_s": 60}, "max-duration"),
        ({"strategy": "retry", "passed": True, "iterations": 10, "failures": 9}, {}, "passed"),
        ({"strategy": "retry", "since_keep": 9}, {"plateau": 4}, None),
    ],
)
def test_a_limit_ends_the_loop_when_it_is_met_and_not_before(
    progress: dict[str, object], limits: dict[str, object], reason: str | None
) -> None:
    assert reason_to_end(replace(START, **progress), Limits.model_validate(limits)) == reason  # type: ignore[arg-type]


@given(
    st.integers(0, 50),
    st.integers(0, 50),
    st.integers(0, 50),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(0, 20),
)
def test_a_limit_of_zero_never_ends_a_loop_and_every_other_is_never_exceeded(
    iterations: int, failures: int, since_keep: int, most: int, most_failures: int, plateau: int
) -> None:
    progress = replace(START, iterations=iterations, failures=failures, since_keep=since_keep)
    limits = Limits(max_iterations=most, max_failures=most_failures, plateau=plateau)
    over = (most and iterations >= most) or (most_failures and failures >= most_failures)
    over = over or (plateau and since_keep >= plateau)
    assert (reason_to_end(progress, limits) is not None) == bool(over)


@pytest.mark.parametrize(
    ("reason", "progress", "outcome"),
    [
        ("passed", {"strategy": "retry"}, "reached"),
        ("target", {}, "reached"),
        ("max-iterations", {"best": 9.0}, "improved"),
        ("max-iterations", {}, "unchanged"),
        ("max-iterations", {"best": 11.0}, "unchanged"),
        ("max-iterations", {"strategy": "retry"}, "failed"),
        ("max-failures", {}, "failed"),
        ("max-failures", {"best": 9.0}, "improved"),
        ("stopped", {"best": 9.0}, "improved"),
        ("stopped", {"strategy": "retry"}, "failed"),
        ("plateau", {}, "unchanged"),
        ("no-baseline", {"baseline": None, "best": None}, "failed"),
        ("cancelled", {"best": 9.0}, "cancelled"),
    ],
)
def test_a_loop_that_gained_nothing_is_never_called_a_success(
    reason: str, progress: dict[str, object], outcome: str
) -> None:
    assert outcome_of(reason, replace(START, **progress)) == outcome  # type: ignore[arg-type]


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_cooldown_never_outlasts_the_night(cooldown: float, night: float, elapsed: float) -> None:
    wait = cooldown_s(Limits(cooldown_s=cooldown, for_s=night), elapsed)
    assert 0 <= wait <= cooldown
    if night:
        assert wait <= max(0.0, night - elapsed)
