"""Loops whose ledger the test writes, and terminals that are gone after it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.doing import tell
from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Mark, Row, Status, timestamp
from beatctl.activities.run_files import TryFiles
from beatctl.worker.run_folder import EMBEDDED, RunFolder
from beatctl.workflows.spec import Limits
from tests.live.terminal import Terminal
from tests.support import Beatctl, clean_environment, remove_tree

Open = Callable[..., Terminal]


class WrittenLoop:
    """A loop that exists in the ledger alone; server and worker count as shut down by the user."""

    def __init__(self, beatctl: Beatctl, project: Path, loop: str = "k3f9") -> None:
        self.home = Home(beatctl.home)
        self.ledger = Ledger(self.home.ledger)
        self.project = project
        self.now = Status(
            id=loop,
            goal="lower n",
            strategy="optimize",
            state="running",
            directory=str(project),
            worktree=str(project),
            limits=Limits().model_dump(),
            started_at=timestamp(1_700_000_000),
            baseline=Mark(iteration=0, score=50.0),
            best=Mark(iteration=0, score=50.0),
        )
        spec = {"agent": {"kind": "claude"}, "directory": str(project)}
        self.ledger.add_loop(self.now, json.dumps(spec), 1.0)
        self.ledger.write(self.now, row(0, "baseline", 50.0))
        RunFolder(self.home.root, EMBEDDED).create().shut_down.touch()

    def write(self, *rows: Row, **changes: object) -> None:
        self.now = self.now.model_copy(update={**changes, "version": self.now.version + 1})
        self.ledger.write(self.now, *rows)

    def runs(self, iteration: int, *printed: Any) -> TryFiles:
        """An agent that runs and has printed these events; its files."""
        folder = self.home.loop(self.now.id)
        files = TryFiles(folder.iteration(iteration) / "agent", 1)
        files.run.parent.mkdir(parents=True)
        files.journal.write_text('{"id": "x"}\n{"at": 1}\n')
        files.stdout.write_text("".join(json.dumps(event) + "\n" for event in printed))
        tell(folder.now, "claude", iteration, files.run)
        return files


def row(number: int, verdict: Any, score: float | None = None, **more: Any) -> Row:
    parent = None if number == 0 else 0
    return Row(
        iteration=number, verdict=verdict, score=score, started_at=timestamp(0), duration_s=1, parent=parent, **more
    )


@pytest.fixture(scope="session")
def idle_beatctl() -> Iterator[Beatctl]:
    """The real command with a home in which no server and no worker ever run."""
    folder = Path(tempfile.mkdtemp(prefix="bt-")).resolve()
    command = Beatctl(clean_environment(folder, None))
    yield command
    command.close()
    remove_tree(folder)


@pytest.fixture
def beatctl(idle_beatctl: Beatctl) -> Iterator[Beatctl]:
    """That command, with no loop of another test."""
    yield idle_beatctl
    home = Home(idle_beatctl.home)
    for status in Ledger(home.ledger).statuses():
        Ledger(home.ledger).remove_loop(status.id)
        shutil.rmtree(home.loop(status.id).root, ignore_errors=True)


@pytest.fixture
def written(beatctl: Beatctl, place: Path) -> WrittenLoop:
    project = place / "project"
    project.mkdir()
    return WrittenLoop(beatctl, project)


@pytest.fixture
def terminals() -> Iterator[Open]:
    opened: list[Terminal] = []

    def open_terminal(*given: Any, **more: Any) -> Terminal:
        opened.append(Terminal.running(*given, **more))
        return opened[-1]

    yield open_terminal
    for terminal in opened:
        terminal.close()
