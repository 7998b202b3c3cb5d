"""Repositories, scripted agents and running loops for the end-to-end tests."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import Beatctl


class Repository:
    """A real git repository with a file `n`, and an agent script whose body each test writes."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        self.environ = environ
        folder.mkdir()
        self.write("n", "50\n")
        self.write(".gitignore", "ignored/\n*.log\n")
        self.git("init", "-q")
        self.git("add", "-A")
        self.git("commit", "-qm", "first")

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self.folder, env=self.environ, capture_output=True, text=True)
        assert done.returncode == 0, f"git {' '.join(words)}: {done.stderr}"
        return done.stdout.strip()

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def agent(self, body: str) -> str:
        """The words for `--agent`: a shell script outside the repository, which knows its iteration as $i."""
        path = self.folder.parent / "agent.sh"
        path.write_text(f"#!/bin/sh\ni=$BEATCTL_ITERATION\n{body}\n")
        path.chmod(0o755)
        return f"{path} {{prompt_file}}"

    def refs(self, loop: str) -> set[str]:
        out = self.git("for-each-ref", "--format=%(refname)", f"refs/beatctl/{loop}/")
        return {line.removeprefix(f"refs/beatctl/{loop}/") for line in out.splitlines()}


class Loops:
    """beatctl in one repository."""

    def __init__(self, beatctl: Beatctl, repository: Repository) -> None:
        self.beatctl = beatctl
        self.repository = repository

    def start(self, *words: str, expect: int, env: dict[str, str] | None = None, timeout_s: float = 120.0) -> Any:
        """Run `beatctl start WORDS --json` to its end; its status object, with the messages under `said`."""
        done = self.beatctl(
            "start", *words, "--json", cwd=self.repository.folder, expect=expect, env=env, timeout_s=timeout_s
        )
        return {**done.json, "said": done.stderr}

    def detached(self, *words: str) -> str:
        """Start a loop with -d; its id."""
        done = self.beatctl("start", *words, "-d", "--json", cwd=self.repository.folder, expect=0)
        return str(done.json["id"])

    def do(self, *words: str, expect: int = 0) -> Any:
        return self.beatctl(*words, "--json", cwd=self.repository.folder, expect=expect).json

    def status(self, loop: str) -> Any:
        return self.do("status", loop)

    def rows(self, loop: str) -> list[Any]:
        rows: list[Any] = self.do("show", loop)
        return rows

    def until(self, loop: str, what: str, holds: Callable[[Any], object], timeout_s: float = 60.0) -> Any:
        """The first status for which `holds` is true."""

        return self.beatctl.until(loop, what, holds, cwd=self.repository.folder, timeout_s=timeout_s)

    def finished(self, loop: str, timeout_s: float = 180.0) -> Any:
        return self.until(loop, "the loop's end", lambda s: s["state"] == "finished", timeout_s)


@pytest.fixture
def repository(place: Path, environment: dict[str, str]) -> Repository:
    return Repository(place / "repo", environment)


@pytest.fixture
def loops(shared_beatctl: Beatctl, repository: Repository) -> Loops:
    """Loops on a server and worker that many tests share."""
    return Loops(shared_beatctl, repository)


@pytest.fixture
def own_loops(beatctl: Beatctl, repository: Repository) -> Loops:
    """Loops on a server and worker of this test's own, which it may kill."""
    return Loops(beatctl, repository)
