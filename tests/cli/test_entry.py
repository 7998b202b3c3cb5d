"""The command's first step: nothing of the user's repository is imported, no traceback is shown."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support import Beatctl


@pytest.fixture
def astray(place: Path) -> Path:
    """A repository whose modules have the names of ours and of what we use."""
    folder = place / "astray"
    folder.mkdir()
    for name in ("typer", "json", "sqlite3", "pydantic", "temporalio"):
        (folder / f"{name}.py").write_text(f"raise SystemExit('the user\\'s {name} was imported')\n")
    for name in ("cli", "worker", "workflows", "activities", "beatctl"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("")
    return folder


def test_a_repository_with_modules_of_our_names_is_no_harm(beatctl: Beatctl, astray: Path) -> None:
    (astray / "beatctl" / "__init__.py").unlink()
    (astray / "beatctl").rmdir()  # its own `beatctl` package would win before our first line runs
    for words in (("--version",), ("list", "--json"), ("start", "x")):
        plain = beatctl(*words, cwd=astray)
        led = beatctl(*words, cwd=astray, env={"PYTHONPATH": "."})
        assert (led.exit_code, led.stdout, led.stderr) == (plain.exit_code, plain.stdout, plain.stderr)
    assert "was imported" not in led.stderr


def test_the_variables_stay_for_the_loops_children(beatctl: Beatctl, place: Path) -> None:
    code = "import json, os, sys; print(json.dumps([os.environ.get('PYTHONPATH'), sys.flags.ignore_environment]))"
    sitecustomize = place / "seen.py"
    sitecustomize.write_text(code)
    probe = (
        "import os, sys; os.environ['PYTHONPATH'] = '.'; sys.argv = ['beatctl', '--version'];"
        "from beatctl.cli.entry import restarted_argv; print(restarted_argv())"
    )
    python = beatctl.program.with_name("python")
    done = subprocess.run([python, "-c", probe], cwd=place, env=beatctl.environ, capture_output=True, text=True)
    assert "'-m', 'beatctl.cli.entry', '--version'" in done.stdout
    isolated = subprocess.run(
        [python, "-I", "-c", probe], cwd=place, env=beatctl.environ, capture_output=True, text=True
    )
    assert isolated.stdout.strip() == "None"


def test_an_error_nobody_foresaw_is_a_line_and_a_file(beatctl: Beatctl, place: Path) -> None:
    probe = (
        "import sys, beatctl.cli.app as app;"
        "app.run = lambda words: 1 / 0;"
        "sys.argv = ['beatctl', 'list']; from beatctl.cli.entry import main; main()"
    )
    python = beatctl.program.with_name("python")
    done = subprocess.run([python, "-c", probe], cwd=place, env=beatctl.environ, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "ZeroDivisionError" in done.stderr
    [kept] = (beatctl.home / "logs").glob("crash-*.txt")
    assert str(kept) in done.stderr
    assert "Traceback" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


def test_a_reader_that_goes_away_is_no_error(beatctl: Beatctl, place: Path) -> None:
    shell = f'"{beatctl.program}" --help | head -1; "{beatctl.program}" list --json'
    done = subprocess.run(["bash", "-c", shell], cwd=place, env=beatctl.environ, capture_output=True, text=True)
    assert done.stderr == ""
    assert json.loads(done.stdout.partition("\n")[2]) == []


def test_closed_streams_are_no_error(beatctl: Beatctl, place: Path) -> None:
    shell = f'"{beatctl.program}" list >&- 2>&- <&-'
    assert subprocess.run(["sh", "-c", shell], cwd=place, env=beatctl.environ, check=False).returncode == 0
    assert not (beatctl.home / "logs").exists()


def test_without_loops_the_bare_command_says_what_to_type(beatctl: Beatctl, place: Path) -> None:
    said = beatctl(cwd=place, expect=0, env={"PATH": "/nowhere"}).stdout
    assert said.count("beatctl start") == 2
    assert "No claude, codex, gemini or opencode on PATH" in said
    assert not beatctl.home.exists()
