"""Workers, servers and supervisors die; agents, money and ledger rows don't."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.run_files import TryFiles
from tests.loops.conftest import Loops
from tests.support import wait_until

MINIMIZE = ("--eval", "cat n", "--minimize")


def kill(loops: Loops, what: str) -> None:
    """SIGKILL the worker, server or supervisor of this home, by the pid that doctor tells."""
    os.kill(pid_of(loops, what), signal.SIGKILL)


def pid_of(loops: Loops, what: str) -> int:
    told = wait_until(lambda: loops.do("doctor").get(what), f"the {what}'s pid")
    return int(told["pid"])


def agent_runs(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


@pytest.mark.parametrize("exit_code", [0, 7])
def test_a_killed_worker_costs_no_agent_run(own_loops: Loops, exit_code: int) -> None:
    loops, repo = own_loops, own_loops.repository
    log = repo.folder.parent / "log"
    agent = repo.agent(f"echo $i >> {log}; sleep 4; echo $((40 - $i)) > n; exit {exit_code if exit_code else 0}")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "2")
    wait_until(lambda: agent_runs(log) == ["1"], "the first agent")
    kill(loops, "worker")
    status = loops.finished(loop)
    assert agent_runs(log) == ["1", "2"]
    rows = loops.rows(loop)
    assert [row["agent"]["adopted"] for row in rows[1:]] == [True, False]
    assert [row["agent"]["exit_code"] for row in rows[1:]] == [exit_code, exit_code]
    assert [row["verdict"] for row in rows[1:]] == (["crash"] * 2 if exit_code else ["keep"] * 2)
    assert status["best"]["score"] == (50 if exit_code else 38)


@pytest.mark.parametrize("moment", ["before-started", "after-started", "before-result", "after-result"])
def test_a_shim_killed_at_any_edge_means_one_row_and_no_lost_work(own_loops: Loops, moment: str) -> None:
    loops, repo = own_loops, own_loops.repository
    once = repo.folder.parent / "fired"
    loops.beatctl.environ["BEATCTL_FAULT"] = f"shim:{moment}@{once}"
    agent = repo.agent("echo $(($(cat n) - 1)) > n; echo junk > junk-$$")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "2")
    status = loops.finished(loop)
    assert once.exists()
    assert status["best"]["score"] == 48
    rows = loops.rows(loop)
    assert [row["verdict"] for row in rows] == ["baseline", "keep", "keep"]
    assert len(list(repo.folder.glob("junk-*"))) == 2


@pytest.mark.parametrize(("edge", "lines"), [("command", 1), ("start", 2), ("result", 4)])
def test_a_worker_killed_at_any_edge_of_a_run_means_one_run_of_it(own_loops: Loops, edge: str, lines: int) -> None:
    loops, repo = own_loops, own_loops.repository
    log = repo.folder.parent / "log"
    agent = repo.agent(f"echo $i >> {log}; sleep 0.3; echo $(($(cat n) - 1)) > n")
    loops.beatctl("up", "-d", cwd=repo.folder, expect=0)
    worker = pid_of(loops, "worker")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "2")
    files = TryFiles(loops.beatctl.home / "loops" / loop / "runs/1/agent", 1)
    wait_until(lambda: len(files.lines()) >= lines, edge)
    os.kill(worker, signal.SIGKILL)
    status = loops.finished(loop)
    assert agent_runs(log) == ["1", "2"]
    assert [row["verdict"] for row in loops.rows(loop)] == ["baseline", "keep", "keep"]
    assert status["best"]["score"] == 48


@pytest.mark.parametrize("what", ["server", "supervisor"])
def test_a_killed_server_or_supervisor_is_brought_back_and_the_loop_goes_on(own_loops: Loops, what: str) -> None:
    loops, repo = own_loops, own_loops.repository
    log = repo.folder.parent / "log"
    agent = repo.agent(f"echo $i >> {log}; sleep 2; echo $((40 - $i)) > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "2")
    wait_until(lambda: agent_runs(log) == ["1"], "the first agent")
    if what == "supervisor":
        os.kill(_supervisor(loops), signal.SIGKILL)
    else:
        kill(loops, what)
    status = loops.finished(loop)
    assert agent_runs(log) == ["1", "2"]
    assert status["best"]["score"] == 38


def _supervisor(loops: Loops) -> int:
    return int(loops.do("doctor")["supervisor"]["pid"])


def test_down_says_which_loops_wait_and_which_agents_go_on_and_up_goes_on_with_them(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    log = repo.folder.parent / "log"
    agent = repo.agent(f"echo $i >> {log}; sleep 3; echo $((40 - $i)) > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "1")
    wait_until(lambda: agent_runs(log) == ["1"], "the agent")
    down = loops.beatctl("down", cwd=repo.folder, expect=0)
    assert loop in down.stdout + down.stderr
    assert loops.status(loop)["state"] == "running"
    loops.beatctl("up", "-d", cwd=repo.folder, expect=0)
    status = loops.finished(loop)
    assert agent_runs(log) == ["1"]
    assert status["best"]["score"] == 39
    assert loops.rows(loop)[1]["agent"]["adopted"] is True


def test_a_long_loop_continues_as_new_and_loses_no_row(own_loops: Loops) -> None:
    loops = own_loops
    loops.beatctl.environ["BEATCTL_CONTINUE_AS_NEW_EVENTS"] = "60"
    agent = loops.repository.agent("echo $(($(cat n) - 1)) > n")
    status = loops.start("lower n", *MINIMIZE, "-a", agent, "-n", "20", expect=0)
    assert status["best"]["score"] == 30
    assert [row["iteration"] for row in loops.rows(status["id"])] == list(range(21))
    wait_until(lambda: len(chain(loops, status["id"])) >= 3, "three runs of the chain")
    runs = chain(loops, status["id"])
    assert max(length for length, _ in runs) < 200
    wait_until(lambda: len(chain(loops, status["id"], "finished")) == 1, "one finished run in the server's list")
    assert chain(loops, status["id"], "running") == []


def chain(loops: Loops, loop: str, state: str = "") -> list[tuple[int, Any]]:
    """History length and status of each run of a loop's chain (of those in one state), from the server."""
    import asyncio

    from temporalio.client import Client

    address = loops.do("doctor")["server"]["address"]

    async def look() -> list[tuple[int, Any]]:
        client = await Client.connect(address)
        query = f"WorkflowId = 'beatctl-{loop}'" + (f" and BeatctlState = '{state}'" if state else "")
        return [(run.history_length or 0, run.status) async for run in client.list_workflows(query)]

    return asyncio.run(look())


def test_a_loop_is_found_by_state_outcome_agent_and_folder_and_its_history_replays(own_loops: Loops) -> None:
    import asyncio

    from temporalio.client import Client
    from temporalio.worker import Replayer

    from beatctl.worker.data_converter import data_converter
    from beatctl.workflows.loop import LoopWorkflow

    loops = own_loops
    agent = loops.repository.agent("echo $(($(cat n) - 1)) > n")
    status = loops.start("lower n", *MINIMIZE, "-a", agent, "-n", "3", expect=0)
    address = loops.do("doctor")["server"]["address"]
    folder = str(loops.repository.folder)
    query = (
        "BeatctlState = 'finished' and BeatctlOutcome = 'improved' and BeatctlAgent = 'agent.sh' "
        f"and BeatctlFolder = '{folder}' and BeatctlStrategy = 'optimize'"
    )

    async def look() -> list[str]:
        client = await Client.connect(address, data_converter=data_converter)
        found = [run.id async for run in client.list_workflows(query)]
        if found:
            history = await client.get_workflow_handle(found[0]).fetch_history()
            labels = [
                event.user_metadata.summary.data.decode()
                for event in history.events
                if event.HasField("activity_task_scheduled_event_attributes")
            ]
            assert '"#2 agent.sh"' in labels
            assert '"#2 evaluator"' in labels
            await Replayer(workflows=[LoopWorkflow], data_converter=data_converter).replay_workflow(history)
        return found

    assert wait_until(lambda: asyncio.run(look()), "the loop in the server's list") == [f"beatctl-{status['id']}"]
