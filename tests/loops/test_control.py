"""Pause, resume, stop, cancel, changed limits, and the user's own edits while a loop waits."""

from __future__ import annotations

import os
import signal

from tests.loops.conftest import Loops
from tests.support import wait_until

MINIMIZE = ("--eval", "cat n", "--minimize")


def pids_of(marker: str) -> list[int]:
    """Processes whose command line has this word."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if marker.encode() in file.read():
                    found.append(int(name))
        except OSError:
            continue
    return found


def test_pause_resume_set_and_stop_show_at_once_and_hold_after_the_iteration(loops: Loops) -> None:
    repo = loops.repository
    began, gate = repo.folder.parent / "began", repo.folder.parent / "gate"
    agent = repo.agent(f"touch {began}; while [ ! -e {gate} ]; do sleep 0.02; done; echo $((50 - $i)) > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "--max-iterations", "0", "--max-unchanged", "0")
    wait_until(began.exists, "the first agent")

    asked = loops.do("pause", loop)
    assert (asked["state"], asked["asked"]) == ("running", "pause")
    gate.touch()
    paused = loops.until(loop, "the pause", lambda s: s["state"] == "paused")
    assert (paused["reason"], paused["asked"]) == ("asked", None)
    assert len(loops.rows(loop)) == paused["iteration"] + 1

    gate.unlink()
    assert loops.do("resume", loop)["state"] == "running"
    changed = loops.do("set", loop, "--max-iterations", "30", "--cooldown", "10")
    assert changed["limits"]["max_iterations"] == 30
    assert loops.status(loop)["limits"]["cooldown_s"] == 0.01

    stopping = loops.do("stop", loop)
    assert (stopping["state"], stopping["asked"]) == ("running", "stop")
    gate.touch()
    status = loops.finished(loop)
    assert (status["outcome"], status["reason"]) == ("improved", "stopped")
    assert repo.read("n").strip() == str(int(status["best"]["score"]))


def test_a_limit_that_makes_no_sense_is_refused_while_the_loop_runs(loops: Loops) -> None:
    agent = loops.repository.agent("sleep 324")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent)
    for words in (("--max-iterations", "-3"), ("--max-iterations", "2.9xyz"), ("--for", "5"), ()):
        done = loops.beatctl("set", loop, *words, cwd=loops.repository.folder)
        assert done.exit_code == 2, done
        assert "Traceback" not in done.stderr
    assert loops.status(loop)["limits"]["max_iterations"] == 10
    loops.do("cancel", loop)


def test_cancel_leaves_no_process_of_the_agent_and_the_best_in_the_tree(loops: Loops) -> None:
    repo = loops.repository
    agent = repo.agent(
        "if [ $i = 1 ]; then echo 40 > n; exit; fi\n"
        "echo ruined > n; echo new > left.txt\n"
        "setsid sh -c 'trap \"\" TERM; exec env -i sleep 98765' & sleep 98765"
    )
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent)
    wait_until(lambda: len(pids_of("98765")) >= 2 and (repo.folder / "left.txt").exists(), "the agent's children")
    status = loops.do("cancel", loop)
    assert (status["state"], status["outcome"], status["reason"]) == ("finished", "cancelled", "cancelled")
    assert pids_of("98765") == []
    assert repo.read("n") == "40\n"
    assert not (repo.folder / "left.txt").exists()
    assert repo.git("show", f"refs/beatctl/{loop}/2:left.txt") == "new"
    rows = loops.rows(loop)
    assert [row["verdict"] for row in rows] == ["baseline", "keep", "crash"]
    assert rows[2]["agent"]["name"] == "agent.sh"  # what it cost is told, too


def test_edits_made_while_the_loop_waits_pause_it_and_are_taken_in_by_resume(loops: Loops) -> None:
    repo = loops.repository
    agent = repo.agent("echo $(($(cat n) - 1)) > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "3", "--cooldown", "1h")
    loops.until(loop, "the first row", lambda s: s["iteration"] == 1)
    repo.write("n", "7\n")
    loops.do("set", loop, "--cooldown", "0")
    paused = loops.until(loop, "the pause", lambda s: s["state"] == "paused")
    assert paused["reason"] == "edited"
    assert "You edited n while" in paused["detail"]
    assert repo.read("n") == "7\n"
    loops.do("resume", loop)
    status = loops.finished(loop)
    rows = loops.rows(loop)
    assert [(row["verdict"], row["score"]) for row in rows[1:3]] == [("keep", 49), ("keep", 7)]
    assert rows[2]["agent"] is None
    assert "your edits: n" in rows[2]["summary"]
    assert (status["iteration"], status["best"]["score"]) == (4, 5)


def test_a_second_loop_in_the_same_folder_is_refused(loops: Loops) -> None:
    agent = loops.repository.agent("sleep 325")
    (loops.repository.folder / "below").mkdir()
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent)
    for folder in (loops.repository.folder, loops.repository.folder / "below"):
        refused = loops.beatctl("start", "x", *MINIMIZE, "-a", agent, cwd=folder)
        assert refused.exit_code == 2
        assert f"Loop {loop} is using this folder" in refused.stderr
    loops.do("cancel", loop)
    again = loops.start("x", *MINIMIZE, "-a", loops.repository.agent("echo 1 > n"), "-n", "1", expect=0)
    assert again["best"]["score"] == 1


def test_an_interrupted_terminal_detaches_and_ci_cancels(loops: Loops) -> None:
    repo = loops.repository
    words = ("start", "lower n", *MINIMIZE, "-a", repo.agent("sleep 326"))

    def live() -> list[str]:
        statuses = [status for status in loops.do("list") if status["directory"] == str(repo.folder)]
        return [status["id"] for status in statuses if status["state"] != "finished"]

    for sent in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process = loops.beatctl.popen(*words, cwd=repo.folder)
        loop = wait_until(live, "the loop")[0]
        wait_until(lambda: pids_of("sleep\x00326"), "the agent")
        process.send_signal(sent)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130, said
        assert f"beatctl cancel {loop}" in said
        assert loops.status(loop)["state"] == "running"
        loops.do("cancel", loop)
    process = loops.beatctl.popen(*words, cwd=repo.folder, env={"CI": "true"})
    wait_until(lambda: pids_of("sleep\x00326"), "the agent")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 4, said
    assert pids_of("sleep\x00326") == []


def test_secrets_of_the_shell_reach_the_agent_and_are_gone_with_the_loop(loops: Loops) -> None:
    repo = loops.repository
    agent = repo.agent('test "$MY_API_KEY" = s3cret && echo $(($(cat n) - 1)) > n; env > ../seen')
    env = {"MY_API_KEY": "s3cret", "CLAUDECODE": "1", "CLAUDE_CODE_ENTRYPOINT": "cli", "GIT_DIR": "/nowhere"}
    status = loops.start("lower n", *MINIMIZE, "-a", agent, "-n", "1", expect=0, env=env)
    seen = (repo.folder.parent / "seen").read_text()
    assert "CLAUDECODE" not in seen
    assert "CLAUDE_CODE_ENTRYPOINT" not in seen
    assert "GIT_DIR" not in seen
    assert status["best"]["score"] == 49
    holders = [p for p in loops.beatctl.home.rglob("*") if p.is_file() and b"s3cret" in p.read_bytes()]
    assert holders == []
