"""A worker that hangs (SIGSTOP) and comes back (SIGCONT) finds its loop elsewhere, and writes nothing into it."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.machine import MINIMIZE, agent_runs, is_stopped, pid_of, second_worker
from tests.loops.conftest import Loops
from tests.support import wait_until


@pytest.mark.parametrize("moment", ["before:conclude_iteration", "before:snapshot_workspace", "child:before-new"])
def test_a_worker_that_was_stopped_and_goes_on_writes_nothing_into_a_loop_another_has_taken_over(
    own_loops: Loops, moment: str
) -> None:
    loops, repo = own_loops, own_loops.repository
    log, once = repo.folder.parent / "log", repo.folder.parent / "fired"
    loops.beatctl("up", "-d", cwd=repo.folder, env={"BEATCTL_FAULT": f"{moment}=STOP@{once}"}, expect=0)
    agent = repo.agent(f"echo $i >> {log}; echo $(($(cat n) - 1)) > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "2")
    worker = pid_of(loops, "worker")
    wait_until(lambda: once.exists() and is_stopped(worker), "the worker to hang")
    second_worker(loops)
    status = loops.finished(loop, timeout_s=300)  # the server gives tasks to the stopped worker, too, until it learns
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
