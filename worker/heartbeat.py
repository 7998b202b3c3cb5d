"""A worker or server that hangs is told from one that works, and is replaced. Standard library only.

A hung worker (stopped by SIGSTOP, caught in a system call, deadlocked) holds what it was writing: its loops' locks, the
ledger's. Its agents run on under their shims, and the worker that takes its place adopts them. It is known by the file
it touches; a hung server by what it does not answer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HUNG_AFTER_S = 60.0
LOOKS = 6
"""Without a beat between them: a machine that slept, or a supervisor that was stopped itself, has made only one."""
_TOLD_FROM = 2
"""Looks in a row after which silence is told: one comes with a busy machine."""


@dataclass(frozen=True)
class Silence:
    """A program that does not answer, as the supervisor's state tells it."""

    what: str
    """`worker` or `Temporal server`."""
    since: float
    """Unix seconds."""
    after_s: float
    """After how long another takes its place."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def words(silence: Silence, now: float) -> str:
    """One line for people. Pure; `now` in unix seconds."""
    return (
        f"The {silence.what} has not answered for {max(1.0, now - silence.since):.0f} s; after {silence.after_s:.0f} s "
        "another takes its place. Agents that run go on."
    )


def hung_after_s(environ: Mapping[str, str]) -> float:
    """How long a worker or server may be silent; BEATCTL_HUNG_AFTER_S changes it, 0 means for ever."""
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


def last_beat(folder: Path, pid: int) -> float | None:
    """When this worker last said that it lives; None: never, it is still starting."""
    try:
        return file_of(folder, pid).stat().st_mtime
    except FileNotFoundError:
        return None


class Watch:
    """On one process at a time, by its supervisor."""

    def __init__(self, what: str, after_s: float, sign: Callable[[int], float | None]) -> None:
        """`sign` is another one whenever the process of that pid has given a sign of life; None: it can't be told."""
        self._what = what
        self._after_s = after_s
        self._every_s = after_s / LOOKS
        self._sign = sign
        self._pid: int | None = None
        self._seen = 0.0
        self._silent = 0
        self._next = 0.0
        self.silence: Silence | None = None

    @property
    def every_s(self) -> float | None:
        """Seconds between two looks; None: nobody is watched."""
        return self._every_s or None

    def finds_hung(self, pid: int, now: float) -> bool:
        """Whether this process has been silent for too long. To be asked at least every `every_s` seconds; `now` in
        monotonic seconds."""
        if not self._every_s or (pid == self._pid and now < self._next):
            return False
        sign = self._sign(pid)
        if sign is None:
            return False
        silent = pid == self._pid and sign == self._seen
        self._silent = self._silent + 1 if silent else 0
        self._pid, self._seen, self._next = pid, sign, now + self._every_s
        if self._silent < _TOLD_FROM:
            self.silence = None
        elif self.silence is None:
            self.silence = Silence(self._what, time.time() - self._silent * self._every_s, self._after_s)
        return self._silent >= LOOKS

    def forget(self) -> None:
        """It has ended."""
        self._pid, self._silent, self.silence = None, 0, None
