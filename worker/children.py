"""A program the supervisor keeps alive: started, watched, started again, ended. Standard library only."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from beatctl.worker import backoff
from beatctl.worker.backoff import CrashLoop, End
from beatctl.worker.run_folder import process_start

LOG_LIMIT = 8 * 1024 * 1024
LOGS_KEPT = 3
"""Older parts of a log, each as large."""
MOST_ENDS = 1000
"""Remembered of one program."""

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def rotate(log: Path) -> bool:
    """Put the content of a log that has grown aside, as `.1`, and what was that as `.2`, …; says whether it did.

    The file itself stays: whoever writes to it appends, and goes on at its beginning. What is written in the instant
    between copy and cut is lost.
    """
    try:
        if log.stat().st_size <= LOG_LIMIT:
            return False
        older = [log.with_name(f"{log.name}.{number}") for number in range(1, LOGS_KEPT + 1)]
        draft = log.with_name(f"{log.name}.part")
        shutil.copyfile(log, draft)
        for newer, name in reversed(list(itertools.pairwise(older))):
            if newer.exists():
                newer.replace(name)
        draft.replace(older[0])
        os.truncate(log, 0)
    except OSError:  # no such log, or no room: another time
        return False
    return True


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
        self.ends: list[End] = []
        """The newest, oldest first."""
        self.last_words = ""
        """What it said last when it last ended."""
        self.ever_ready = False
        self.ready_since: float | None = None
        self.started_at = 0.0
        self.wants_start_at = 0.0
        self.next_start = 0.0
        """The same in unix seconds, for people."""
        self.start_time: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log_size = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self, line: list[str], environ: Mapping[str, str]) -> None:
        self.rotate()
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

    def rotate(self) -> None:
        """Keep its log small, also while it runs."""
        if rotate(self.log):
            self._log_size = 0

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
        self.last_words = end_of(self.log, self._log_size)
        self._ended(killed=code == -signal.SIGKILL)
        return code

    def failed_to_start(self, why: str) -> None:
        """It could not even be started."""
        self.last_words = why
        self._ended()

    def _ended(self, *, killed: bool = False) -> None:
        now = time.monotonic()
        served = None if self.ready_since is None else now - self.ready_since
        self.ends = [*self.ends[1 - MOST_ENDS :], End(time.time(), served, killed)]
        wait = backoff.delay(self.ends)
        self.next_start = time.time() + wait
        self._forget(now + wait)

    def try_now(self) -> None:
        """Somebody asks for it: no more waiting."""
        self.wants_start_at, self.next_start = 0.0, time.time()

    def forgets_ends_at(self) -> float | None:
        """When (monotonic seconds) it will have served long enough for its ends to be forgotten; None: not in sight."""
        return self.ready_since + backoff.HEALTHY_S if self.ends and self.ready_since is not None else None

    def crash_loop(self, what: str) -> CrashLoop | None:
        """Whether it ends again and again. Ends before a healthy run, the one at the moment too, are forgotten."""
        forgets_at = self.forgets_ends_at()
        if forgets_at is not None and time.monotonic() >= forgets_at:
            self.ends = []
        how = backoff.habit(self.ends)
        if how is None:
            return None
        recent = backoff.since_healthy(self.ends)
        return CrashLoop(
            what=what,
            how=how,
            times=len(recent),
            since=recent[0].at,
            last=recent[-1].at,
            next=None if self.pid else self.next_start,
            serves=self.is_ready(),
            said=backoff.last_line(self.last_words),
            log=str(self.log),
        )

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
