"""Whether a command is about to start a loop's workflow: a lock that the system frees where the command dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from beatctl.activities.home import LoopFolder


@contextlib.contextmanager
def being_started(loop: LoopFolder) -> Iterator[None]:
    """Held by the command, from before the ledger has the loop until the server has it."""
    path = _lock(loop)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def is_being_started(loop: LoopFolder) -> bool:
    try:
        handle = os.open(_lock(loop), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def forget_start(loop: LoopFolder) -> None:
    """Remove what a command that was killed has left."""
    _lock(loop).unlink(missing_ok=True)


def _lock(loop: LoopFolder) -> Path:
    return loop.root.with_name(f"{loop.id}.starting")
