"""Going on with a loop that has ended: nothing it had is lost, and nothing of the user's is overwritten."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
from temporalio.worker import Replayer

from beatctl.workflows.loop import LoopWorkflow
from tests.loops.conftest import Loops
from tests.support import wait_until

MINIMIZE = ("--eval", "cat n", "--minimize")
STEP = "echo $(($(cat n) - 1)) > n"


def verdicts(loops: Loops, loop: str) -> list[tuple[int, str, float | None]]:
    return [(row["iteration"], row["verdict"], row["score"]) for row in loops.rows(loop)]


def go_on(loops: Loops, loop: str, *words: str, expect: int = 0) -> Any:
    """`beatctl resume LOOP WORDS` to the loop's next end."""
    done = loops.beatctl("resume", loop, *words, "--json", cwd=loops.repository.folder, expect=expect)
    return {**done.json, "said": done.stderr}


def test_a_finished_loop_goes_on_from_its_best_with_all_it_had(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    loops.beatctl.environ["BEATCTL_CONTINUE_AS_NEW_EVENTS"] = "40"
    told = """echo '{"result": "did it", "total_cost_usd": 0.5}'"""
    agent = repo.agent(f"{STEP}; [ $i = 3 ] && exit 1; env > ../seen; {told}")
    first = loops.start("lower n", *MINIMIZE, "-a", agent, "-n", "3", "--cooldown", "10", expect=0)
    loop = first["id"]
    assert (first["best"]["score"], first["failures"], first["reason"]) == (48, 1, "max-iterations")
    environment = loops.beatctl.home / "loops" / loop / "environment.json"
    assert not environment.exists()

    # It is in the folder again, with what this shell has in its environment.
    gate = repo.folder.parent / "gate"
    repo.agent(f"while [ ! -e {gate} ]; do sleep 0.02; done; {STEP}; env > ../seen")
    shell = {"MY_API_KEY": "n3w"}
    going = loops.beatctl("resume", loop, "-n", "+9", "-d", "--json", cwd=repo.folder, expect=0, env=shell)
    assert "goes on   from its best, 48 #2, after 3 iterations" in going.stderr
    assert (going.json["id"], going.json["state"], going.json["outcome"], going.json["limits"]["max_iterations"]) == (
        *(loop, "running", None),
        12,
    )
    assert loops.status(loop)["best"] == first["best"]
    again = loops.beatctl("resume", loop, cwd=repo.folder, expect=0)
    assert again.stdout == f"{loop} is running: nothing to resume.\n"
    refused = loops.beatctl("resume", loop, "-n", "+1", cwd=repo.folder)
    assert (refused.exit_code, f"beatctl set {loop}" in refused.stderr) == (2, True)
    refused = loops.beatctl("start", "x", *MINIMIZE, "-a", agent, cwd=repo.folder)
    assert f"Loop {loop} is using this folder" in refused.stderr
    noted = loops.do("note", loop, "down to zero")
    assert len(noted["notes"]) == 1
    gate.touch()

    status = loops.finished(loop)
    assert (status["best"]["score"], status["baseline"], status["failures"]) == (39, first["baseline"], 0)
    assert (status["started_at"], status["kept"]) == (first["started_at"], 11)
    rows = verdicts(loops, loop)
    assert rows[:4] == [(0, "baseline", 50), (1, "keep", 49), (2, "keep", 48), (3, "crash", None)]
    assert rows[4:] == [(number, "keep", 51 - number) for number in range(4, 13)]
    assert "MY_API_KEY=n3w" in (repo.folder.parent / "seen").read_text()
    assert not environment.exists()
    assert repo.read("n") == "39\n"
    assert repo.git("status", "-s") == "M n"

    # Once more, with the notes it had; and every run of it replays.
    status = go_on(loops, loop, "-n", "13")
    assert "12 keep" in status["said"]
    assert "#12 " not in status["said"]
    prompt = Path(loops.rows(loop)[13]["logs"]) / "agent.prompt.md"
    assert "- down to zero" in prompt.read_text()
    asyncio.run(replay(loops, loop, runs=4))


async def replay(loops: Loops, loop: str, runs: int) -> None:
    client = await loops.beatctl.client()
    found = [run async for run in client.list_workflows(f"WorkflowId = 'beatctl-{loop}'")]
    assert len(found) >= runs
    for run in found:
        history = await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
        await Replayer(workflows=[LoopWorkflow], data_converter=client.data_converter).replay_workflow(history)


def test_what_the_user_did_since_the_end_is_taken_in_or_left_alone(loops: Loops) -> None:
    repo = loops.repository
    agent = repo.agent(STEP)
    loop = loops.start("lower n", *MINIMIZE, "-a", agent, "-n", "2", expect=0)["id"]

    # Committed and edited: a row of its own, the commit stays.
    repo.git("commit", "-qam", "the best so far")
    head = repo.git("rev-parse", "HEAD")
    repo.write("n", "20\n")
    repo.write("mine.txt", "mine\n")
    status = go_on(loops, loop, "-n", "+1")
    assert "with your edits (mine.txt, n): they become a row of their own" in status["said"]
    assert verdicts(loops, loop)[3:] == [(3, "keep", 20), (4, "keep", 19)]
    assert loops.rows(loop)[3]["agent"] is None
    assert (repo.git("rev-parse", "HEAD"), repo.read("mine.txt"), repo.read("n")) == (head, "mine\n", "19\n")
    assert status["limits"]["max_iterations"] == 3  # rows of edits are no iterations

    # Undone: the best is put back, and it is said.
    loops.do("undo", loop)
    assert (repo.read("n"), (repo.folder / "mine.txt").exists()) == ("50\n", False)
    status = go_on(loops, loop, "-n", "+1")
    assert "from its best, 19 #4: it is put back" in status["said"]
    assert (verdicts(loops, loop)[5:], repo.read("mine.txt")) == ([(5, "keep", 18)], "mine\n")

    # The files from before the loop, put there by other means.
    repo.write("n", "50\n")
    (repo.folder / "mine.txt").unlink()
    status = go_on(loops, loop, "-n", "+1")
    assert "it is put back" in status["said"]
    assert (status["best"]["score"], repo.read("n")) == (17, "17\n")

    # Edited after an undo: the best would overwrite that, so nothing is done.
    loops.do("undo", loop)
    repo.write("n", "7\n")
    before = loops.status(loop)
    refused = loops.beatctl("resume", loop, "-n", "+1", cwd=repo.folder)
    assert (refused.exit_code, f"beatctl undo {loop} keeps a copy" in refused.stderr) == (2, True)
    assert (loops.status(loop), repo.read("n")) == (before, "7\n")
    loops.do("undo", loop)
    assert go_on(loops, loop, "-n", "+1")["best"]["score"] == 16
    held = [repo.git("show", f"refs/beatctl/{loop}/{ref}:n") for ref in repo.refs(loop) if ref.startswith("undone")]
    assert "7" in held

    # Another loop has the folder.
    other = loops.detached("lower n", *MINIMIZE, "-a", repo.agent("sleep 331"))
    refused = loops.beatctl("resume", loop, "-n", "+1", cwd=repo.folder)
    assert (refused.exit_code, f"Loop {other} is using this folder" in refused.stderr) == (2, True)
    loops.do("cancel", other)


@pytest.mark.own_server("its server's database is deleted")
def test_a_loop_goes_on_without_the_servers_database_and_stays_finished_without_a_server(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    agent = repo.agent(STEP)
    loop = loops.start("lower n", *MINIMIZE, "-a", agent, "-n", "2", expect=0)["id"]
    loops.beatctl("down", cwd=repo.folder, expect=0)
    before = loops.status(loop)

    broken = {"BEATCTL_TEMPORAL_CLI": "/nowhere/temporal"}
    failed = loops.beatctl("resume", loop, "-n", "+1", cwd=repo.folder, env=broken)
    assert failed.exit_code == 3, failed
    assert {**loops.status(loop), "version": 0} == {**before, "version": 0}
    assert not list((loops.beatctl.home / "owners").glob("*.json"))

    forget(loops)
    status = go_on(loops, loop, "-n", "+2")
    assert (status["best"]["score"], len(loops.rows(loop))) == (46, 5)

    # It was lost while the loop had not ended, and an agent of it ran.
    repo.agent("echo 1 > n; sleep 333")
    loops.beatctl("resume", loop, "-n", "+9", "-d", cwd=repo.folder, expect=0)
    wait_until(lambda: repo.read("n") == "1\n", "the agent")
    loops.beatctl("down", "--force", cwd=repo.folder, expect=0)
    forget(loops)
    loops.beatctl("up", "-d", cwd=repo.folder, expect=0)
    lost = loops.beatctl("stop", loop, cwd=repo.folder, expect=1)
    assert f"beatctl cancel {loop}, and beatctl resume {loop} goes on with it" in lost.stderr
    assert loops.do("cancel", loop)["outcome"] == "cancelled"
    assert repo.read("n") == "46\n"
    repo.agent(STEP)
    status = go_on(loops, loop, "-n", "6")
    # What the cancel interrupted has a row, as with a server.
    assert verdicts(loops, loop)[4:] == [(4, "keep", 46), (5, "crash", None), (6, "keep", 45)]


def forget(loops: Loops) -> None:
    """Delete what the Temporal server knows."""
    databases = [path for path in loops.beatctl.home.rglob("*.db*") if not path.name.startswith("ledger")]
    assert databases
    for path in databases:
        path.unlink()


def test_a_cancelled_loop_goes_on_and_each_interrupted_run_is_kept(loops: Loops) -> None:
    repo = loops.repository
    half = repo.folder / "half"
    agent = repo.agent("echo half-$i > half; sleep 332")

    def interrupted(number: int) -> None:
        assert not half.exists()
        assert repo.git("show", f"refs/beatctl/{loop}/{number}:half") == f"half-{number}"

    loop = loops.detached("lower n", *MINIMIZE, "-a", agent)
    wait_until(half.exists, "the first agent")
    assert loops.do("cancel", loop)["outcome"] == "cancelled"
    interrupted(1)
    assert loops.do("resume", loop, "-d")["state"] == "running"
    wait_until(half.exists, "the second agent")
    loops.do("cancel", loop)
    interrupted(2)
    process = loops.beatctl.popen("resume", loop, cwd=repo.folder, env={"CI": "true"})
    wait_until(half.exists, "the third agent")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 4
    interrupted(3)
    assert [row["verdict"] for row in loops.rows(loop)] == ["baseline", "crash", "crash", "crash"]


def test_a_retry_goes_on_from_its_last_try_until_it_passes_and_then_is_done(loops: Loops) -> None:
    repo = loops.repository
    repo.write("tries", "")
    agent = repo.agent("echo x >> tries")
    enough = "test $(wc -l < tries) -ge 4"
    loop = loops.start("fix it", "--until", enough, "-a", agent, "-n", "2", expect=1)["id"]
    assert repo.read("tries") == "x\nx\n"
    failed = go_on(loops, loop, "-n", "+1", expect=1)
    assert "goes on   from the files as they are" in failed["said"]
    assert [row["verdict"] for row in loops.rows(loop)] == ["baseline", "fail", "fail", "fail"]
    assert loops.rows(loop)[3]["parent"] == 2
    loops.do("undo", loop)
    repo.write("tries", "x\nx\nx\n")
    passed = go_on(loops, loop, "-n", "+3")
    assert [row["verdict"] for row in loops.rows(loop)][4:] == ["fail", "pass"]
    assert (passed["outcome"], passed["best"]["iteration"]) == ("reached", 5)
    refused = loops.beatctl("resume", loop, "-n", "+3", cwd=repo.folder)
    assert (refused.exit_code, f"Loop {loop} passed in #5: it is done." in refused.stderr) == (2, True)


def test_what_makes_no_sense_is_refused_in_words_and_changes_nothing(loops: Loops) -> None:
    repo = loops.repository
    agent = repo.agent(STEP)
    loop = loops.start("lower n", *MINIMIZE, "-a", agent, "--target", "49", "-n", "5", expect=0)["id"]
    before = loops.status(loop)
    script = repo.folder.parent / "agent.sh"
    for words, code, problem in (
        ((), 2, "has reached its target 49 with 49. Name another, or none"),
        (("--target", "60"), 2, "has reached its target 60 with 49"),
        (
            ("--target", "none", "-n", "1"),
            2,
            f"has done 1 iterations, and 1 are allowed. Allow more: beatctl resume {loop}",
        ),
        (("-n", "+0"), 2, "must be at least 1"),
        (("-n", "+x"), 2, "takes a whole number"),
        (("--for", "8"), 2, "needs a unit"),
        (("-d", "--foreground", "--target", "1"), 2, "give one of them"),
    ):
        done = loops.beatctl("resume", loop, *words, cwd=repo.folder)
        assert (done.exit_code, problem in done.stderr, "Traceback" in done.stderr) == (code, True, False), done
    script.rename(script.with_name("away"))
    gone = loops.beatctl("resume", loop, "--target", "40", cwd=repo.folder)
    assert (gone.exit_code, "agent.sh" in gone.stderr) == (3, True), gone
    script.with_name("away").rename(script)
    assert loops.status(loop) == before

    assert go_on(loops, loop, "--target", "48")["reason"] == "target"
    status = go_on(loops, loop, "--target", "none", "--for", "1ms", "-n", "0", expect=0)
    assert status["reason"] == "max-duration"
    refused = loops.beatctl("resume", loop, cwd=repo.folder)
    assert (refused.exit_code, "has used up its time" in refused.stderr) == (2, True)
    status = go_on(loops, loop, "-n", "+1")
    assert (status["reason"], status["limits"]["for_s"]) == ("max-iterations", 0)
    status = go_on(loops, loop, "--for", "1ms", expect=0)
    assert (status["reason"], status["limits"]["max_iterations"]) == ("max-duration", 0)

    broken = loops.start("lower n", "--eval", "echo no", "--minimize", "-a", agent, expect=3)["id"]
    refused = loops.beatctl("resume", broken, "-n", "+3", cwd=repo.folder)
    assert (refused.exit_code, "ended before it had a baseline" in refused.stderr) == (2, True)
    held = repo.git("for-each-ref", "--format=%(refname)", f"refs/beatctl/{loop}").splitlines()
    for ref in held:
        repo.git("update-ref", "-d", ref)
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "-q", "--prune=now")
    refused = loops.beatctl("resume", loop, "--for", "1m", cwd=repo.folder)
    assert (refused.exit_code, "can't go on from" in refused.stderr) == (1, True), refused
    assert repo.refs(loop) == set()


def test_a_paused_loop_takes_new_limits_with_resume(loops: Loops) -> None:
    repo = loops.repository
    gate = repo.folder.parent / "gate"
    agent = repo.agent(f"while [ ! -e {gate} ]; do sleep 0.02; done; {STEP}")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "3")
    loops.do("pause", loop)
    gate.touch()
    loops.until(loop, "the pause", lambda s: s["state"] == "paused")
    done = loops.beatctl("resume", loop, "-n", "+1", "--target", "47", cwd=repo.folder, expect=0)
    assert done.stdout == f"{loop} goes on.\n"
    assert f"{loop}: iterations 3 → 4, target none → 47" in done.stderr
    status = loops.finished(loop)
    assert (status["reason"], status["limits"]["max_iterations"]) == ("target", 4)
