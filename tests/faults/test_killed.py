"""Worker, server and supervisor are killed or replaced; agents, money and ledger rows outlive it."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.machine import MINIMIZE, agent_runs, kill, pid_of
from tests.loops.conftest import Loops
from tests.support import wait_until


@pytest.mark.parametrize(("sent", "exit_code"), [(signal.SIGKILL, 0), (signal.SIGKILL, 7), (signal.SIGTERM, 0)])
def test_a_worker_that_is_killed_or_replaced_costs_no_agent_run(
    own_loops: Loops, sent: signal.Signals, exit_code: int
) -> None:
    loops, repo = own_loops, own_loops.repository
    log, gate = repo.folder.parent / "log", repo.folder.parent / "gate"
    wait = f"while [ ! -e {gate} ]; do sleep 0.05; done"
    agent = repo.agent(f"echo $i >> {log}; {wait}; echo $((40 - $i)) > n; exit {exit_code}")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "2")
    wait_until(lambda: agent_runs(log) == ["1"], "the first agent")
    worker = pid_of(loops, "worker")
    os.kill(worker, sent)
    wait_until(lambda: pid_of(loops, "worker") != worker, "another worker")
    gate.touch()
    status = loops.finished(loop)
    assert agent_runs(log) == ["1", "2"]
    rows = loops.rows(loop)
    assert [row["agent"]["adopted"] for row in rows[1:]] == [True, False]
    assert [row["agent"]["exit_code"] for row in rows[1:]] == [exit_code, exit_code]
    assert [row["verdict"] for row in rows[1:]] == (["crash"] * 2 if exit_code else ["keep"] * 2)
    assert status["best"]["score"] == (50 if exit_code else 38)


@pytest.mark.parametrize("what", ["server", "supervisor"])
def test_a_killed_server_or_supervisor_is_brought_back_and_the_loop_goes_on(own_loops: Loops, what: str) -> None:
    loops, repo = own_loops, own_loops.repository
    log, gate = repo.folder.parent / "log", repo.folder.parent / "gate"
    agent = repo.agent(f"echo $i >> {log}; while [ ! -e {gate} ]; do sleep 0.05; done; echo $((40 - $i)) > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "2")
    wait_until(lambda: agent_runs(log) == ["1"], "the first agent")
    before = pid_of(loops, what)
    kill(loops, what)
    wait_until(lambda: loops.status(loop) and pid_of(loops, what) != before, f"another {what}")
    gate.touch()
    status = loops.finished(loop)
    assert agent_runs(log) == ["1", "2"]
    assert status["best"]["score"] == 38
