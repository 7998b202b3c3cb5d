"""An agent's limit in the night: waited out, for nothing counted, nothing of the interrupted run left."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.faults.machine import kill
from tests.loops.conftest import Loops

STAND_IN = Path(__file__).with_name("limited_agent.py")
LOWER = ("lower n", "--eval", "cat n", "--minimize")


class Agents:
    """Stand-ins for claude in folders of their own, each with its plan."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, *plan: str, name: str = "claude") -> str:
        """The words for `--agent`."""
        folder = self.folder / f"as-{name}-{len(list(self.folder.glob('as-*')))}"
        folder.mkdir()
        program = folder / "claude"
        shutil.copy(STAND_IN, program)
        program.chmod(0o755)
        (folder / "plan").write_text("\n".join(plan))
        return str(program)

    def runs(self, program: str) -> list[float]:
        """When each of its runs began."""
        log = Path(program).with_name("runs")
        return [float(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def agents(place: Path, environment: dict[str, str]) -> Agents:
    return Agents(place)


@pytest.fixture
def soon(loops: Loops) -> dict[str, str]:
    """The minute after a reset, for tests a second."""
    return {"BEATCTL_LIMIT_MARGIN_S": "1"}


def seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def test_a_limit_costs_no_iteration_and_leaves_nothing_of_the_run_it_interrupted(
    loops: Loops, agents: Agents, soon: dict[str, str]
) -> None:
    claude = agents.make("ok", "limit 3", "ok")
    status = loops.start(*LOWER, "--agent", claude, "-n", "3", expect=0, env=soon)
    assert (status["outcome"], status["iteration"], status["failures"]) == ("improved", 3, 0)
    rows = loops.rows(status["id"])
    assert [row["verdict"] for row in rows] == ["baseline", "keep", "keep", "keep"]
    assert loops.repository.read("n") == "47\n"
    (wait,) = rows[2]["waits"]
    assert (wait["agent"], wait["reason"]) == ("claude", "rate-limit")
    began = agents.runs(claude)
    assert len(began) == 4
    assert began[2] >= seconds(wait["until"]) - 0.01
    assert began[2] - began[1] >= 3


def test_a_limit_in_a_pipelines_second_step_keeps_what_the_first_did(
    loops: Loops, agents: Agents, soon: dict[str, str]
) -> None:
    words = ("--step", "one", "--step", "two", "--eval", "cat n", "--minimize")
    claude = agents.make("ok", "limit 1", "ok")
    status = loops.start(*words, "--agent", claude, "-n", "1", expect=0, env=soon)
    assert status["best"]["score"] == 48
    row = loops.rows(status["id"])[1]
    assert (len(row["agent"]["steps"]), len(row["waits"]), row["agent"]["cost_usd"]) == (2, 1, 0.06)


def test_a_budget_lowered_while_the_loop_waits_ends_it_at_once(loops: Loops, agents: Agents) -> None:
    loop = loops.detached(*LOWER, "--agent", agents.make("ok", "limit 3600"), "--max-cost", "5")
    waiting(loops, loop)
    loops.do("set", loop, "--max-cost", "0.03")
    assert loops.finished(loop)["reason"] == "max-cost"


def test_what_an_interrupted_run_cost_is_in_status_ledger_and_report_alike(
    loops: Loops, agents: Agents, soon: dict[str, str]
) -> None:
    claude = agents.make("ok", "limit 2", "ok")
    status = loops.start(*LOWER, "--agent", claude, "-n", "2", expect=0, env=soon)
    rows = loops.rows(status["id"])
    assert status["cost_usd"] == pytest.approx(0.06)
    assert status["tokens"] == 300
    assert sum(row["agent"]["cost_usd"] for row in rows if row["agent"]) == pytest.approx(0.06)
    assert sum(row["agent"]["tokens"] for row in rows if row["agent"]) == 300


def waiting(loops: Loops, loop: str) -> Any:
    return loops.until(loop, "the wait", lambda s: s["state"] == "waiting" and s["waiting_until"])


def test_the_wait_is_shown_with_its_end_and_resume_ends_it(loops: Loops, agents: Agents) -> None:
    claude = agents.make("limit 3600", "ok")
    loop = loops.detached(*LOWER, "--agent", claude, "-n", "1")
    status = waiting(loops, loop)
    assert status["reason"] == "rate-limit"
    assert seconds(status["waiting_until"]) - agents.runs(claude)[0] > 3600
    shown = loops.beatctl("status", loop, cwd=loops.repository.folder, expect=0).stdout
    assert "waiting until" in shown
    assert "limit" in shown
    loops.do("resume", loop)
    assert loops.finished(loop)["outcome"] == "improved"
    (wait,) = loops.rows(loop)[1]["waits"]
    assert wait["waited_s"] < 3600


def test_a_wait_can_be_paused_and_stopped(loops: Loops, agents: Agents) -> None:
    loop = loops.detached(*LOWER, "--agent", agents.make("limit 3600"), "-n", "1")
    waiting(loops, loop)
    assert loops.do("pause", loop)["state"] == "paused"
    loops.do("stop", loop)
    assert loops.finished(loop)["reason"] == "stopped"
    assert loops.repository.read("n") == "50\n"


def test_a_cancel_ends_a_wait_and_leaves_the_best(loops: Loops, agents: Agents) -> None:
    loop = loops.detached(*LOWER, "--agent", agents.make("ok", "limit 3600"))
    waiting(loops, loop)
    loops.do("cancel", loop)
    status = loops.finished(loop)
    assert (status["outcome"], status["iteration"]) == ("cancelled", 1)
    assert loops.repository.read("n") == "49\n"


def test_the_end_of_for_ends_a_wait(loops: Loops, agents: Agents) -> None:
    status = loops.start(*LOWER, "--agent", agents.make("limit 3600"), "--for", "4s", expect=1)
    assert status["reason"] == "max-duration"


def test_an_agent_that_sat_out_its_limit_until_its_time_was_up_has_not_failed(
    loops: Loops, agents: Agents, soon: dict[str, str]
) -> None:
    claude = agents.make("sit 7", "ok")
    status = loops.start(*LOWER, "--agent", claude, "-n", "1", "--agent-timeout", "3s", expect=0, env=soon)
    assert (status["outcome"], status["iteration"], status["failures"]) == ("improved", 1, 0)
    (wait,) = loops.rows(status["id"])[1]["waits"]
    assert wait["reason"] == "rate-limit"
    assert loops.repository.read("n") == "49\n"


def test_an_overloaded_service_is_tried_again_and_nothing_counts(loops: Loops, agents: Agents) -> None:
    claude = agents.make("overloaded", "ok")
    loop = loops.detached(*LOWER, "--agent", claude, "-n", "1")
    assert waiting(loops, loop)["reason"] == "overloaded"
    loops.do("resume", loop)
    status = loops.finished(loop)
    assert (status["outcome"], status["failures"]) == ("improved", 0)


def test_the_fallback_works_while_the_limit_lasts_and_hands_back(
    loops: Loops, agents: Agents, soon: dict[str, str]
) -> None:
    claude, other = agents.make("limit 7", "ok"), agents.make("ok", name="other")
    loop = loops.start(
        *LOWER,
        "--agent",
        claude,
        "--fallback",
        f"{other} -p {{prompt}}",
        "-n",
        "9",
        "--cooldown",
        "1s",
        expect=0,
        env=soon,
    )
    names = [row["agent"]["version"] for row in loops.rows(loop["id"])[1:]]
    assert names[0] is None  # the fallback, which is a command here
    assert names[-1] == "2.1.197"
    assert loop["iteration"] == 9


def test_an_agent_and_a_fallback_of_one_name_that_both_meet_a_limit_are_not_run_again_and_again(
    loops: Loops, agents: Agents
) -> None:
    claude, other = agents.make("limit 7200"), agents.make("limit 3600", name="other")
    loop = loops.detached(*LOWER, "--agent", claude, "--fallback", other)
    until = seconds(waiting(loops, loop)["waiting_until"])
    assert (len(agents.runs(claude)), len(agents.runs(other))) == (1, 1)
    assert until - agents.runs(other)[0] < 3700  # the first of the two limits to end
    loops.do("cancel", loop)


def test_an_agent_that_is_not_logged_in_pauses_the_loop_with_what_mends_it(loops: Loops, agents: Agents) -> None:
    claude = agents.make("login", "ok")
    loop = loops.detached(*LOWER, "--agent", claude, "-n", "1")
    status = loops.until(loop, "the pause", lambda s: s["state"] == "paused")
    assert status["reason"] == "authentication"
    assert "claude" in status["detail"]
    assert loops.repository.read("n") == "50\n"
    loops.do("resume", loop)
    assert loops.finished(loop)["outcome"] == "improved"


def test_what_was_spent_is_checked_before_each_run(loops: Loops, agents: Agents) -> None:
    status = loops.start(*LOWER, "--agent", agents.make("ok"), "--max-cost", "0.05", expect=0)
    assert (status["reason"], status["iteration"], status["cost_usd"]) == ("max-cost", 3, 0.06)
    rows = loops.rows(status["id"])
    assert round(sum(row["agent"]["cost_usd"] for row in rows if row["agent"]), 6) == 0.06
    report = loops.beatctl("report", status["id"], cwd=loops.repository.folder, expect=0).stdout
    assert "$0.06" in report


def test_a_limit_on_tokens_ends_a_loop_between_a_pipelines_steps(loops: Loops, agents: Agents) -> None:
    words = ("--step", "one", "--step", "two", "--step", "three", "--eval", "cat n", "--minimize")
    status = loops.start(*words, "--agent", agents.make("ok"), "--max-tokens", "200", expect=1)
    assert (status["reason"], status["tokens"]) == ("max-tokens", 200)
    row = loops.rows(status["id"])[1]
    assert "--max-tokens" in row["reason"]


def test_an_agent_that_does_not_tell_its_cost_keeps_the_default_iterations_and_says_so(loops: Loops) -> None:
    agent = loops.repository.agent("echo $((50 - i)) > n")
    status = loops.start(*LOWER, "--agent", agent, "--max-cost", "5", expect=0)
    assert status["iteration"] == 10
    assert "does not tell what a run costs" in status["said"]


@pytest.mark.own_server("it is the supervisor that starts the killed server again")
def test_a_wait_ends_on_time_although_worker_and_server_were_killed_meanwhile(
    own_loops: Loops, agents: Agents, soon: dict[str, str]
) -> None:
    claude = agents.make("limit 12", "ok")
    own_loops.beatctl.environ |= soon
    loop = own_loops.detached(*LOWER, "--agent", claude, "-n", "1")
    until = seconds(waiting(own_loops, loop)["waiting_until"])
    for what in ("worker", "server"):
        kill(own_loops, what)
    status = own_loops.finished(loop)
    assert (status["outcome"], status["iteration"]) == ("improved", 1)
    (wait,) = own_loops.rows(loop)[1]["waits"]
    assert seconds(wait["until"]) == until
    first, second = agents.runs(claude)
    assert second >= until
    assert second - first >= 12


def test_a_report_tells_how_long_the_loop_waited_for_limits(loops: Loops, agents: Agents, soon: dict[str, str]) -> None:
    status = loops.start(*LOWER, "--agent", agents.make("limit 2", "ok"), "-n", "1", expect=0, env=soon)
    assert "waiting until" in status["said"]
    report = loops.beatctl("report", status["id"], cwd=loops.repository.folder, expect=0).stdout
    assert "claude met its limit 1 time" in report
    shown = loops.beatctl("show", status["id"], "1", cwd=loops.repository.folder, expect=0).stdout
    assert "for claude's limit" in shown
    assert "the interrupted run cost $0.02" in shown
