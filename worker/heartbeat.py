"""A worker that hangs is told from one that works by the file it touches, and is replaced. Standard library only.

A hung worker (stopped by SIGSTOP, caught in a system call, deadlocked) holds what it was writing: its loops' locks, the
ledger's. Its agents run on under their shims, and the worker that takes its place adopts them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

HUNG_AFTER_S = 60.0
LOOKS = 6
"""Without a beat between them: a machine that slept, or a supervisor that was stopped itself, has made only one."""


def hung_after_s(environ: Mapping[str, str]) -> float:
    """How long a worker may be silent; BEATCTL_HUNG_AFTER_S changes it, 0 means for ever."""
    text = environ.get("BEATCTL_HUNG_AFTER_S", "")
    return float(text) if text.replace(".", "", 1).isdigit() else HUNG_AFTER_S


def beat(folder: Path, pid: int) -> None:
    """Say that this worker lives."""
    path = file_of(folder, pid)
    try:
        os.utime(path)
    except FileNotFoundError:
        path.touch(mode=0o600)


def file_of(folder: Path, pid: int) -> Path:
    return folder / f"worker-{pid}.beat"


def forget(folder: Path, pid: int | None = None) -> None:
    """Remove a worker's file, or (None) everybody's."""
    for path in folder.glob("worker-*.beat") if pid is None else [file_of(folder, pid)]:
        path.unlink(missing_ok=True)


class Watch:
    """On one worker at a time, by its supervisor."""

    def __init__(self, folder: Path, after_s: float) -> None:
        self._folder = folder
        self._every_s = after_s / LOOKS
        self._pid: int | None = None
        self._seen = 0.0
        self._silent = 0
        self._next = 0.0

    @property
    def every_s(self) -> float | None:
        """Seconds between two looks; None: nobody is watched."""
        return self._every_s or None

    def finds_hung(self, pid: int, now: float) -> bool:
        """Whether this worker has been silent for too long. To be asked at least every `every_s` seconds; `now` in
        monotonic seconds."""
        if not self._every_s or (pid == self._pid and now < self._next):
            return False
        try:
            beaten = file_of(self._folder, pid).stat().st_mtime
        except FileNotFoundError:
            return False
        silent = pid == self._pid and beaten == self._seen
        self._silent = self._silent + 1 if silent else 0
        self._pid, self._seen, self._next = pid, beaten, now + self._every_s
        return self._silent >= LOOKS
