"""What went wrong is mended, or was forgotten by the server: the loop goes on, and what has ended stays so."""

from __future__ import annotations

import asyncio
import sqlite3

from beatctl.activities.workspace.files import locked
from beatctl.cli.loops import Loops as Cli
from beatctl.cli.starting import start_workflow
from beatctl.workflows.spec import LoopSpec
from beatctl.workflows.state import LoopInput
from tests.faults.machine import MINIMIZE, agent_runs, copy_of, cut_the_power, put_back
from tests.loops.conftest import Loops
from tests.support import wait_until


def test_what_failed_four_times_goes_on_with_resume_once_it_is_mended(loops: Loops) -> None:
    repo = loops.repository
    log, gate = repo.folder.parent / "log", repo.folder.parent / "gate"
    wait = f"while [ ! -e {gate} ]; do sleep 0.05; done"
    loop = loops.detached("lower n", *MINIMIZE, "-a", repo.agent(f"echo $i >> {log}; {wait}; echo 40 > n"), "-n", "2")
    wait_until(lambda: agent_runs(log) == ["1"], "the first agent")
    in_the_way = loops.beatctl.home / "loops" / loop / "runs" / "2"
    in_the_way.write_text("no folder")
    gate.touch()
    loops.until(loop, "the pause", lambda s: (s["state"], s["reason"]) == ("paused", "workspace"))
    in_the_way.unlink()
    loops.do("resume", loop)
    status = loops.until(loop, "the end, or another pause", lambda s: s["state"] in ("paused", "finished"))
    assert (status["state"], status["reason"]) == ("finished", "max-iterations"), status["detail"]
    assert agent_runs(log) == ["1", "2"]


def test_a_baseline_whose_row_could_not_be_written_is_counted_once_and_keeps_its_score(loops: Loops) -> None:
    repo = loops.repository
    seen, gate = repo.folder.parent / "seen", repo.folder.parent / "gate"
    score = f"touch {seen}; while [ ! -e {gate} ]; do sleep 0.05; done; cat n"
    loop = loops.detached("lower n", "--eval", score, "--minimize", "-a", repo.agent("true"))
    wait_until(seen.exists, "the evaluator")
    kept = loops.beatctl.home / "loops" / loop / "workspace"
    kept.rename(kept.with_name("away"))
    gate.touch()
    loops.until(loop, "the pause", lambda s: (s["state"], s["reason"]) == ("paused", "workspace"))
    kept.with_name("away").rename(kept)
    loops.do("cancel", loop)
    (row,) = loops.rows(loop)
    assert (row["verdict"], row["score"]) == ("baseline", 50)
    assert loops.status(loop)["counts"] == {"baseline": 1}


def test_a_loop_whose_signals_the_server_has_forgotten_is_shown_as_it_goes_on_and_ends(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    log, gate = repo.folder.parent / "log", repo.folder.parent / "gate"
    wait = f"while [ ! -e {gate} ]; do sleep 0.05; done"
    loop = loops.detached("lower n", *MINIMIZE, "-a", repo.agent(f"echo $i >> {log}; {wait}; echo 40 > n"), "-n", "1")
    wait_until(lambda: agent_runs(log) == ["1"], "the agent")
    copy = copy_of(loops.beatctl.home / "temporal.db")
    for number in range(8):
        loops.do("note", loop, f"note {number}")
    gate.touch()
    cut_the_power(loops)
    put_back(copy)
    loops.status(loop)
    status = loops.finished(loop)
    assert (status["outcome"], status["reason"], status["best"]["score"]) == ("improved", "max-iterations", 40)


def test_a_loop_that_was_stopped_stays_so_though_the_server_has_forgotten_it(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    log = repo.folder.parent / "log"
    gate = repo.folder.parent / "gate"
    wait = f"while [ ! -e {gate} ]; do sleep 0.05; done"
    loop = loops.detached("lower n", *MINIMIZE, "-a", repo.agent(f"echo $i >> {log}; {wait}; echo 40 > n"), "-n", "3")
    wait_until(lambda: agent_runs(log) == ["1"], "the agent")
    loops.do("pause", loop)
    gate.touch()
    loops.until(loop, "the pause", lambda s: s["state"] == "paused")
    copy = copy_of(loops.beatctl.home / "temporal.db")
    loops.do("stop", loop)
    ended = loops.finished(loop)
    cut_the_power(loops)
    put_back(copy)
    loops.beatctl("up", "-d", cwd=repo.folder, expect=0)

    async def resume() -> None:
        client = await loops.beatctl.client()
        await client.get_workflow_handle(f"beatctl-{loop}").signal("resume")

    async def runs() -> bool:
        client = await loops.beatctl.client()
        return bool((await client.get_workflow_handle(f"beatctl-{loop}").describe()).status == 1)

    asyncio.run(resume())
    wait_until(lambda: not asyncio.run(runs()), "the end of its workflow")
    assert agent_runs(log) == ["1"]
    assert loops.status(loop)["reason"] == ended["reason"] == "stopped"


def test_a_resume_that_is_killed_leaves_a_loop_that_goes_on_with_the_repository_protected(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    log = repo.folder.parent / "log"
    agent = repo.agent(f"echo $i >> {log}; echo $((40 - $i)) > n; [ $i = 1 ] || git checkout -qb mine-$i")
    loop = loops.start("lower n", *MINIMIZE, "-a", agent, "-n", "1", expect=0)["id"]
    repo.write("n", "50\n")  # as before the loop
    with locked(loops.beatctl.home / "owners" / ".lock"):  # it can't take the folder, which comes before the server
        resume = loops.beatctl.popen("resume", loop, "-n", "+1", "-d", cwd=repo.folder)
        wait_until(lambda: loops.beatctl.look(loop)["state"] == "running", "the loop in the ledger")
        resume.kill()
        resume.wait()
    loops.until(loop, "the word that it does not run", lambda s: (s["state"], s["reason"]) == ("paused", "server-lost"))
    loops.do("resume", loop)
    status = loops.finished(loop)
    assert (status["iteration"], status["best"]["score"], agent_runs(log)) == (2, 38, ["1", "2"])
    assert "mine-2" not in repo.git("branch", "--list")
    assert "branch mine-2" in loops.rows(loop)[2]["reason"]


def test_a_workflow_whose_start_was_given_up_runs_nothing_in_the_users_folder(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    log = repo.folder.parent / "log"
    words = ("--eval", f"echo measured >> {log}; cat n", "--minimize", "-a", repo.agent(f"echo $i >> {log}"), "-n", "1")
    loop = loops.start("lower n", *words, expect=1)["id"]
    ran = agent_runs(log)
    with sqlite3.connect(loops.beatctl.home / "ledger.db") as db:
        (spec,) = db.execute("select spec from loops where loop = ?", (loop,)).fetchone()

    async def start() -> str:
        client = await loops.beatctl.client()
        found = Cli(loops.beatctl.environ)
        given = LoopInput(spec=LoopSpec.model_validate_json(spec).model_copy(update={"id": "ghost"}))
        await start_workflow(client, found, given)
        return str((await client.get_workflow_handle("beatctl-ghost").result())["reason"])

    assert asyncio.run(start()) == "error"
    assert agent_runs(log) == ran
    assert repo.refs("ghost") == set()
