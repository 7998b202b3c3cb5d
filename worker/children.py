"""A program the supervisor keeps alive: started, watched, started again, ended. Standard library only."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from beatctl.worker.run_folder import process_start

LOG_LIMIT = 20 * 1024 * 1024
STEADY_S = 1.0
"""Who served this long was well: its end is an accident, not a habit."""

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def restart_delay(failures: int, *, killed: bool = False) -> float:
    """Seconds to wait before a start, after so many starts in a row that came to nothing. One that somebody killed did
    not fail by itself, and may be what a loop waits for."""
    longest = 1.0 if killed else 30.0
    return 0.0 if failures <= 1 else min(longest, 0.2 * 2 ** min(failures - 2, 10))


def rotate(log: Path) -> None:
    """Keep one older log when this one has grown."""
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_name(log.name + ".1"))


def end_of(log: Path, since: int, limit: int = 4000) -> str:
    """What a program said last, from its log."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - limit, min(since, size)))
            return file.read().decode(errors="replace").strip()
    except FileNotFoundError:
        return ""


def _die_with(parent: int) -> Callable[[], None]:
    """For the child, before its program starts: end it when the supervisor is killed, so that none is left to collide
    with its successor. Agents are not the worker's children; they live on."""

    def prepare() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # killed before we asked
                os._exit(1)

    return prepare


class Child:
    """One program. `wants_start_at` (monotonic seconds) says when it may be started again."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.failures = 0
        """Starts in a row that came to nothing."""
        self.ever_ready = False
        self.ready_since: float | None = None
        self.started_at = 0.0
        self.wants_start_at = 0.0
        self.start_time: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log_size = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self, line: list[str], environ: Mapping[str, str]) -> None:
        rotate(self.log)
        self._log_size = self.log.stat().st_size if self.log.exists() else 0
        self.started_at = time.monotonic()
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C on a supervisor in the foreground is the supervisor's to handle.
            self._process = subprocess.Popen(
                line,
                cwd="/",
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),
            )
        self.start_time = process_start(self._process.pid)

    def is_ready(self) -> bool:
        return self.ready_since is not None

    def mark_ready(self) -> None:
        if self.ready_since is None:
            self.ready_since = time.monotonic()
            self.ever_ready = True

    def has_ended(self) -> int | None:
        """The exit code, once, when the program has ended; also says when it may start again."""
        code = self._process.poll() if self._process else None
        if code is None:
            return None
        now = time.monotonic()
        steady = self.ready_since is not None and now - self.ready_since >= STEADY_S
        self.failures = 0 if steady else self.failures + 1
        self._forget(now + restart_delay(self.failures, killed=code == -signal.SIGKILL))
        return code

    def failed_to_start(self) -> None:
        """It could not even be started."""
        self.failures += 1
        self._forget(time.monotonic() + restart_delay(self.failures))

    def said(self) -> str:
        """The end of what it wrote since it was last started."""
        return end_of(self.log, self._log_size)

    def signal(self, number: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)

    def end(self, patience: float) -> None:
        """SIGTERM, `patience` seconds, SIGKILL."""
        if self._process is None:
            return
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._forget(0.0)

    def _forget(self, wants_start_at: float) -> None:
        self._process, self.start_time, self.ready_since = None, None, None
        self.wants_start_at = wants_start_at
