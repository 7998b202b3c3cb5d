"""A request at an unlucky moment, and work done twice: nothing is lost, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

from beatctl.activities.processes import Try
from tests.loops.conftest import Loops
from tests.support import wait_until

MINIMIZE = ("--eval", "cat n", "--minimize")


def test_a_cancel_that_comes_while_something_quick_runs_is_not_forgotten(loops: Loops) -> None:
    agent = loops.repository.agent("echo $(($(cat n) - 1)) > n")
    slow = ("--eval", "sleep 0.8; cat n", "--minimize")
    loop = loops.detached("lower n", *slow, "-a", agent, "--max-iterations", "0")
    loops.until(loop, "the first row", lambda s: s["iteration"] >= 1)
    status = loops.do("cancel", loop)
    assert (status["state"], status["outcome"]) == ("finished", "cancelled")
    rows = loops.rows(loop)
    assert [row["verdict"] for row in rows[:2]] == ["baseline", "keep"]
    assert all(row["snapshot"] for row in rows)
    assert loops.repository.read("n").strip() == str(int(status["best"]["score"]))


def test_edits_between_a_pipelines_steps_are_taken_in_and_the_loop_goes_on(loops: Loops) -> None:
    repo = loops.repository
    script = repo.folder.parent / "agent.sh"
    hide = f"[ -e ../hidden ] || {{ touch ../hidden; mv {script} {script}.gone; }}"
    agent = repo.agent(f"[ $BEATCTL_STEP = 1 ] && {{ {hide}; echo step > step; }}; echo $((40 - $i)) > n")
    loop = loops.detached("--step", "one", "--step", "two", *MINIMIZE, "-a", agent, "-n", "2")
    paused = loops.until(loop, "the pause", lambda s: s["state"] == "paused")
    assert paused["reason"] == "agent-gone"
    script.with_name("agent.sh.gone").rename(script)
    repo.write("mine.txt", "mine\n")
    loops.do("resume", loop)
    status = loops.finished(loop)
    rows = loops.rows(loop)
    assert [row["verdict"] for row in rows] == ["baseline", "inconclusive", "keep", "keep"]
    assert repo.read("mine.txt") == "mine\n"
    assert status["best"]["iteration"] == 3
    assert repo.git("rev-parse", f"refs/beatctl/{loop}/1-step1") == rows[1]["snapshot"]


def test_edits_that_gave_no_score_are_still_there_after_stop(loops: Loops) -> None:
    repo = loops.repository
    began, gate = repo.folder.parent / "began", repo.folder.parent / "gate"
    agent = repo.agent(f"touch {began}; while [ ! -e {gate} ]; do sleep 0.02; done; echo 40 > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent)
    wait_until(began.exists, "the first agent")
    loops.do("pause", loop)
    gate.touch()
    loops.until(loop, "the pause", lambda s: s["state"] == "paused")
    repo.write("n", "half an idea\n")
    loops.do("resume", loop)
    loops.until(loop, "the second pause", lambda s: s["reason"] == "evaluator-broken")
    loops.do("stop", loop)
    status = loops.finished(loop)
    assert repo.read("n") == "half an idea\n"
    assert (status["best"]["iteration"], status["best"]["score"]) == (1, 40)
    assert repo.git("show", f"refs/beatctl/{loop}/1:n") == "40"


def test_edits_that_are_kept_count_as_a_keep_and_as_no_iteration(loops: Loops) -> None:
    repo = loops.repository
    gate = repo.folder.parent / "gate"
    agent = repo.agent(f"while [ ! -e {gate} ]; do sleep 0.02; done; echo $((90 + $i)) > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "--plateau", "2")
    loops.do("pause", loop)
    gate.touch()
    loops.until(loop, "the pause", lambda s: s["state"] == "paused")
    repo.write("n", "7\n")
    loops.do("resume", loop)
    status = loops.finished(loop)
    rows = loops.rows(loop)
    assert [row["verdict"] for row in rows] == ["baseline", "discard", "keep", "discard", "discard"]
    assert (status["reason"], status["outcome"], repo.read("n")) == ("plateau", "improved", "7\n")
    prompt = (Path(rows[3]["logs"]) / "agent.prompt.md").read_text()
    assert "This is iteration 3 of at most 11." in prompt


def test_half_an_emoji_and_a_branch_that_is_not_utf8_stop_no_loop(loops: Loops) -> None:
    repo = loops.repository
    said = json.dumps({"type": "result", "subtype": "success", "is_error": False, "result": "cut \ud83d"})
    agent = "#!/bin/sh\n[ $1 = --version ] && exit\n"
    agent += f"git branch \"$(printf 'caf\\351')\"\necho 40 > n\ncat <<'E'\n{said}\nE\n"
    program = repo.folder.parent / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(agent)
    program.chmod(0o755)
    env = {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    evaluator = """printf '{"score": %s, "metrics": {"\\\\ud83d": 1}}' $(cat n)"""
    words = ("lower n", "--eval", evaluator, "--minimize", "-a", "claude", "-n", "1")
    status = loops.start(*words, expect=0, env=env)
    row = loops.rows(status["id"])[1]
    assert (row["verdict"], row["score"], row["summary"], row["metrics"]) == ("keep", 40, "cut ?", {"?": 1})
    assert "branch caf" in row["reason"]
    assert repo.git("branch", "--list", "caf*") == ""


def test_what_an_agent_committed_is_undone_also_after_a_pause_before_its_snapshot(loops: Loops) -> None:
    repo = loops.repository
    head = repo.git("rev-parse", "HEAD")
    away = repo.folder.with_name("away")
    commit = "echo 40 > n; git -c user.name=a -c user.email=a@b commit -qam mine"
    agent = repo.agent(f"{commit}; cd /; mv {repo.folder} {away}")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "1")

    paused = loops.beatctl.until(loop, "the pause", lambda s: s["state"] == "paused", cwd=Path("/"))
    assert paused["reason"] == "folder-gone"
    away.rename(repo.folder)
    loops.do("resume", loop)
    assert loops.finished(loop)["best"]["score"] == 40
    assert repo.git("rev-parse", "HEAD") == head
    assert repo.git("status", "-s") == "M n"


def test_each_lost_try_is_kept_under_a_name_of_its_own_and_counted(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    agent = repo.agent(
        "echo x >> ../tries; wc -l < ../tries > junk; [ $(wc -l < ../tries) = 3 ] || sleep 328; echo 40 > n"
    )
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "1")
    run = loops.beatctl.home / "loops" / loop / "runs" / "1" / "agent"
    for number in (1, 2):
        wait_until(lambda n=number: (repo.folder / "junk").exists() and _text(repo.folder / "junk") == f"{n}\n", "junk")  # type: ignore[misc]
        if number == 2:
            os.kill(int(loops.do("doctor")["worker"]["pid"]), signal.SIGKILL)
        os.kill(Try(run, number).record()[0]["shim_pid"], signal.SIGKILL)
    loops.finished(loop)
    assert {"1-lost1", "1-lost2"} <= repo.refs(loop)
    assert [repo.git("show", f"refs/beatctl/{loop}/1-lost{n}:junk") for n in (1, 2)] == ["1", "2"]
    assert loops.rows(loop)[1]["agent"]["lost"] == 2


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def test_a_worker_killed_in_any_activity_is_noticed_within_seconds(loops: Loops) -> None:
    agent = loops.repository.agent("echo 40 > n")
    status = loops.start("lower n", *MINIMIZE, "--check", "true", "-a", agent, "-n", "1", expect=0)

    async def look() -> dict[str, float]:
        client = await loops.beatctl.client()
        history = await client.get_workflow_handle(f"beatctl-{status['id']}").fetch_history()
        found = [event.activity_task_scheduled_event_attributes for event in history.events]
        return {a.activity_type.name: a.heartbeat_timeout.ToTimedelta().total_seconds() for a in found if a.activity_id}

    limits = asyncio.run(look())
    assert set(limits) == {"open_workspace", "run_agent", "run_evaluator"}
    assert all(0 < limit <= 10 for limit in limits.values())
