"""A home with a real supervisor, Temporal server and worker, gone after the test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.home import Home
from beatctl.worker import local, shutting_down, what_runs
from beatctl.worker.run_folder import RunFolder
from tests.support import assert_no_process, wait_until


@dataclass
class Machine:
    """What the commands ask of worker/local.py, for a home of the test's own."""

    home: Home
    environ: dict[str, str]
    said: list[str] = field(default_factory=list)

    @property
    def folder(self) -> RunFolder:
        return what_runs.folder_of(self.home, self.environ)

    def ensure(self) -> what_runs.Running:
        return local.ensure_running(self.home, self.environ, self.said.append)

    def running(self) -> what_runs.Running | None:
        return what_runs.running(self.home, self.environ)

    def ready_again(self, changed: Callable[[what_runs.Running], bool]) -> what_runs.Running:
        """Wait until all is ready and something has changed since."""

        def look() -> list[what_runs.Running]:
            found = self.running()
            return [found] if found and found.ready and changed(found) else []

        return wait_until(look, "server and worker to come back")[0]

    def python(self, code: str) -> subprocess.Popen[str]:
        """Another beatctl: `code` in a Python of its own, with this machine's environment."""
        return subprocess.Popen(
            [sys.executable, "-c", code],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        shutting_down.shut_down(self.home, force=True)
        assert_no_process(self.home.root)


@pytest.fixture
def machine(environment: dict[str, str]) -> Iterator[Machine]:
    if "BEATCTL_TEMPORAL_CLI" not in environment:
        pytest.skip("no Temporal server program on this machine")
    machine = Machine(Home(Path(environment["BEATCTL_HOME"])), environment)
    yield machine
    machine.close()


@pytest.fixture
def program(environment: dict[str, str]) -> Path:
    """The Temporal server's program."""
    if "BEATCTL_TEMPORAL_CLI" not in environment:
        pytest.skip("no Temporal server program on this machine")
    return Path(environment["BEATCTL_TEMPORAL_CLI"])


@pytest.fixture
def script(place: Path) -> Callable[[str, str], Path]:
    """Write a program: a shell script."""

    def write(name: str, text: str, **_: Any) -> Path:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return write
