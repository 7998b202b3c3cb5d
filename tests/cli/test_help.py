"""Help: quick, and an example first."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from beatctl.cli.app import COMMANDS, entry_of, every_command, made
from tests.support import Beatctl


@pytest.mark.parametrize("name", every_command())
def test_help_starts_with_an_example_that_names_the_command(beatctl: Beatctl, place: Path, name: str) -> None:
    done = beatctl(*name.split(), "--help", cwd=place, expect=0)
    assert done.stdout.startswith(f"$ beatctl {name}")
    assert done.stderr == ""
    assert not beatctl.home.exists()


@pytest.mark.parametrize("name", every_command())
def test_the_list_of_commands_says_what_each_ones_help_says(name: str) -> None:
    text = inspect.cleandoc(made(name).help)
    assert text.partition("\n")[0] == entry_of(name).summary


def test_the_general_help_starts_with_examples_and_lists_every_command(beatctl: Beatctl, place: Path) -> None:
    for flag in ("--help", "-h"):
        text = beatctl(flag, cwd=place, expect=0).stdout
        assert text.startswith("$ beatctl start ")
        for name, entry in COMMANDS.items():
            assert f"  {name}" in text
            assert entry.summary in text


def test_help_loads_nothing_heavy(environment: dict[str, str], place: Path) -> None:
    def loaded(code: str, *words: str) -> set[str]:
        line = [sys.executable, "-I", "-c", f"import sys; {code}; print(*sys.modules, file=sys.stderr)", *words]
        done = subprocess.run(line, cwd=place, env=environment, capture_output=True, text=True, check=True)
        return set(done.stderr.split())

    heavy = {"rich", "pydantic", "temporalio", "jinja2", "asyncio", "subprocess", "sqlite3", "platformdirs", "ssl"}
    heavy.add("apprise")
    allowed = loaded("import typer")
    every = "from beatctl.cli.app import run; [run([*words.split(), '--help']) for words in sys.argv[1:]]"
    assert (loaded(every, "", *every_command()) - allowed) & heavy == set()
    assert (loaded("from beatctl.cli.app import run; run(['--version'])") - allowed) & heavy == set()


def test_the_version_is_the_packages(beatctl: Beatctl, place: Path) -> None:
    from beatctl import __version__

    assert beatctl("--version", cwd=place, expect=0).stdout == f"beatctl {__version__}\n"
