"""From one host a person sees and steers the loops of another, and is told when that one is away."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus

from beatctl.worker.away import Away, look
from beatctl.worker.connection import Connection, connect, workflow_id
from tests.hosts.conftest import Hosts
from tests.loops.conftest import Repository
from tests.support import Beatctl, Done, wait_until

pytestmark = pytest.mark.xdist_group("hosts")

MINIMIZE = ("--eval", "cat n", "--minimize")


class Far:
    """A loop of host `two`, seen from host `one`. Its agent waits for `gate` in each run."""

    def __init__(self, hosts: Hosts, repository: Repository) -> None:
        self.hosts, self.repository = hosts, repository
        self.one, self.two = hosts["one"], hosts.up("two")
        self.log, self.gate = repository.folder.parent / "log", repository.folder.parent / "gate"
        wait = f"while [ ! -e {self.gate} ]; do sleep 0.05; done"
        agent = repository.agent(f"echo $i >> {self.log}; echo working on $i; {wait}; echo $((40 - $i)) > n")
        words = ("lower n", *MINIMIZE, "-a", agent, "-n", "2", "-d", "--json")
        self.loop: str = self.two("start", *words, cwd=repository.folder, expect=0).json["id"]
        wait_until(lambda: self.runs() == ["1"], "the first agent")

    def runs(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []

    def from_one(self, *words: str, expect: int = 0) -> str:
        done = self.hosts.typed("one", *words, expect=expect)
        return done.stdout if expect == 0 else done.stderr

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.from_one("status", self.loop, "--json"))
        return found

    def described(self) -> WorkflowExecutionDescription:
        """The loop's workflow, as the server knows it."""

        async def ask() -> WorkflowExecutionDescription:
            client = await connect(Connection(address=self.hosts.address, embedded=False), environ={})
            return await client.get_workflow_handle(workflow_id(self.loop)).describe()

        return asyncio.run(ask())

    def finished(self) -> dict[str, Any]:
        self.gate.touch()
        return dict(
            self.two.until(self.loop, "its end", lambda s: s["state"] == "finished", cwd=self.repository.folder)
        )


@pytest.fixture
def far(hosts: Hosts, repository: Repository) -> Far:
    return Far(hosts, repository)


def test_a_loop_of_another_host_is_listed_shown_and_steered_from_here(far: Far) -> None:
    loop, end = far.loop, far.loop[-1]
    listed = {one["id"]: one for one in json.loads(far.from_one("list", "--json"))}
    assert listed[loop]["host"] == "two"
    assert listed[loop]["goal"] == "lower n"
    assert listed[loop]["baseline"]["score"] == 50  # from its workflow: the ledger is there, not here
    assert re.search(rf"^{loop} .* lower n$", far.from_one("list"), re.MULTILINE)
    # Shortened ids work as they do at home; what `status` prints is the host's own.
    short = loop if end == loop[:1] else loop[:3]
    shown = far.from_one("status", short)
    assert shown.startswith(f"{loop}  running")
    assert "host      two" in shown
    assert far.status()["directory"] == str(far.repository.folder)
    assert [row["verdict"] for row in json.loads(far.from_one("show", loop, "--json"))] == ["baseline"]
    assert "working on 1" in far.from_one("logs", loop)
    assert "Noted" in far.from_one("note", loop, "mind the gap")
    assert json.loads(far.from_one("set", loop, "-n", "3", "--json"))["limits"]["max_iterations"] == 3
    assert far.from_one("pause", loop).startswith(f"{loop} pauses after this iteration")
    # What is refused there is refused here, with its words and exit code; what makes no sense from here is said.
    assert "--clear takes back every note" in far.from_one("note", loop, "x", "--clear", expect=2)
    assert "can't be followed from here" in far.from_one("logs", "-f", loop, expect=2)
    assert "Type it on that host" in far.from_one("report", loop, "--html", "x.html", expect=2)
    assert far.from_one("resume", loop) is not None
    far.finished()
    assert "-50" in far.from_one("diff", loop)
    assert far.from_one("watch", loop, "--json").startswith("{")
    undone = json.loads(far.from_one("undo", loop, "--json"))
    assert undone["id"] == loop
    assert far.repository.read("n") == "50\n"


def test_a_watcher_elsewhere_hears_each_verdict_and_the_end(far: Far) -> None:
    watcher = far.one.popen("watch", far.loop, cwd=Path("/"))
    assert watcher.stderr is not None
    first = watcher.stderr.readline()
    assert first.startswith("#0")
    far.gate.touch()
    said = first + watcher.communicate(timeout=120)[1]
    assert [line.split()[:2] for line in said.splitlines() if line.startswith("#")] == [
        ["#0", "baseline"],
        ["#1", "keep"],
        ["#2", "keep"],
    ]
    assert f"{far.loop} improved" in said
    assert watcher.returncode == 0


def test_ctrl_c_on_a_watch_from_elsewhere_leaves_the_loop_alone(far: Far) -> None:
    watcher = far.one.popen("watch", far.loop, cwd=Path("/"))
    assert watcher.stderr is not None
    watcher.stderr.readline()
    os.kill(watcher.pid, signal.SIGINT)
    said = watcher.communicate(timeout=60)[1]
    assert watcher.returncode == 130
    assert f"Detached. {far.loop} goes on on two" in said
    assert far.finished()["outcome"] == "improved"


def test_a_host_that_is_away_is_told_and_nothing_of_its_loop_is_lost(far: Far) -> None:
    loop = far.loop
    far.hosts.kill("two")
    status = wait_until(lambda: (found := far.status())["waiting_for"] and found, "that it is told", every_s=0.5)
    assert re.fullmatch(r"no worker on two since ([0-9]+ \w+ )?\d\d:\d\d", str(status["waiting_for"]))
    assert status["state"] == "running"
    assert status["goal"] == "lower n"
    assert str(status["away_since"]).endswith("Z")
    shown = far.from_one("status", loop)
    assert shown.startswith(f"{loop}  waiting")
    assert f"now       waiting: {status['waiting_for']}" in shown
    assert "iteration" not in shown  # nobody here knows it

    def listed() -> Done | None:
        told = far.hosts.typed("one", "list")
        return told if told.stderr else None

    done = wait_until(listed, "the list to tell it", every_s=0.5)
    assert re.search(rf"^{loop}  waiting .* two .* lower n$", done.stdout, re.MULTILINE)
    assert f"waiting: {status['waiting_for']}" in done.stderr
    refused = far.from_one("show", loop, expect=3)
    assert f"Loop {loop} is on host two, which is away: {status['waiting_for']}" in refused
    watcher = far.one.popen("watch", loop, cwd=Path("/"))
    assert watcher.stderr is not None
    assert watcher.stderr.readline() == f"{loop} waiting: {status['waiting_for']}\n"
    far.hosts.up("two")
    assert f"{loop} goes on.\n" in watcher.stderr
    end = far.finished()
    assert f"{loop} improved" in watcher.communicate(timeout=120)[1]
    assert watcher.returncode == 0
    assert far.runs() == ["1", "2"]  # the agent outlived its worker, and was taken over
    assert end["best"] == end["best"] | {"iteration": 2, "score": 38}
    assert far.status()["waiting_for"] is None


def test_a_host_that_loses_power_costs_its_loop_one_run_and_other_hosts_take_nothing_of_it(
    far: Far, place: Path, environment: dict[str, str]
) -> None:
    far.hosts.up("one")  # its worker asks for work all the while
    far.hosts.kill_all("two")
    wait_until(lambda: far.status()["waiting_for"], "that it is told", every_s=0.5)
    (place / "mine").mkdir()
    mine = Repository(place / "mine" / "repo", environment)
    words = ("start", "lower n", *MINIMIZE, "-a", mine.agent("echo $((40 - $i)) > n"), "-n", "2", "--json")
    done = far.one(*words, cwd=mine.folder, expect=0)
    assert (done.json["host"], done.json["best"]["score"]) == ("one", 38)
    assert far.runs() == ["1"]
    far.hosts.up("two")
    wait_until(lambda: far.runs() == ["1", "1"], "the run that was lost, again")
    assert far.finished()["best"]["score"] == 38
    rows = json.loads(far.from_one("show", far.loop, "--json"))
    assert [row["agent"]["lost"] for row in rows[1:]] == [1, 0]
    assert far.runs() == ["1", "1", "2"]


def test_what_a_loop_came_to_is_told_with_its_host_away_and_nothing_else_is_promised(far: Far) -> None:
    far.finished()

    # The ledger has the end a moment before the server.
    wait_until(lambda: far.described().status == WorkflowExecutionStatus.COMPLETED, "the end on the server")
    far.hosts.kill("two")
    status = wait_until(lambda: (found := far.status())["state"] == "finished" and found, "its end on the server")
    assert (status["outcome"], status["best"]["score"], status["waiting_for"]) == ("improved", 38, None)
    assert "which is away: no worker on two since" in far.from_one("show", far.loop, expect=3)


def test_on_its_own_host_a_loop_says_that_no_worker_runs_and_since_when(far: Far) -> None:
    far.two("down", cwd=Path("/"), expect=0)

    def shown() -> str | None:
        found = far.hosts.typed("two", "status", far.loop).stdout
        return found if "waiting:" in found else None

    told = wait_until(shown, "that it is told", every_s=0.5)
    assert "now       waiting: no worker on two since" in told
    assert "beatctl was shut down (beatctl down): the loop waits. Go on with: beatctl up -d" in told
    assert "waiting: no worker on two since" in far.hosts.typed("two", "list").stderr
    far.hosts.up("two")
    assert far.finished()["outcome"] == "improved"


def test_when_the_server_has_forgotten_who_asked_the_loops_history_tells_since_when(far: Far) -> None:
    """It does so after five minutes; nobody has ever asked for the work of a queue of another name."""
    end = datetime.fromisoformat(str(far.finished()["ended_at"])).timestamp()

    described = far.described()

    async def ask() -> Away | None:
        client = await connect(Connection(address=far.hosts.address, embedded=False), environ={})
        return await look(client, "beatctl@forgotten", [described])

    away = asyncio.run(ask())
    assert away is not None
    assert away.since is not None
    assert end - 30 < away.since < end + 30


def test_a_command_for_a_host_that_died_a_moment_ago_is_taken_back(far: Far) -> None:
    far.hosts.kill("two")
    said = far.from_one("pause", far.loop, expect=3)
    assert "is on host two, which is away: no worker on two since" in said
    far.hosts.up("two")
    status = far.finished()
    assert status["asked"] is None
    assert status["reason"] == "max-iterations"  # it was never paused


def test_a_word_that_names_no_loop_anywhere_is_told_as_ever(hosts: Hosts) -> None:
    assert 'No loop "zzzz"' in hosts["one"]("status", "zzzz", cwd=Path("/"), expect=2).stderr


def test_a_server_that_is_gone_costs_the_list_one_line(beatctl: Beatctl, place: Path) -> None:
    done = beatctl("list", cwd=place, env={"TEMPORAL_ADDRESS": "127.0.0.1:1"}, expect=0)
    assert len([line for line in done.stderr.splitlines() if "can't be told" in line]) == 1
