"""When a loop tries again after an agent's limit."""

from __future__ import annotations

import pytest

from beatctl.workflows.agent_limits import LONGEST_S, Limit, is_over_at

NOW = 1_000_000.0
MINUTE = 60.0


@pytest.mark.parametrize(
    ("reset_at", "until"),
    [
        (NOW + 20, NOW + 80),
        (NOW + LONGEST_S, NOW + LONGEST_S + MINUTE),
        # codex tells the minute alone: 5:58 PM, told at 17:58:10, when the limit ends at 17:58:30
        (NOW - 10, NOW + 50),
        (NOW - 59, NOW + 1),
        # no reset, and resets that can't be
        (None, NOW + 300),
        (NOW - 60, NOW + 300),
        (NOW - 3600, NOW + 300),
        (NOW + LONGEST_S + 1, NOW + 300),
        (0.0, NOW + 300),
    ],
)
def test_a_loop_goes_on_a_minute_after_the_reset_that_was_told(reset_at: float | None, until: float) -> None:
    assert is_over_at("rate-limit", reset_at, NOW, 1, MINUTE) == until


@pytest.mark.parametrize(
    ("limit", "waits"),
    [("rate-limit", [300, 600, 1200, 2400, 3600, 3600]), ("overloaded", [15, 30, 60, 120, 240, 480, 900, 900])],
)
def test_waits_for_a_reset_nobody_told_grow_and_stay_bounded(limit: Limit, waits: list[float]) -> None:
    found = [is_over_at(limit, None, NOW, tries, MINUTE) - NOW for tries in range(1, len(waits) + 1)]
    assert found == waits
    assert is_over_at(limit, None, NOW, 100_000, MINUTE) - NOW == waits[-1]
