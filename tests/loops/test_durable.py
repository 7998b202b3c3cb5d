"""Shims and workers die at any edge, loops outlive `down` and long histories: nothing runs twice, no row is lost."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from beatctl.activities.run_files import TryFiles
from tests.faults.machine import MINIMIZE, agent_runs, pid_of
from tests.loops.conftest import Loops
from tests.support import wait_until


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


def test_down_says_which_loops_wait_and_which_agents_go_on_and_up_goes_on_with_them(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    log, gate = repo.folder.parent / "log", repo.folder.parent / "gate"
    agent = repo.agent(f"echo $i >> {log}; while [ ! -e {gate} ]; do sleep 0.05; done; echo $((40 - $i)) > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "1")
    wait_until(lambda: agent_runs(log) == ["1"], "the agent")
    down = loops.beatctl("down", cwd=repo.folder, expect=0)
    assert loop in down.stdout + down.stderr
    assert loops.status(loop)["state"] == "running"
    loops.beatctl("up", "-d", cwd=repo.folder, expect=0)
    gate.touch()
    status = loops.finished(loop)
    assert agent_runs(log) == ["1"]
    assert status["best"]["score"] == 39
    assert loops.rows(loop)[1]["agent"]["adopted"] is True


@pytest.mark.parametrize("pauses", [True, False])
def test_after_down_a_look_brings_nothing_back_and_resume_does(own_loops: Loops, pauses: bool) -> None:
    loops, repo = own_loops, own_loops.repository
    log, go = repo.folder.parent / "log", repo.folder.parent / "go"
    agent = repo.agent(f"echo $i >> {log}; until [ -e {go} ]; do sleep 0.1; done; echo 7 > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "1" if not pauses else "2")
    wait_until(lambda: agent_runs(log) == ["1"], "the agent")
    if pauses:
        loops.do("pause", loop)
        go.touch()
        loops.until(loop, "the pause", lambda status: status["state"] == "paused")
    said = loops.beatctl("down", cwd=repo.folder, expect=0).stdout
    assert said.startswith("Server and worker are down.\n")
    assert ("Goes on: " in said) is not pauses
    for words in (("status", loop), ("list",), ("show", loop), ("doctor",), ()):
        loops.beatctl(*words, cwd=repo.folder, expect=0)
        assert loops.do("doctor")["supervisor"] is None
    refused = loops.beatctl("note", loop, "try 6", cwd=repo.folder, expect=3).stderr
    assert "beatctl was shut down (beatctl down)" in refused
    assert f"{loop} goes on." in loops.beatctl("resume", loop, cwd=repo.folder, expect=0).stdout
    go.touch()
    loops.finished(loop)
    assert agent_runs(log) == (["1", "2"] if pauses else ["1"])


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

    async def look() -> list[tuple[int, Any]]:
        client = await loops.beatctl.client()
        query = f"WorkflowId = 'beatctl-{loop}'" + (f" and BeatctlState = '{state}'" if state else "")
        return [(run.history_length or 0, run.status) async for run in client.list_workflows(query)]

    return asyncio.run(look())


def test_a_loop_is_found_by_state_outcome_agent_and_folder_and_its_history_replays(own_loops: Loops) -> None:
    import asyncio

    from temporalio.worker import Replayer

    from beatctl.workflows.loop import LoopWorkflow

    loops = own_loops
    agent = loops.repository.agent("echo $(($(cat n) - 1)) > n")
    status = loops.start("lower n", *MINIMIZE, "-a", agent, "-n", "3", expect=0)
    folder = str(loops.repository.folder)
    query = (
        "BeatctlState = 'finished' and BeatctlOutcome = 'improved' and BeatctlAgent = 'agent.sh' "
        f"and BeatctlFolder = '{folder}' and BeatctlStrategy = 'optimize'"
    )

    async def look() -> list[str]:
        client = await loops.beatctl.client()
        found = [run.id async for run in client.list_workflows(query)]
        if found:
            history = await client.get_workflow_handle(found[0]).fetch_history()
            labels = [
                (await client.data_converter.decode([event.user_metadata.summary]))[0]
                for event in history.events
                if event.HasField("activity_task_scheduled_event_attributes")
            ]
            assert "#2 agent.sh" in labels
            assert "#2 evaluator" in labels
            await Replayer(workflows=[LoopWorkflow], data_converter=client.data_converter).replay_workflow(history)
        return found

    assert wait_until(lambda: asyncio.run(look()), "the loop in the server's list") == [f"beatctl-{status['id']}"]
