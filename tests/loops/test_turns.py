"""Many loops at once: turns are fair, evaluators are alone, a wait is seen, and nothing that dies keeps a place."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.doing import told
from beatctl.cli.limit_options import TypedLimits
from beatctl.cli.start_options import Typed
from tests.crowd import start_all
from tests.loops.conftest import Loops, Repository
from tests.loops.test_agent_limits import Agents
from tests.support import Beatctl, wait_until

# Crowds of loops, one crowd at a time: beside each other they miss heartbeats on two cores.
pytestmark = pytest.mark.xdist_group("turns")

AGENT = """\
import os, pathlib, time
place = pathlib.Path({place!r})
log = os.open(place / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
me = os.environ["BEATCTL_LOOP"] + " " + os.environ["BEATCTL_ITERATION"]
os.write(log, f"agent {{me}} begins\\n".encode())
while not (place / "go").exists() and not (place / ("go-" + me.split()[0])).exists():
    time.sleep(0.02)
pathlib.Path("n").write_text(str(40 - int(me.split()[1])))
os.write(log, f"agent {{me}} ends\\n".encode())
"""
EVALUATOR = """\
import os, pathlib, time
place = pathlib.Path({place!r})
log = os.open(place / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
me = os.environ["BEATCTL_LOOP"] + " " + os.environ["BEATCTL_ITERATION"]
os.write(log, f"evaluator {{me}} begins\\n".encode())
while (place / "hold").exists():
    time.sleep(0.02)
time.sleep(0.01)
print(pathlib.Path("n").read_text())
os.write(log, f"evaluator {{me}} ends\\n".encode())
"""


@dataclass(frozen=True)
class Line:
    what: str
    loop: str
    iteration: int
    begins: bool


class Crowd:
    """Repositories side by side, and an agent and an evaluator that note when they begin and end.

    Agents go on when there is a file `go` (or `go-LOOP`), evaluators unless there is a file `hold`.
    """

    def __init__(self, beatctl: Beatctl, place: Path, environ: dict[str, str]) -> None:
        self.beatctl = beatctl
        self.place = place
        self._environ = environ
        self._count = 0
        for name, text in (("agent.py", AGENT), ("evaluator.py", EVALUATOR)):
            (place / name).write_text(text.format(place=str(place)))

    def up(self, agents: int, evaluators: int = 1) -> None:
        words = ("--max-concurrent-agents", str(agents), "--max-concurrent-evaluators", str(evaluators))
        self.beatctl("up", "-d", *words, cwd=self.place, expect=0)

    def start(self, count: int, *, iterations: int = 1, samples: int = 1, **limits: str) -> list[str]:
        """Start so many loops, each in a repository of its own. Their ids."""
        folders = []
        for _ in range(count):
            self._count += 1
            folders.append(Repository(self.place / f"repo-{self._count}", self._environ).folder)
        typed = Typed(
            goal=("lower n",),
            eval=f"python3 -S {self.place / 'evaluator.py'}",
            minimize=True,
            samples=str(samples),
            agent=f"python3 -S {self.place / 'agent.py'}",
            limits=TypedLimits(max_iterations=str(iterations), max_unchanged="0", **limits),
        )
        return start_all(self.beatctl.environ, folders, typed)

    def go(self, loop: str = "") -> None:
        (self.place / (f"go-{loop}" if loop else "go")).touch()

    def hold(self) -> Callable[[], None]:
        """Evaluators stay at work until what this returns is called."""
        (self.place / "hold").touch()
        return (self.place / "hold").unlink

    def log(self, what: str = "") -> list[Line]:
        path = self.place / "log"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [Line(kind, loop, int(n), verb == "begins") for kind, loop, n, verb in lines if what in ("", kind)]

    def begun(self, what: str) -> list[str]:
        """The loops whose agents (or evaluators) began, in order."""
        return [line.loop for line in self.log(what) if line.begins]

    def most_at_once(self, what: str) -> int:
        inside = most = 0
        for line in self.log(what):
            inside += 1 if line.begins else -1
            most = max(most, inside)
        return most

    def do(self, *words: str, expect: int = 0) -> Any:
        return self.beatctl(*words, "--json", cwd=self.place, expect=expect).json

    def status(self, loop: str) -> Any:
        return self.do("status", loop)

    def all(self) -> dict[str, Any]:
        return self.beatctl.look_at_all()

    def waiting(self) -> list[str]:
        return [loop for loop, status in self.all().items() if status["state"] == "waiting"]

    def all_finished(self, timeout_s: float = 120.0) -> dict[str, Any]:
        def look() -> dict[str, Any]:
            found = self.all()
            return found if all(status["state"] == "finished" for status in found.values()) else {}

        return wait_until(look, "the end of every loop", timeout_s, every_s=0.2)

    def in_line_since(self, loop: str) -> float:
        note = told(self.beatctl.home / "loops" / loop / "now.json")
        assert note is not None
        assert note.waiting
        return note.since


@pytest.fixture
def crowd(beatctl: Beatctl, place: Path, environment: dict[str, str]) -> Crowd:
    return Crowd(beatctl, place, environment)


def test_who_came_first_has_the_first_turn_and_a_second_turn_comes_after_everyones_first(crowd: Crowd) -> None:
    crowd.up(agents=1, evaluators=0)
    loops = crowd.start(6, iterations=2)
    wait_until(lambda: len(crowd.waiting()) == 5 and crowd.begun("agent"), "one agent and five that wait", every_s=0.2)
    first = crowd.begun("agent")
    order = first + sorted(set(loops) - set(first), key=crowd.in_line_since)
    crowd.go()
    crowd.all_finished()
    assert crowd.begun("agent") == order + order
    assert crowd.most_at_once("agent") == 1


def test_twenty_loops_never_run_more_agents_than_allowed_and_never_two_evaluators(crowd: Crowd) -> None:
    crowd.up(agents=3)
    loops = crowd.start(20, samples=2)
    crowd.go()
    found = crowd.all_finished()
    assert [found[loop]["best"]["score"] for loop in loops] == [39.0] * 20
    assert crowd.most_at_once("agent") <= 3
    assert crowd.most_at_once("evaluator") == 1
    # Both samples of a candidate were measured with no other loop's between them.
    evaluations = [(line.loop, line.iteration) for line in crowd.log("evaluator") if line.begins]
    assert evaluations[0::2] == evaluations[1::2]
    assert len(evaluations) == 80


def test_a_wait_is_shown_with_its_reason_and_costs_no_iteration_any_time(crowd: Crowd) -> None:
    crowd.up(agents=1)
    release = crowd.hold()
    first, second = crowd.start(2)
    wait_until(lambda: crowd.waiting(), "one that waits for the other's evaluator")
    (waits,) = crowd.waiting()
    runs = second if waits == first else first
    status = crowd.status(waits)
    assert (status["state"], status["reason"]) == ("waiting", "turn")
    assert status["now"] == f"baseline: waiting for loop {runs}'s evaluator (--max-concurrent-evaluators 1)"
    assert f"waiting for loop {runs}'s evaluator" in crowd.beatctl("status", waits, cwd=crowd.place, expect=0).stdout
    assert "waiting" in crowd.beatctl("list", cwd=crowd.place, expect=0).stdout
    release()
    wait_until(lambda: len(crowd.waiting()) == 1 and crowd.begun("agent"), "one that waits for the other's agent")
    (waits,) = crowd.waiting()
    (runs,) = crowd.begun("agent")
    assert crowd.status(waits)["now"] == f"#1 python3: waiting for loop {runs}'s agent (--max-concurrent-agents 1)"
    began = crowd.in_line_since(waits)
    wait_until(lambda: time.time() - began > 3, "three seconds of waiting")
    crowd.go()
    crowd.all_finished()
    rows = crowd.do("show", waits)
    assert rows[1]["duration_s"] < 3
    assert rows[1]["agent"]["duration_s"] < 3


@pytest.mark.parametrize("command", ["cancel", "stop", "pause"])
def test_what_waits_for_its_turn_ends_or_pauses_at_once_and_leaves_the_folder_as_it_was(
    crowd: Crowd, command: str
) -> None:
    crowd.up(agents=1)
    crowd.start(2)
    wait_until(lambda: crowd.waiting() and crowd.begun("agent"), "one that waits")
    (waits,) = crowd.waiting()
    folder = Path(crowd.status(waits)["directory"])
    (folder / "n").write_text("mine\n")  # while nothing of the loop's runs
    crowd.do(command, waits)
    state = "paused" if command == "pause" else "finished"
    wait_until(lambda: crowd.beatctl.look(waits)["state"] == state, f"{state}, with the other agent still at work")
    assert (folder / "n").read_text() == "mine\n"
    assert [row["iteration"] for row in crowd.do("show", waits)] == [0]
    assert waits not in crowd.begun("agent")
    if command == "pause":
        crowd.do("cancel", waits)
    crowd.go()
    crowd.all_finished()


def test_a_killed_worker_adopts_who_ran_and_the_line_goes_on_where_it_was(crowd: Crowd) -> None:
    crowd.up(agents=1, evaluators=0)
    loops = crowd.start(4)
    wait_until(lambda: len(crowd.waiting()) == 3 and crowd.begun("agent"), "one agent and three that wait")
    (runs,) = crowd.begun("agent")
    order = sorted(set(loops) - {runs}, key=crowd.in_line_since)
    worker = int(crowd.do("doctor")["worker"]["pid"])
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: _waiting_anew(crowd) == 3, "three that wait in the new worker", every_s=0.5)
    assert crowd.begun("agent") == [runs]
    crowd.go()
    crowd.all_finished()
    assert crowd.begun("agent") == [runs, *order]
    assert crowd.most_at_once("agent") == 1
    assert crowd.do("show", runs)[1]["agent"]["adopted"] is True


def _waiting_anew(crowd: Crowd) -> int:
    """How many wait in a worker after the first: the server has a heartbeat of their present attempt that says so."""
    import asyncio

    async def look() -> int:
        client = await crowd.beatctl.client()
        found = 0
        for loop in crowd.all():
            described = await client.get_workflow_handle(f"beatctl-{loop}").describe()
            for pending in described.raw_description.pending_activities:
                said = str(await client.data_converter.decode(list(pending.heartbeat_details.payloads)))
                beat, start = (
                    moment.ToMicroseconds() for moment in (pending.last_heartbeat_time, pending.last_started_time)
                )
                found += "waiting for" in said and pending.attempt > 1 and beat > start
        return found

    return asyncio.run(look())


def test_a_cancelled_agent_makes_room_for_who_waits(crowd: Crowd) -> None:
    crowd.up(agents=1)
    crowd.start(2)
    wait_until(lambda: crowd.waiting() and crowd.begun("agent"), "one that waits")
    (runs,) = crowd.begun("agent")
    (waits,) = crowd.waiting()
    crowd.go(waits)
    crowd.beatctl("cancel", runs, cwd=crowd.place, expect=0)
    wait_until(lambda: crowd.beatctl.look(waits)["state"] == "finished", "the end of the one that waited")
    assert crowd.begun("agent") == [runs, waits]


def test_edits_made_while_a_candidate_waits_to_be_measured_are_not_overwritten(crowd: Crowd) -> None:
    crowd.up(agents=0)
    first, second = crowd.start(2)
    wait_until(lambda: len(crowd.begun("agent")) == 2, "two agents")
    release = crowd.hold()
    crowd.go(first)
    wait_until(lambda: crowd.begun("evaluator").count(first) == 2, "the first's evaluator")
    crowd.go(second)
    wait_until(lambda: crowd.waiting() == [second], "the second waits for it")
    folder = Path(crowd.status(second)["directory"])
    (folder / "mine.txt").write_text("mine\n")
    release()
    wait_until(lambda: crowd.beatctl.look(second)["state"] == "paused", "the pause")
    assert crowd.status(second)["reason"] == "edited"
    assert (folder / "mine.txt").read_text() == "mine\n"
    assert (folder / "n").read_text() == "39"
    crowd.go()
    crowd.do("resume", second)
    wait_until(lambda: crowd.beatctl.look(second)["state"] == "finished", "its end")
    rows = crowd.do("show", second)
    assert [row["verdict"] for row in rows] == ["baseline", "inconclusive", "keep"]
    assert (folder / "mine.txt").read_text() == "mine\n"


def test_edits_made_while_a_candidate_waits_are_not_overwritten_though_the_worker_is_killed_meanwhile(
    crowd: Crowd,
) -> None:
    crowd.up(agents=0)
    first, second = crowd.start(2)
    wait_until(lambda: len(crowd.begun("agent")) == 2, "two agents")
    release = crowd.hold()
    crowd.go(first)
    wait_until(lambda: crowd.begun("evaluator").count(first) == 2, "the first's evaluator")
    crowd.go(second)
    wait_until(lambda: crowd.waiting() == [second], "the second waits for it")
    folder = Path(crowd.status(second)["directory"])
    (folder / "mine.txt").write_text("mine\n")
    crowd.beatctl("down", cwd=crowd.place, expect=0)
    release()
    crowd.up(agents=0, evaluators=0)  # its turn has come at once
    over = ("paused", "finished")
    wait_until(lambda: crowd.beatctl.look(second)["state"] in over, "the pause")
    status = crowd.status(second)
    assert (status["state"], status["reason"]) == ("paused", "edited")
    assert (folder / "mine.txt").read_text() == "mine\n"
    crowd.go()
    crowd.do("resume", second)
    crowd.all_finished()
    assert (folder / "mine.txt").read_text() == "mine\n"


def test_a_limit_that_was_waited_out_is_not_met_again_when_a_note_comes_while_the_next_run_waits_for_its_turn(
    crowd: Crowd, place: Path, environment: dict[str, str]
) -> None:
    crowd.up(agents=1)
    repository, agents = Repository(place / "limited", environment), Agents(place)
    claude = agents.make("limit 5", "ok")
    words = ("--eval", "cat n", "--minimize", "--agent", claude, "-n", "1")
    limited = Loops(crowd.beatctl, repository)
    crowd.beatctl.environ["BEATCTL_LIMIT_MARGIN_S"] = "1"
    loop = limited.detached("lower n", *words)
    limited.until(loop, "the limit", lambda s: (s["state"], s["reason"]) == ("waiting", "rate-limit"))
    crowd.start(1)
    wait_until(lambda: crowd.begun("agent"), "the other's agent")
    limited.until(loop, "its wait for a turn", lambda s: (s["state"], s["reason"]) == ("waiting", "turn"))
    limited.do("note", loop, "try harder")
    crowd.go()
    status = limited.finished(loop, timeout_s=60)
    assert (len(agents.runs(claude)), status["cost_usd"], status["tokens"]) == (2, 0.04, 200)
    (_, row) = limited.rows(loop)
    assert (row["verdict"], len(row["waits"])) == ("keep", 1)
    crowd.all_finished()


def test_the_end_of_for_is_the_end_of_a_wait(crowd: Crowd) -> None:
    crowd.up(agents=1)
    (runs,) = crowd.start(1)
    wait_until(lambda: crowd.begun("agent"), "an agent")
    (waits,) = crowd.start(1, for_="6s")
    status = wait_until(lambda: _ended(crowd, waits), "the end of the one that waits")
    assert status["reason"] == "max-duration"
    assert crowd.begun("agent") == [runs]
    crowd.go()
    crowd.all_finished()


def _ended(crowd: Crowd, loop: str) -> Any:
    status = crowd.status(loop)
    return status if status["state"] == "finished" else None


def test_a_worker_that_runs_keeps_its_numbers_and_says_how_to_change_them(crowd: Crowd) -> None:
    crowd.up(agents=2)
    crowd.beatctl("up", "-d", cwd=crowd.place, expect=0)
    refused = crowd.beatctl("up", "-d", "--max-concurrent-agents", "5", cwd=crowd.place, expect=2)
    assert "2 agents and 1 evaluator at once" in refused.stderr
    told = crowd.do("doctor")["worker"]
    assert (told["max_concurrent_agents"], told["max_concurrent_evaluators"]) == (2, 1)
    assert "2 agents and 1 evaluator at once" in crowd.beatctl("doctor", cwd=crowd.place, expect=0).stdout
    assert "beatctl up -d --max-concurrent-agents 5" in refused.stderr
