"""A worker that hangs (SIGSTOP) and comes back (SIGCONT) finds its loop elsewhere, and writes nothing into it; worker
and server that hang for good are replaced, and that is told."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from beatctl.worker import heartbeat
from beatctl.worker.run_folder import RunFolder
from beatctl.worker.what_runs import silences_in
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


def test_server_and_worker_that_hang_are_told_wherever_one_looks_and_replaced_and_the_loop_goes_on(
    own_loops: Loops,
) -> None:
    loops, repo = own_loops, own_loops.repository
    loops.beatctl("up", "-d", cwd=repo.folder, env={"BEATCTL_HUNG_AFTER_S": "6"}, expect=0)
    began, gate = repo.folder.parent / "began", repo.folder.parent / "gate"
    agent = repo.agent(f"touch {began}; while [ ! -e {gate} ]; do sleep 0.1; done; echo $(($(cat n) - 1)) > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "2")
    wait_until(began.exists, "the first agent")
    hung = {what: pid_of(loops, what) for what in ("server", "worker")}
    supervisor = pid_of(loops, "supervisor")
    for pid in hung.values():
        os.kill(pid, signal.SIGSTOP)
    gate.touch()
    folder = RunFolder(loops.beatctl.home, "embedded")
    wait_until(lambda: len(silences_in(folder.read_state())) == 2, "the silence to be noticed")
    os.kill(supervisor, signal.SIGSTOP)  # so that looking may take its time
    try:
        for words in (("status", loop), ("list",), ("doctor",)):
            done = loops.beatctl(*words, cwd=repo.folder, expect=0)
            told = " ".join((done.stdout + done.stderr).split())
            for name in ("Temporal server", "worker"):
                assert told.count(f"The {name} has not answered for ") == 1, (words, done)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    for what, pid in hung.items():
        wait_until(lambda what=what, pid=pid: pid_of(loops, what) != pid, f"another {what}")  # type: ignore[misc]
    assert loops.finished(loop)["best"]["score"] == 48
    assert loops.do("doctor")["supervisor"]["silent"] == []
    log = (loops.beatctl.home / "logs" / "supervisor.log").read_text()
    assert f"server {hung['server']} hangs; another takes its place" in log


def test_a_pause_that_is_taken_back_before_a_hung_worker_hears_of_it_pauses_no_night(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    loops.beatctl("up", "-d", cwd=repo.folder, env={"BEATCTL_HUNG_AFTER_S": "0"}, expect=0)
    began, gate = repo.folder.parent / "began", repo.folder.parent / "gate"
    agent = repo.agent(f"touch {began}; while [ ! -e {gate} ]; do sleep 0.1; done; echo $(($(cat n) - 1)) > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "2")
    wait_until(began.exists, "the first agent")
    worker = pid_of(loops, "worker")
    os.kill(worker, signal.SIGSTOP)
    loops.do("pause", loop)
    loops.do("resume", loop)
    gate.touch()
    os.kill(worker, signal.SIGCONT)
    done = loops.until(loop, "its end or a pause", lambda now: now["state"] in ("finished", "paused"), timeout_s=180)
    assert (done["state"], done["best"]["score"]) == ("finished", 48)


def test_a_machine_that_slept_or_a_worker_that_is_slow_is_not_taken_for_one_that_hangs(place: Path) -> None:
    watch = heartbeat.Watch("worker", 60.0, partial(heartbeat.last_beat, place))
    heartbeat.beat(place, 1)
    looks = [watch.finds_hung(1, at) for at in (0, 1, 10, 9000, 9001, 9010, 9020, 9030)]
    assert not any(looks)  # one look more after whatever time
    assert watch.finds_hung(1, 9040)
    assert watch.silence is not None
    os.utime(heartbeat.file_of(place, 1), (0, 0))
    assert not watch.finds_hung(1, 9050)
    assert watch.silence is None
    assert not watch.finds_hung(2, 9060)  # a worker that has never beaten is still starting
