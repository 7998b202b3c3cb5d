"""`cancel` where the ordinary way is not there: no worker to be had, or a loop the server knows nothing of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.activities.processes import CommandSpec, Spawner, new_try
from beatctl.activities.records import Status, timestamp
from beatctl.activities.workspace import FolderInUse, claim
from beatctl.worker.run_folder import process_start
from beatctl.workflows.spec import Limits
from tests.support import Beatctl, wait_until


@pytest.fixture
def project(place: Path) -> Path:
    folder = place / "project"
    folder.mkdir()
    return folder


def unfinished_loop(beatctl: Beatctl, project: Path) -> Home:
    """A loop that the ledger and the folder's claim know, and nobody else."""
    home = Home(beatctl.home).create()
    status = Status(
        id="k3f9",
        goal="lower n",
        strategy="retry",
        state="running",
        directory=str(project),
        worktree=str(project),
        limits=Limits().model_dump(),
        started_at=timestamp(1_700_000_000),
    )
    Ledger(home.ledger).add_loop(status, "{}", 1.0)
    claim(home, project, "k3f9", lambda _: True)
    home.loop("k3f9").root.mkdir(parents=True)
    home.loop("k3f9").environment.write_text("{}")
    return home


async def test_the_agent_is_ended_even_where_no_worker_can_be_had(beatctl: Beatctl, project: Path) -> None:
    home = unfinished_loop(beatctl, project)
    pids = project / "pids"
    script = f"setsid sleep 3001 & echo $! > {pids}; echo $$ >> {pids}; sleep 3002"
    spec = CommandSpec(argv=["sh", "-c", script], cwd=str(project), environment_file=None, stdin=None, timeout_s=0)
    spawner = Spawner()
    running = new_try(home.loop("k3f9").iteration(1) / "agent", spec)
    await spawner.start(running)
    found = [int(pid) for pid in wait_until(lambda: _two_lines(pids), "the agent's processes")]
    done = beatctl("cancel", "k3f9", cwd=project, env={"BEATCTL_TEMPORAL_CLI": "/nowhere"}, expect=1)
    await spawner.close()
    assert "Ended the process of " in done.stderr
    assert "beatctl cancel k3f9" in done.stderr
    assert running.state() == "done"
    assert [process_start(pid) for pid in found] == [None, None]


def _two_lines(file: Path) -> list[str]:
    lines = file.read_text().split() if file.exists() else []
    return lines if len(lines) == 2 else []


def test_a_loop_the_server_does_not_know_can_be_closed_and_gives_its_folder_back(
    beatctl: Beatctl, project: Path, server_program: str | None
) -> None:
    if server_program is None:
        pytest.skip("no Temporal server on this machine")
    home = unfinished_loop(beatctl, project)
    refused = beatctl("start", "x", "--until", "true", "-a", "true", cwd=project, expect=2)
    assert refused.stderr == "Loop k3f9 is using this folder: beatctl watch k3f9, or add --worktree.\n"
    status = beatctl("cancel", "k3", "--json", cwd=project, expect=0).json
    assert (status["state"], status["outcome"], status["reason"]) == ("finished", "cancelled", "cancelled")
    assert not home.loop("k3f9").environment.exists()
    claim(home, project, "m222", lambda _: True)
    with pytest.raises(FolderInUse):
        claim(home, project, "n333", lambda _: True)


def test_a_start_that_is_interrupted_leaves_nothing(
    beatctl: Beatctl, project: Path, place: Path, server_program: str | None
) -> None:
    slow = place / "temporal"
    slow.write_text(f"#!/bin/sh\ntouch {place}/asked\nwhile [ ! -e {place}/go ]; do sleep 0.05; done\nexit 1\n")
    slow.chmod(0o755)
    process = beatctl.popen(
        "start", "x", "--until", "true", "-a", "true", cwd=project, env={"BEATCTL_TEMPORAL_CLI": str(slow)}
    )
    wait_until((place / "asked").exists, "the server's program to be asked")
    process.terminate()
    wait_until(lambda: process.poll() is not None or _released(place), "the command's end")
    printed, said = process.communicate(timeout=30)
    assert (process.returncode, printed) == (130, ""), said
    assert said == "Interrupted: nothing was started, the folder is untouched.\n"
    assert not list(beatctl.home.glob("loops/*"))
    assert os.listdir(project) == []


def _released(place: Path) -> bool:
    """Let the slow program end: the command cannot while it waits for it."""
    (place / "go").touch()
    return False
