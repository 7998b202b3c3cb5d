"""The server's data is deleted at moments when more is under way than an agent: a loop that goes on from its ledger
takes up what runs, and tells nothing that is not so."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.machine import MINIMIZE, agent_runs, copy_of, cut_the_power, put_back
from tests.faults.test_lost_loops import delete_the_servers_data
from tests.loops.conftest import Loops, Repository
from tests.support import Beatctl, clean_environment, remove_tree, wait_until

LIMITED_AGENT = Path(__file__).parents[1] / "loops/limited_agent.py"


class Lost:
    """A loop whose server lost its data."""

    def __init__(self, place: Path, beatctl: Beatctl, name: str) -> None:
        (place / name).mkdir()
        self.repo = Repository(place / name / "repo", beatctl.environ)
        self.loops = Loops(beatctl, self.repo)
        self.log = place / name / "log"
        self.gate = place / name / "gate"
        self.wait = f"while [ ! -e {self.gate} ]; do sleep 0.05; done"
        self.id = ""

    def goes_on(self) -> Any:
        """Its last status, once it was resumed."""
        self.loops.do("resume", self.id)
        self.gate.touch()
        return self.loops.finished(self.id)

    @property
    def rows(self) -> list[Any]:
        return self.loops.rows(self.id)

    def files(self) -> set[str]:
        return {path.name for path in self.repo.folder.iterdir()}


def start_pipeline(lost: Lost) -> None:
    second = f"echo early > early; {lost.wait}"
    agent = lost.repo.agent(
        f"echo $BEATCTL_STEP >> {lost.log}; echo $BEATCTL_STEP >> steps; if [ $BEATCTL_STEP = 2 ]; then {second}; fi; "
        "echo 39 > n"
    )
    steps = ("--step", "do this", "--step", "do that", "--step", "do the rest")
    lost.id = lost.loops.detached("lower n", *MINIMIZE, *steps, "-a", agent, "-n", "1")
    wait_until((lost.repo.folder / "early").exists, "the second step")


def start_building(lost: Lost) -> None:
    score = f"cp n built; if [ $(cat n) = 39 ]; then echo builds >> {lost.log}; {lost.wait}; fi; cat built"
    agent = lost.repo.agent("echo 39 > n")
    lost.id = lost.loops.detached("lower n", "--eval", score, "--minimize", "-a", agent, "-n", "1")
    wait_until(lambda: agent_runs(lost.log) == ["builds"], "the evaluator of the first experiment")


def start_with_edits(lost: Lost) -> None:
    score = f"if [ $(cat n) = 40 ]; then echo edits >> {lost.log}; echo made > made; {lost.wait}; fi; cat n"
    first = lost.gate.with_name("first")
    began = first.with_name("began")
    agent = lost.repo.agent(f"touch {began}; while [ ! -e {first} ]; do sleep 0.05; done; echo $((46 + 2 * i)) > n")
    lost.id = lost.loops.detached("lower n", "--eval", score, "--minimize", "-a", agent, "-n", "2")
    wait_until(began.exists, "the first agent")
    lost.loops.do("pause", lost.id)
    first.touch()
    lost.loops.until(lost.id, "its pause", lambda s: s["state"] == "paused")
    lost.repo.write("n", "40\n")
    lost.repo.write("mine", "mine\n")
    lost.loops.do("resume", lost.id)
    wait_until(lambda: agent_runs(lost.log) == ["edits"], "the measuring of the edits")


def start_limited(lost: Lost) -> None:
    program = lost.log.with_name("claude")
    shutil.copy(LIMITED_AGENT, program)
    program.chmod(0o755)
    program.with_name("plan").write_text("limit 3600\nok\n")
    lost.id = lost.loops.detached("lower n", *MINIMIZE, "-a", "claude", "-n", "1")
    lost.loops.until(lost.id, "the wait for its limit", lambda s: s["reason"] == "rate-limit")


def start_committing(lost: Lost) -> None:
    commits = "echo half > half; git add -A; git commit -qm mine; echo hook > .git/hooks/pre-commit; echo more > more"
    agent = lost.repo.agent(f"{commits}; echo runs >> {lost.log}; exec sleep 319")
    lost.id = lost.loops.detached("make it", "--until", "test -e never", "-a", agent, "-n", "2")
    wait_until(lambda: agent_runs(lost.log) == ["runs"], "the agent that commits")


START: dict[str, Callable[[Lost], None]] = {
    "pipeline": start_pipeline,
    "building": start_building,
    "edits": start_with_edits,
    "limited": start_limited,
    "committing": start_committing,
}


@pytest.fixture(scope="module")
def lost(server_program: str | None) -> Iterator[dict[str, Lost]]:
    """One server's loops, each at another moment, when its data was deleted."""
    place = Path(tempfile.mkdtemp(prefix="bt-")).resolve()
    environ = clean_environment(place, server_program)
    environ["PATH"] = f"{place / 'limited'}:{environ['PATH']}"
    environ["BEATCTL_MAX_CONCURRENT_EVALUATORS"] = "0"
    beatctl = Beatctl(environ)
    try:
        loops = {name: Lost(place, beatctl, name) for name in START}
        for name, start in START.items():
            start(loops[name])
        delete_the_servers_data(loops["edits"].loops)
        for one in loops.values():
            one.loops.until(one.id, "the word that it is lost", lambda s: s["reason"] == "server-lost")
        yield loops
    finally:
        beatctl.close()
        remove_tree(place)


def test_what_a_pipelines_second_step_had_done_is_not_taken_from_under_it(lost: dict[str, Lost]) -> None:
    one = lost["pipeline"]
    one.goes_on()
    assert agent_runs(one.log) == ["1", "2", "3"]
    assert one.repo.read("steps").split() == ["1", "2", "3"]
    first = one.repo.git("ls-tree", "--name-only", f"refs/beatctl/{one.id}/1-step1").split()
    assert "steps" in first
    assert "early" not in first


def test_what_an_evaluator_has_built_is_not_taken_from_under_it_and_the_improvement_is_kept(
    lost: dict[str, Lost],
) -> None:
    one = lost["building"]
    one.goes_on()
    assert [(row["verdict"], row["score"]) for row in one.rows] == [("baseline", 50), ("keep", 39)]
    assert agent_runs(one.log) == ["builds"]
    assert "built" not in one.files()


def test_edits_that_were_being_measured_keep_their_row_and_their_score_is_no_agents(lost: dict[str, Lost]) -> None:
    one = lost["edits"]
    one.goes_on()
    rows = one.rows
    assert [(row["verdict"], row["score"]) for row in rows] == [
        ("baseline", 50),
        ("keep", 48),
        ("keep", 40),
        ("discard", 52),
    ]
    assert (rows[2]["agent"], rows[2]["summary"]) == (None, "your edits: mine, n")
    assert agent_runs(one.log) == ["edits"]
    assert (one.repo.read("n"), one.repo.read("mine")) == ("40\n", "mine\n")
    assert "made" not in one.files()


def test_what_a_run_cost_that_a_limit_ended_is_counted_once_and_the_next_run_comes_at_once(
    lost: dict[str, Lost],
) -> None:
    one = lost["limited"]
    status = one.goes_on()
    assert (status["cost_usd"], status["tokens"]) == (0.04, 200)
    assert [row["agent"] and row["agent"]["cost_usd"] for row in one.rows] == [None, 0.04]
    assert len(one.log.with_name("runs").read_text().splitlines()) == 2


def test_a_cancel_undoes_what_the_agent_did_to_files_and_repository_and_tells_its_run(lost: dict[str, Lost]) -> None:
    one = lost["committing"]
    one.loops.do("cancel", one.id)
    assert one.repo.git("rev-list", "--count", "HEAD") == "1"
    assert one.repo.git("status", "--porcelain") == ""
    assert not (one.repo.folder / ".git/hooks/pre-commit").exists()
    assert one.repo.git("show", f"refs/beatctl/{one.id}/1:more") == "more"
    rows = one.rows
    assert [(row["verdict"], row["reason"]) for row in rows[1:]] == [("crash", "cancelled before it was judged")]
    assert rows[1]["agent"]["name"] == "agent.sh"


def test_a_pause_that_was_over_when_the_power_went_does_not_hold_the_loop_for_ever(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    log, gates = repo.folder.parent / "log", repo.folder.parent
    agent = repo.agent(f"echo $i >> {log}; while [ ! -e {gates}/gate-$i ]; do sleep 0.05; done; echo $((40 - $i)) > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "2")
    loops.do("pause", loop)
    (gates / "gate-1").touch()
    loops.until(loop, "its pause", lambda s: s["state"] == "paused")
    copy = copy_of(loops.beatctl.home / "temporal.db")
    loops.do("resume", loop)
    wait_until(lambda: agent_runs(log) == ["1", "2"], "the second agent")
    cut_the_power(loops)
    put_back(copy)
    (gates / "gate-2").touch()
    loops.status(loop)
    status = loops.finished(loop)
    assert (status["best"]["score"], agent_runs(log)) == (38, ["1", "2", "2"])
    assert [row["verdict"] for row in loops.rows(loop)] == ["baseline", "keep", "keep"]


def test_a_resume_that_is_killed_leaves_the_folder_to_its_loop_and_the_users_edits_in_it(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    agent = repo.agent("echo $((50 - 2 * i)) > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "1")
    loops.finished(loop)
    repo.write("n", "30\n")
    resume = loops.beatctl.popen("resume", loop, "-n", "+1", "-d", cwd=repo.folder)
    wait_until(lambda: loops.beatctl.look(loop)["state"] == "running", "the loop to be opened again", every_s=0.001)
    resume.kill()
    resume.wait()
    if not list(loops.beatctl.home.glob("loops/*.starting")):
        pytest.skip("the command was quicker than its end")
    loops.until(loop, "the word that it is lost", lambda s: s["reason"] == "server-lost")
    loops.do("resume", loop)
    assert [path for path in loops.beatctl.home.glob("owners/*.json") if loop in path.read_text()]
    loops.finished(loop)
    assert [(row["verdict"], row["score"]) for row in loops.rows(loop)] == [
        ("baseline", 50),
        ("keep", 48),
        ("keep", 30),
        ("discard", 44),
    ]
    assert repo.read("n") == "30\n"
