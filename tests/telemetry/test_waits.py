"""How long loops have waited, and why."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from beatctl.activities.records import Status
from beatctl.worker.telemetry.metrics import Waits
from tests.loops import limited_agent
from tests.support import wait_until
from tests.telemetry import three
from tests.telemetry.conftest import Told

pytestmark = pytest.mark.xdist_group("telemetry")


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


def test_a_limit_is_a_run_that_failed_and_a_wait_that_counts(told: Told) -> None:
    place = told.folder.parent / "limited"
    place.mkdir()
    claude = place / "claude"
    shutil.copy(Path(limited_agent.__file__), claude)
    claude.chmod(0o755)
    (place / "plan").write_text("limit 1\nok")
    other = three.repository(place / "repo", told.beatctl.environ)
    words = ("start", "lower n", "--eval", "cat n", "--minimize", "-a", str(claude), "-n", "1", "--json")
    done = told.beatctl(*words, cwd=other, env={"BEATCTL_LIMIT_MARGIN_S": "1"}, expect=0)
    loop = done.json["id"]
    wait_until(lambda: any(span.name == "loop" for span in told.live.of_loop(loop)), "the loop's span")
    runs = [span for span in told.live.of_loop(loop) if span.name == "invoke_agent claude"]
    limited, through = sorted(runs, key=lambda span: span.start)
    assert (limited.status, limited.message, through.status) == (2, "rate-limit", 0)
    assert limited.attributes["beatctl.cost_usd"] == through.attributes["beatctl.cost_usd"] == 0.02
    assert limited.attributes["beatctl.tokens"] == through.attributes["beatctl.tokens"] == 100
    assert through.attributes["gen_ai.request.model"] == "claude-test"
    assert through.attributes["gen_ai.provider.name"] == "anthropic"
    assert limited.end <= through.start
    (waited,) = told.beatctl("show", loop, "1", "--json", cwd=other, expect=0).json["waits"]
    counted = wait_until(
        lambda: told.live.value("beatctl.waiting.time", beatctl__reason="rate-limit"), "the wait's time"
    )
    assert 0 < counted <= waited["waited_s"] + 0.5
