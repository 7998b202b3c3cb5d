"""How long loops have waited, and why."""

from __future__ import annotations

from beatctl.activities.ledger import Status
from beatctl.worker.telemetry.metrics import Waits


def status(loop: str, state: str, reason: str | None = None) -> Status:
    known = {"id": loop, "goal": "g", "strategy": "retry", "directory": "/d", "state": state, "reason": reason}
    return Status.model_validate(known)


def totals(waits: Waits, now: float) -> dict[str, float]:
    return {labels["beatctl.reason"]: seconds for seconds, labels in waits.points(now)}


def test_a_wait_counts_while_it_lasts_and_once_when_it_is_over() -> None:
    waits = Waits()
    waits.heard(status("a", "running"), 0)
    assert totals(waits, 5) == {}
    waits.heard(status("a", "waiting", "rate-limit"), 10)
    waits.heard(status("a", "waiting", "rate-limit"), 12)  # told again: the same wait
    assert totals(waits, 30) == {"rate-limit": 20}
    waits.heard(status("a", "running"), 40)
    assert totals(waits, 99) == {"rate-limit": 30}


def test_waits_of_several_loops_add_up_by_reason() -> None:
    waits = Waits()
    waits.heard(status("a", "waiting", "overloaded"), 0)
    waits.heard(status("b", "paused", "asked"), 0)
    waits.heard(status("a", "paused", "asked"), 10)  # a pause in the middle of a wait
    waits.waited("turn", 2.5)
    waits.heard(status("b", "finished", "stopped"), 20)
    assert totals(waits, 25) == {"overloaded": 10, "asked": 35, "turn": 2.5}
