"""A worker that hangs (SIGSTOP) and comes back (SIGCONT) finds its loop elsewhere, and writes nothing into it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from beatctl.worker import heartbeat
from tests.faults.machine import MINIMIZE, agent_runs, is_stopped, pid_of, second_worker
from tests.loops.conftest import Loops
from tests.support import wait_until


@pytest.mark.parametrize("moment", ["before:conclude_iteration", "before:snapshot_workspace"])
def test_a_worker_that_was_stopped_and_goes_on_writes_nothing_into_a_loop_another_has_taken_over(
    own_loops: Loops, moment: str
) -> None:
    loops, repo = own_loops, own_loops.repository
    log, once = repo.folder.parent / "log", repo.folder.parent / "fired"
    loops.beatctl(
        "up",
        "-d",
        cwd=repo.folder,
        env={"BEATCTL_FAULT": f"{moment}=STOP@{once}", "BEATCTL_HUNG_AFTER_S": "0"},
        expect=0,
    )
    agent = repo.agent(f"echo $i >> {log}; echo $(($(cat n) - 1)) > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "2")
    worker = pid_of(loops, "worker")
    wait_until(lambda: once.exists() and is_stopped(worker), "the worker to hang")
    second_worker(loops)
    status = loops.finished(loop, timeout_s=200)  # the server gives tasks to the stopped worker, too, until it learns
    assert (status["best"]["score"], agent_runs(log)) == (48, ["1", "2"])
    rows, refs = loops.rows(loop), repo.git("for-each-ref", "refs/beatctl")
    assert [row["verdict"] for row in rows] == ["baseline", "keep", "keep"]

    os.kill(worker, signal.SIGCONT)
    worker_log = loops.beatctl.home / "logs" / "worker.log"
    wait_until(lambda: "was overtaken by step" in worker_log.read_text(), "the hung worker's step to be refused")
    assert repo.read("n") == "48\n"
    assert loops.rows(loop) == rows
    assert repo.git("for-each-ref", "refs/beatctl") == refs
    assert agent_runs(log) == ["1", "2"]
    # It works again for whatever comes next.
    assert loops.start("lower n", *MINIMIZE, "-a", agent, "-n", "1", expect=0)["best"]["score"] == 47


def test_a_worker_that_hangs_for_good_is_replaced_and_its_loop_goes_on(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    log, once = repo.folder.parent / "log", repo.folder.parent / "fired"
    env = {"BEATCTL_FAULT": f"child:before-new=STOP@{once}", "BEATCTL_HUNG_AFTER_S": "3"}
    loops.beatctl("up", "-d", cwd=repo.folder, env=env, expect=0)
    agent = repo.agent(f"echo $i >> {log}; echo $(($(cat n) - 1)) > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "2")
    status = loops.finished(loop)
    assert once.exists()
    assert (status["best"]["score"], agent_runs(log)) == (48, ["1", "2"])
    assert "hangs; another takes its place" in (loops.beatctl.home / "logs" / "supervisor.log").read_text()


def test_a_machine_that_slept_or_a_worker_that_is_slow_is_not_taken_for_one_that_hangs(place: Path) -> None:
    watch = heartbeat.Watch(place, 60.0)
    heartbeat.beat(place, 1)
    looks = [watch.finds_hung(1, at) for at in (0, 1, 10, 9000, 9001, 9010, 9020, 9030)]
    assert not any(looks)  # one look more after whatever time
    assert watch.finds_hung(1, 9040)
    os.utime(heartbeat.file_of(place, 1), (0, 0))
    assert not watch.finds_hung(1, 9050)
    assert not watch.finds_hung(2, 9060)  # a worker that has never beaten is still starting
