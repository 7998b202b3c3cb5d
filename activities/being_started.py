"""Whether a command is about to start a loop's workflow: a lock that the system frees where the command dies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from beatctl.activities.home import LoopFolder
from beatctl.activities.records import Status
from beatctl.activities.tickets import last_ticket
from beatctl.activities.workspace.files import is_locked, locked

WORKER_GONE = "Server and worker were ended meanwhile."
"""What a command that a worker runs says then, and no other: it brings nothing back."""
CUT_SHORT = "Its start was cut short: nothing ran, the folder is untouched."
"""The detail of a loop that was closed since its workflow never began."""


@contextlib.contextmanager
def being_started(loop: LoopFolder) -> Iterator[None]:
    """Held by the command, from before the ledger has the loop until the server has it."""
    path = _lock(loop)
    with locked(path):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def is_being_started(loop: LoopFolder) -> bool:
    return is_locked(_lock(loop))


def has_begun(loop: LoopFolder, status: Status) -> bool:
    """Whether the server has ever had the loop's workflow. Where a command that was to start it was killed, what it
    held until then is still there, and no step of the workflow is noted."""
    return status.version > 0 or last_ticket(loop) > 0 or not _lock(loop).exists()


def forget_start(loop: LoopFolder) -> None:
    """Remove what a command that was killed has left."""
    _lock(loop).unlink(missing_ok=True)


def _lock(loop: LoopFolder) -> Path:
    return loop.root.with_name(f"{loop.id}.starting")
