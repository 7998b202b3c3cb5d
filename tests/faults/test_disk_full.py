"""Full disks: the workspace's, and the one that holds beatctl's own state."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.machine import MINIMIZE, agent_runs
from tests.loops.conftest import Loops, Repository
from tests.support import Beatctl, wait_until

Disk = Callable[[str, int], Path]


@pytest.fixture
def disk(place: Path) -> Iterator[Disk]:
    """Make a file system of so many MB of its own, in memory; gone after the test."""
    made: list[Path] = []

    def make(name: str, size: int) -> Path:
        folder = place / name
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            folder.rmdir()
            pytest.skip(f"A file system of its own cannot be mounted here: {done.stderr.strip()}")
        made.append(folder)
        return folder

    yield make
    for folder in made:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def enlarge(folder: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}m", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte free."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        block = 1 << 20
        while block:
            try:
                file.write(b"\1" * block)
            except OSError:
                block //= 2
    return path


def test_on_a_full_disk_of_5_mb_the_loop_pauses_with_where_and_finishes_once_there_is_space(
    disk: Disk, beatctl: Beatctl, environment: dict[str, str], place: Path
) -> None:
    small = disk("small", 5)
    repo = Repository(small / "repo", environment)
    loops = Loops(beatctl, repo)
    log, script = place / "log", place / "agent.sh"
    script.write_text(
        f"echo $BEATCTL_ITERATION >> {log}\nhead -c 3000000 /dev/urandom > big-$BEATCTL_ITERATION; echo 40 > n\n"
    )
    loop = loops.detached("lower n", *MINIMIZE, "-a", f"sh {script}", "-n", "1")
    paused = loops.until(loop, "the pause", lambda s: s["state"] == "paused")
    assert paused["reason"] == "no-space", paused
    assert str(small) in paused["detail"], paused
    assert (repo.folder / "big-1").stat().st_size == 3_000_000
    enlarge(small, 50)
    loops.do("resume", loop)
    status = loops.finished(loop)
    assert (status["outcome"], status["best"]["score"]) == ("improved", 40)
    assert agent_runs(log) == ["1"]
    assert [row["verdict"] for row in loops.rows(loop)] == ["baseline", "keep"]
    assert (repo.folder / "big-1").stat().st_size == 3_000_000


def test_with_the_disk_of_the_state_folder_full_the_loop_waits_and_loses_nothing(
    disk: Disk, environment: dict[str, str], place: Path
) -> None:
    state = disk("state", 64)
    repo = Repository(place / "repo", environment)
    beatctl = Beatctl(environment)
    loops = Loops(beatctl, repo)
    try:
        log, gate = place / "log", place / "gate"
        agent = repo.agent(f"echo $i >> {log}; while [ ! -e {gate} ]; do sleep 0.05; done; echo $((40 - $i)) > n")
        loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "2")
        wait_until(lambda: agent_runs(log) == ["1"], "the agent")
        filler = fill(state)
        gate.touch()
        wait_until(lambda: repo.read("n") == "39\n", "the agent's work")
        full = beatctl("status", loop, cwd=repo.folder)
        print(full)
        wait_until(lambda: os.statvfs(state).f_bavail == 0, "no room at all")
        filler.unlink()
        found = loops.until(loop, "the end or a pause", lambda s: s["state"] in ("finished", "paused"), 120)
        if found["state"] == "paused":
            assert found["reason"] == "no-space", found
            assert str(state) in found["detail"]
            loops.do("resume", loop)
        status = loops.finished(loop)
        assert status["best"]["score"] == 38
        assert agent_runs(log) == ["1", "2"]
        assert [row["verdict"] for row in loops.rows(loop)] == ["baseline", "keep", "keep"]
    finally:
        beatctl.close()
