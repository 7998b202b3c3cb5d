"""What every test has: a home of its own, nothing of the person who runs it, and no process left behind."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Beatctl, clean_environment, is_inherited, remove_tree

# Whoever starts them in the background may have interrupts ignored, which every child would inherit: none would then be
# what a person types Ctrl-C at.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# As the tests were started: what fetches things (the server's program, packages) needs the person's own settings.
ORIGINAL = dict(os.environ)


@pytest.fixture(scope="session")
def original_environment() -> dict[str, str]:
    """The environment the tests were started with, for what needs the network's settings."""
    return dict(ORIGINAL)


@pytest.fixture(scope="session")
def server_program() -> str | None:
    """The Temporal server's program; None where it can't be had, and tests that need it say so themselves."""
    try:
        from beatctl.worker.server_program import find_or_fetch

        return str(find_or_fetch(ORIGINAL, print))
    except Exception as problem:  # whatever it is: tests that need no server still run
        print(f"No Temporal server: {problem}")
        return None


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a short path (sockets have 100 bytes for theirs), removed after the test."""
    folder = Path(tempfile.mkdtemp(prefix="bt-")).resolve()
    yield folder
    remove_tree(folder)


@pytest.fixture(autouse=True)
def environment(place: Path, server_program: str | None, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Each test's environment: HOME, a git identity and BEATCTL_HOME in a folder of its own."""
    clean = clean_environment(place, server_program)
    for name in os.environ:
        if is_inherited(name):
            monkeypatch.delenv(name)
    for name in ("HOME", "BEATCTL_HOME", "BEATCTL_TEMPORAL_CLI"):
        if name in clean:
            monkeypatch.setenv(name, clean[name])
    return clean


@pytest.fixture
def beatctl(environment: dict[str, str]) -> Iterator[Beatctl]:
    """The real command with a home, server and worker of this test's own, all gone after it."""
    command = Beatctl(environment)
    yield command
    command.close()


@pytest.fixture(scope="session")
def shared_beatctl(server_program: str | None) -> Iterator[Beatctl]:
    """The real command with one home, server and worker for many tests; for what does not stop or kill them."""
    folder = Path(tempfile.mkdtemp(prefix="bt-")).resolve()
    command = Beatctl(clean_environment(folder, server_program))
    yield command
    command.close()
    remove_tree(folder)
