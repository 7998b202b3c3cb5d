"""Two installed versions: what the older left running gives way to the newer, and its agents go on."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

import beatctl
from beatctl.worker.run_folder import process_start
from beatctl.worker.versions import is_older
from tests.loops.conftest import Loops
from tests.support import Beatctl, wait_until


def version(place: Path, number: str) -> Path:
    """The command of a copy of beatctl with another version, in an environment of its own."""
    folder = place / f"beatctl-{number}"
    code = folder / "code"
    shutil.copytree(
        Path(beatctl.__file__).parent, code / "beatctl", ignore=shutil.ignore_patterns("__pycache__"), symlinks=False
    )
    (code / "beatctl" / "__init__.py").write_text(f'__version__ = "{number}"\n')
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    packages = next((folder / "venv" / "lib").glob("python*/site-packages"))
    (packages / "copy.pth").write_text(f"{code}\n{sysconfig.get_path('purelib')}\n")
    program = folder / "venv" / "bin" / "beatctl"
    program.write_text(f"#!{folder}/venv/bin/python -I\nfrom beatctl.cli.entry import main\nmain()\n")
    program.chmod(0o755)
    return program


def doctor(command: Beatctl, place: Path) -> Any:
    return command("doctor", "--json", cwd=place, expect=0).json


@pytest.mark.own_server("the upgrade starts the server anew, too")
def test_an_upgrade_replaces_what_runs_and_the_agent_that_runs_is_not_lost(own_loops: Loops, place: Path) -> None:
    repo = own_loops.repository
    old = Beatctl(own_loops.beatctl.environ, version(place, "0.0.9"))
    new = Beatctl(own_loops.beatctl.environ, version(place, "0.3.0"))
    log, go = place / "log", place / "go"
    agent = repo.agent(f"echo $i >> {log}; until [ -e {go} ]; do sleep 0.1; done; echo 7 > n")
    words = ("start", "lower n", "--eval", "cat n", "--minimize", "-a", agent, "-n", "1", "-d", "--json")
    loop = old(*words, cwd=repo.folder, expect=0).json["id"]
    wait_until(log.exists, "the agent")
    before = doctor(old, repo.folder)
    assert before["worker"]["version"] == "0.0.9"
    starts = {before[name]["pid"]: process_start(before[name]["pid"]) for name in ("supervisor", "worker", "server")}

    assert "0.0.9 runs in the background, this is 0.3.0" in new("list", cwd=repo.folder, expect=0).stderr
    said = new("status", loop, cwd=repo.folder, expect=0).stderr
    gives_way = "beatctl 0.0.9 in the background gives way to 0.3.0; agents that run go on and are taken over."
    assert said.splitlines()[0] == gives_way
    after = doctor(new, repo.folder)
    assert after["worker"]["version"] == after["supervisor"]["version"] == "0.3.0"
    assert after["server"]["address"] == before["server"]["address"]
    assert not [pid for pid, start in starts.items() if process_start(pid) == start]
    assert "gives way" not in new("status", loop, cwd=repo.folder, expect=0).stderr

    # The older command leaves the newer worker alone, and says so where it needs it.
    assert "0.3.0, newer than this command" in old("note", loop, "try 7", cwd=repo.folder, expect=0).stderr
    assert doctor(old, repo.folder)["supervisor"]["pid"] == after["supervisor"]["pid"]

    go.touch()
    new("watch", loop, cwd=repo.folder, expect=0)
    rows = new("show", loop, "--json", cwd=repo.folder, expect=0).json
    assert log.read_text().split() == ["1"]
    assert [(row["verdict"], row["score"]) for row in rows] == [("baseline", 50), ("keep", 7)]
    assert rows[1]["agent"]["adopted"] is True


def test_an_upgrade_does_not_end_what_somebody_runs_in_a_terminal(own_loops: Loops, place: Path) -> None:
    folder = own_loops.repository.folder
    old = Beatctl(own_loops.beatctl.environ, version(place, "0.0.9"))
    up = old.popen("up", cwd=folder)
    wait_until(lambda: (doctor(old, folder)["supervisor"] or {}).get("pid") == up.pid, "the supervisor")
    said = own_loops.beatctl("up", "-d", cwd=folder, expect=0).stderr
    assert "The worker is beatctl 0.0.9, this is" in said
    assert up.poll() is None
    up.terminate()
    assert up.wait(60) == 0


@pytest.mark.parametrize(
    ("version", "than", "older"),
    [
        ("0.1.0", "0.2.0", True),
        ("0.9", "0.10.0", True),
        ("1.0.0rc1", "1.0.0", True),
        ("1.0.dev3", "1.0a1", True),
        ("1.0", "1.0.0", False),
        ("0.2.0", "0.1.9", False),
        ("1.0.0", "1.0.0rc1", False),
        ("unknown", "1.0.0", False),
        ("0.1.0+local", "0.1.0", False),
    ],
)
def test_the_older_version_is_told_from_the_newer(version: str, than: str, older: bool) -> None:
    assert is_older(version, than) is older
