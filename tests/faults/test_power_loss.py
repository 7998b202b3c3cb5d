"""The power goes: ledger, server's data and runs on disk agree again afterwards, and no work is paid for twice."""

from __future__ import annotations

import sqlite3

import pytest

from tests.faults.machine import MINIMIZE, agent_runs, copy_of, cut_the_power, put_back
from tests.loops.conftest import Loops
from tests.support import wait_until


def test_after_a_restart_of_the_machine_any_command_goes_on_with_the_iteration_that_was_running(
    own_loops: Loops,
) -> None:
    loops, repo = own_loops, own_loops.repository
    log, gate = repo.folder.parent / "log", repo.folder.parent / "gate"
    wait = f"[ $i = 1 ] || while [ ! -e {gate} ]; do sleep 0.05; done"
    agent = repo.agent(f"echo $i >> {log}; echo half > half-$(wc -l < {log}); {wait}; echo $((40 - $i)) > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "2")
    wait_until(lambda: agent_runs(log) == ["1", "2"] and (repo.folder / "half-2").exists(), "the second agent")
    cut_the_power(loops)
    gate.touch()
    said = loops.beatctl("status", loop, cwd=repo.folder, expect=0)
    assert "they are back" in said.stderr
    status = loops.finished(loop)
    assert agent_runs(log) == ["1", "2", "2"]
    rows = loops.rows(loop)
    assert [(row["iteration"], row["verdict"]) for row in rows] == [(0, "baseline"), (1, "keep"), (2, "keep")]
    assert [row["agent"]["lost"] for row in rows[1:]] == [0, 1]
    assert status["best"]["score"] == 38
    # What the lost run had done is not in the second's work, and is kept.
    assert sorted(path.name for path in repo.folder.glob("half-*")) == ["half-1", "half-3"]
    assert repo.git("show", f"refs/beatctl/{loop}/2-lost1:half-2") == "half"


@pytest.mark.parametrize("database", ["ledger.db", "temporal.db"])
def test_what_the_ledger_or_the_server_has_forgotten_is_made_good_and_no_finished_agent_runs_again(
    own_loops: Loops, database: str
) -> None:
    loops, repo = own_loops, own_loops.repository
    log, gates = repo.folder.parent / "log", repo.folder.parent
    wait = f"while [ ! -e {gates}/gate-$i ]; do sleep 0.05; done"
    agent = repo.agent(f"echo $i >> {log}; {wait}; echo $((40 - $i)) > n; echo from agent $i")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "5")
    (gates / "gate-1").touch()
    wait_until(lambda: agent_runs(log) == ["1", "2"], "the second agent")
    copy = copy_of(loops.beatctl.home / database)
    (gates / "gate-2").touch()
    (gates / "gate-3").touch()
    wait_until(lambda: agent_runs(log) == ["1", "2", "3", "4"], "the fourth agent")
    before = loops.rows(loop)
    (gates / "gate-4").touch()
    journal = loops.beatctl.home / "loops" / loop / "runs/4/agent.1.jsonl"
    wait_until(lambda: '{"result":' in journal.read_text(), "the fourth agent's result")
    cut_the_power(loops)
    put_back(copy)
    (gates / "gate-5").touch()
    loops.status(loop)
    status = loops.finished(loop)
    # A fifth that had begun is lost with the power; every other ran once.
    runs = agent_runs(log)
    assert runs[:5] == ["1", "2", "3", "4", "5"]
    assert set(runs[5:]) <= {"5"}
    rows = loops.rows(loop)
    assert [row["iteration"] for row in rows] == list(range(6))
    assert [row["verdict"] for row in rows] == ["baseline", *["keep"] * 5]
    assert [row["score"] for row in rows] == [50, 39, 38, 37, 36, 35]
    assert [row["parent"] for row in rows] == [None, 0, 1, 2, 3, 4]
    assert (status["best"]["iteration"], status["best"]["score"], repo.read("n")) == (5, 35, "35\n")
    same = ("iteration", "verdict", "score", "snapshot", "summary", "started_at", "samples")
    assert [[row[key] for key in same] for row in rows[1 : len(before)]] == [
        [row[key] for key in same] for row in before[1:]
    ]
    assert [repo.git("show", f"refs/beatctl/{loop}/{number}:n") for number in range(6)] == [
        "50",
        "39",
        "38",
        "37",
        "36",
        "35",
    ]
    with sqlite3.connect(loops.beatctl.home / "ledger.db") as ledger:
        assert ledger.execute("pragma integrity_check").fetchone() == ("ok",)
