"""A loop that the ledger has and the server does not: every command says so, and there is a way on."""

from __future__ import annotations

import os
import signal

from tests.faults.machine import MINIMIZE, agent_runs, pid_of
from tests.loops.conftest import Loops, Repository
from tests.support import wait_until


def delete_the_servers_data(loops: Loops) -> None:
    folder = loops.repository.folder
    loops.beatctl("down", cwd=folder, expect=0)
    for file in loops.beatctl.home.glob("temporal.db*"):
        file.unlink()
    loops.beatctl("up", "-d", cwd=folder, expect=0)


def test_with_the_servers_data_deleted_the_loop_says_so_and_resume_goes_on_from_the_ledger(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    log, gate = repo.folder.parent / "log", repo.folder.parent / "gate"
    wait = f"[ $i = 1 ] || while [ ! -e {gate} ]; do sleep 0.05; done"
    agent = repo.agent(f"echo $i >> {log}; {wait}; echo $((40 - $i)) > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "3")
    wait_until(lambda: agent_runs(log) == ["1", "2"], "the second agent")
    delete_the_servers_data(loops)
    lost = loops.until(loop, "the word that the server does not know it", lambda s: s["state"] == "paused")
    assert lost["reason"] == "server-lost"
    assert f"beatctl resume {loop}" in loops.beatctl("status", loop, cwd=repo.folder, expect=0).stdout
    assert loops.do("resume", loop)["state"] == "running"
    gate.touch()
    status = loops.finished(loop)
    assert agent_runs(log) == ["1", "2", "3"]
    rows = loops.rows(loop)
    assert [row["verdict"] for row in rows] == ["baseline", "keep", "keep", "keep"]
    assert [row["agent"]["adopted"] for row in rows[1:]] == [False, True, False]
    assert (status["best"]["score"], repo.read("n")) == (37, "37\n")
    # In the morning the report has it.
    assert [(one["reason"], one["after"], one["until"] is None) for one in status["pauses"]] == [
        ("server-lost", 1, False)
    ]
    assert "paused after #1: server-lost" in loops.beatctl("report", loop, cwd=repo.folder, expect=0).stdout


def test_with_the_servers_data_deleted_before_the_first_score_no_loop_is_taken_for_one_that_never_began(
    own_loops: Loops, environment: dict[str, str]
) -> None:
    loops, repo = own_loops, own_loops.repository
    log, gate = repo.folder.parent / "log", repo.folder.parent / "gate"
    score = f"echo measured >> {log}; while [ ! -e {gate} ]; do sleep 0.05; done; cat n"
    words = ("lower n", "--eval", score, "--minimize", "-a", repo.agent("echo $((40 - $i)) > n"), "-n", "1")
    measured = loops.detached(*words)
    wait_until(lambda: agent_runs(log) == ["measured"], "the baseline's evaluator")
    other = Loops(loops.beatctl, Repository(repo.folder.parent / "other", environment))
    queued = other.detached(*words)  # evaluators run one at a time
    other.until(queued, "its wait for a turn", lambda s: (s["state"], s["reason"]) == ("waiting", "turn"))
    delete_the_servers_data(loops)
    for mine, loop in ((loops, measured), (other, queued)):
        lost = mine.until(
            loop, "the word that the server does not know it", lambda s: s["state"] in ("paused", "finished")
        )
        assert (lost["state"], lost["reason"]) == ("paused", "server-lost")
        mine.do("resume", loop)
    gate.touch()
    for mine, loop in ((loops, measured), (other, queued)):
        status = mine.finished(loop)
        assert (status["outcome"], status["baseline"]["score"], status["best"]["score"]) == ("improved", 50, 39)
        assert [row["verdict"] for row in mine.rows(loop)] == ["baseline", "keep"]


def test_a_start_that_is_killed_before_the_server_has_the_loop_leaves_none_that_says_running_for_ever(
    own_loops: Loops,
) -> None:
    loops, repo = own_loops, own_loops.repository
    agent = repo.agent("echo 40 > n")
    loops.beatctl("up", "-d", cwd=repo.folder, expect=0)
    server = pid_of(loops, "server")
    os.kill(server, signal.SIGSTOP)
    try:
        start = loops.beatctl.popen("start", "lower n", *MINIMIZE, "-a", agent, "-n", "1", cwd=repo.folder)
        found = wait_until(lambda: loops.do("list"), "the loop in the ledger")
        wait_until(lambda: list(loops.beatctl.home.glob("loops/*/environment.json")), "its environment")
        start.kill()
        start.wait()
    finally:
        os.kill(server, signal.SIGCONT)
    status = loops.until(found[0]["id"], "its end", lambda s: s["state"] == "finished")
    assert (status["outcome"], status["detail"][:23]) == ("cancelled", "Its start was cut short")
    assert not list(loops.beatctl.home.glob("loops/*.starting"))
    assert not list(loops.beatctl.home.glob("loops/*/environment.json"))
    assert loops.start("lower n", *MINIMIZE, "-a", agent, "-n", "1", expect=0)["best"]["score"] == 40


def test_a_loop_that_is_cancelled_while_its_baseline_is_measured_has_a_row_of_it(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    seen = repo.folder.parent / "seen"
    loop = loops.detached("lower n", "--eval", f"touch {seen}; sleep 319", "--minimize", "-a", repo.agent("true"))
    wait_until(seen.exists, "the evaluator")
    loops.do("cancel", loop)
    (row,) = loops.rows(loop)
    assert (row["iteration"], row["verdict"], row["score"]) == (0, "baseline", None)
    assert row["snapshot"] == repo.git("rev-parse", f"refs/beatctl/{loop}/0")
