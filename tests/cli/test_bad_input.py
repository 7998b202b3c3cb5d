"""Bad input to the real command: a clear line, the right exit code, nothing started, nothing left behind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support import Beatctl

AGENT = ("--agent", "true")
RETRY = ("start", "fix it", "--until", "true", *AGENT)
OPTIMIZE = ("start", "fix it", "--eval", "echo 1", "--minimize", *AGENT)

USAGE = [
    (("start",), "What is the goal?"),
    (("start", ""), "The goal is empty."),
    (("start", "fix", "it", "--until", "true"), 'put it in quotes: "fix it"'),
    (("start", "fix it"), "How is success told?"),
    (("start", "fix it", "--until", "true", "--eval", "true"), "not both"),
    (("start", "fix it", "--eval", "echo 1"), "Is lower or higher better? Add --minimize or --maximize."),
    (("start", "fix it", "--until", ""), "--until is empty."),
    (("start", "fix it", "--eval", " ", "--minimize"), "--eval is empty."),
    ((*RETRY, "-n", "-5"), '--max-iterations can\'t be negative: "-5".'),
    ((*RETRY, "-n", "2.9xyz"), '--max-iterations takes a whole number, 0 for no limit, not "2.9xyz".'),
    ((*RETRY, "--max-failures", "x"), "--max-failures takes a whole number"),
    ((*RETRY, "--max-unchanged", "1.5"), "--max-unchanged takes a whole number"),
    ((*RETRY, "--cooldown", "5 parsecs"), '--cooldown does not understand "5 parsecs".'),
    ((*RETRY, "--cooldown", "-1"), "--cooldown can't be negative"),
    ((*RETRY, "--agent-timeout", "30"), "--agent-timeout 30 needs a unit: 30s, 30m or 30h."),
    ((*RETRY, "--eval-timeout", "30"), "--eval-timeout 30 needs a unit"),
    ((*RETRY, "--for", "8"), "--for 8 needs a unit"),
    ((*OPTIMIZE, "--target", "nan"), "--target takes a number"),
    ((*OPTIMIZE, "--plateau", "-1"), "--plateau can't be negative"),
    ((*RETRY, "--samples", "0"), "--samples must be at least 1"),
    ((*RETRY, "--step", "one"), "2 to 20 steps, this one has one"),
    (("start", "--pipeline", "--until", "true"), "2 to 20 steps"),
    ((*RETRY, "-C", "nowhere"), "There is no folder nowhere."),
    ((*RETRY, "-C", "file"), "file is a file, not a folder."),
    ((*RETRY, "-C", ""), "-C is empty."),
    ((*RETRY, "-d", "--foreground"), "give one of them"),
    ((*RETRY, "--bogus"), "There is no flag --bogus."),
    ((*RETRY, "--until"), "--until needs a value."),
    (("strat",), 'There is no command "strat". Did you mean start or status?'),
    (("show", "1", "2"), "Two iteration numbers: 1 and 2."),
    (("status", "k3f9"), 'No loop "k3f9".'),
    (("status",), "No loops yet."),
    (("show", "3"), "No loops yet."),
    (("logs",), "No loops yet."),
    (("diff",), "No loops yet."),
    (("undo",), "No loops yet."),
    (("pause",), "No loops yet."),
    (("resume", "k3f9"), 'No loop "k3f9".'),
    (("stop", "k3f9"), 'No loop "k3f9".'),
    (("cancel",), "There is no loop to cancel."),
    (("set", "k3f9"), "Which limit?"),
    (("set", "k3f9", "--for", "8"), "--for 8 needs a unit"),
    (("ui",), "No loops yet."),
]


@pytest.fixture
def project(place: Path) -> Path:
    folder = place / "project"
    folder.mkdir()
    (folder / "file").write_text("mine\n")
    return folder


def refused(
    beatctl: Beatctl, words: tuple[str, ...], cwd: Path, code: int, *, env: dict[str, str] | None = None
) -> str:
    """Run it; whatever was wrong, it is told in a line (and where to read more), and nothing is left of it."""
    done = beatctl(*words, cwd=cwd, env=env, expect=code)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert 1 <= len(lines) <= 2, done.stderr
    assert len(lines) == 1 or lines[1].startswith("Help: beatctl")
    assert "Traceback" not in done.stderr
    assert not beatctl.home.exists()
    return done.stderr


@pytest.mark.parametrize(("words", "sentence"), USAGE, ids=[" ".join(words) for words, _ in USAGE])
def test_what_cannot_be_done_is_told_and_changes_nothing(
    beatctl: Beatctl, project: Path, words: tuple[str, ...], sentence: str
) -> None:
    assert sentence in refused(beatctl, words, project, 2)
    assert [path.name for path in project.iterdir()] == ["file"]
    assert (project / "file").read_text() == "mine\n"


def test_an_agent_that_is_not_there_is_told_with_what_is_found(beatctl: Beatctl, project: Path, place: Path) -> None:
    programs = place / "bin"
    programs.mkdir()
    for name in ("git", "sh", "python3", "env", "cat"):
        os.symlink(_which(name), programs / name)
    claude = programs / "claude"
    claude.write_text("#!/bin/sh\necho 2.1.0\n")
    claude.chmod(0o755)
    env = {"PATH": str(programs)}
    words = ("start", "fix it", "--until", "true")
    said = refused(beatctl, (*words, "-a", "codex"), project, 3, env=env)
    assert said.startswith('Agent "codex" is not on PATH. Found: claude. Install it: npm install -g @openai/codex')
    assert 'Agent "nobody" is not on PATH.' in refused(beatctl, (*words, "-a", "nobody {prompt}"), project, 3, env=env)
    assert "no such file" in refused(beatctl, (*words, "-a", "./agent.sh"), project, 3, env=env)
    claude.unlink()
    assert "No agent found" in refused(beatctl, words, project, 3, env=env)


def _which(name: str) -> str:
    import shutil

    found = shutil.which(name)
    assert found
    return found


@pytest.mark.parametrize("folder", ["/", "home"])
def test_the_root_and_the_home_folder_are_no_workspace(beatctl: Beatctl, folder: str) -> None:
    place = Path(beatctl.environ["HOME"]) if folder == "home" else Path(folder)
    refused(beatctl, RETRY, place, 2)
    refused(beatctl, (*RETRY, "-C", str(place)), Path("/tmp"), 2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_no_workspace(beatctl: Beatctl, project: Path) -> None:
    project.chmod(0o500)
    refused(beatctl, RETRY, project, 2)


def test_a_bare_repository_is_no_workspace(beatctl: Beatctl, place: Path) -> None:
    subprocess.run(["git", "init", "-q", "--bare", place / "bare"], check=True, env=beatctl.environ)
    refused(beatctl, RETRY, place / "bare", 2)


def test_a_folder_that_is_gone_is_told(beatctl: Beatctl, place: Path) -> None:
    gone = place / "gone"
    gone.mkdir()
    shell = f'rmdir "{gone}" && exec "{beatctl.program}" start "fix it" --until true --agent true'
    done = subprocess.run(["sh", "-c", shell], cwd=gone, env=beatctl.environ, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "The folder you are in is gone: change to another, or name one with -C.\n"


def test_a_shared_server_that_is_not_there_is_told_and_none_is_started(beatctl: Beatctl, project: Path) -> None:
    env = {"TEMPORAL_ADDRESS": "127.0.0.1:1"}
    done = beatctl(*RETRY, cwd=project, env=env, expect=3)
    assert done.stderr.splitlines()[0] == "Temporal server: 127.0.0.1:1, namespace default"
    assert "No Temporal server answers at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (beatctl.home / "loops").exists()
    assert beatctl("list", "--json", cwd=project, expect=0).json == []
    assert beatctl("doctor", "--json", cwd=project, expect=0).json["server"] is None


def test_a_home_that_cannot_be_written_is_told(beatctl: Beatctl, project: Path, place: Path) -> None:
    (place / "taken").write_text("")
    done = beatctl(*RETRY, cwd=project, env={"BEATCTL_HOME": str(place / "taken")}, expect=3)
    assert "BEATCTL_HOME" in done.stderr
    assert "Traceback" not in done.stderr
