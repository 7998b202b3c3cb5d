"""Keeping the machine from sleeping while loops run, where the system offers it. Standard library only.

systemd-inhibit and caffeinate hold the machine awake as long as a program under them runs. Ours is `cat`, which reads
from the supervisor and so ends with it, however it ends.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

VARIABLE = "BEATCTL_INHIBIT_SLEEP"
LOOK_S = 5.0
"""Between looks at the loops."""
RETRY_S = 600.0
"""After the system has refused."""
REFUSED_WITHIN_S = 5.0
"""One that ends so soon was refused; later, somebody ended it."""

_INHIBIT = ("--who=beatctl", "--why=loops of coding agents run", "--mode=block", "cat")


def is_allowed(environ: Mapping[str, str]) -> bool:
    """Whether the user lets us."""
    return environ.get(VARIABLE, "").strip().lower() not in ("0", "false", "no", "off")


def ways(platform: str) -> list[list[str]]:
    """The command lines that hold the machine awake, the best first."""
    if platform == "darwin":
        return [["caffeinate", "-i", "cat"]]
    # Over ssh systemd refuses to block sleep, but not the sleep of an idle machine.
    return [["systemd-inhibit", f"--what={what}", *_INHIBIT] for what in ("idle:sleep", "idle")]


def should_hold(going: int, *, allowed: bool, works: bool) -> bool:
    """`going`: loops that are neither paused nor finished. `works`: server and worker are not in a crash loop."""
    return allowed and works and going > 0


def going_loops(ledger: Path, connection: str) -> int:
    """The loops on a server that are neither paused nor finished; 0 where the ledger can't be read."""
    words = (
        "select count(*) from loops where json_extract(status, '$.state') in ('running', 'waiting') "
        "and coalesce(json_extract(status, '$.connection'), 'embedded') = ?"
    )
    try:
        with closing(sqlite3.connect(f"{ledger.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)) as database:
            return int(database.execute(words, (connection,)).fetchone()[0])
    except sqlite3.Error:
        return 0


class Awake:
    """Holds the machine awake while it should. `look` is called often and does little."""

    def __init__(self, ledger: Path, connection: str, environ: Mapping[str, str], platform: str) -> None:
        self.problem: str | None = None
        """Why the system does not keep awake."""
        self._ledger = ledger
        self._connection = connection
        self._environ = environ
        self._allowed = is_allowed(environ)
        self._ways = ways(platform)
        self._way = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._next_look = 0.0
        self._next_try = 0.0
        self._seen: object = None
        self._going = 0

    def look(self, *, works: bool) -> None:
        """Take or let go of the hold."""
        self._note_end()
        now = time.monotonic()
        if not self._allowed or now < self._next_look:
            return
        self._next_look = now + LOOK_S
        if self._has_changed():
            self._going = going_loops(self._ledger, self._connection)
        if not should_hold(self._going, allowed=self._allowed, works=works):
            self.end()
        elif self._process is None and now >= self._next_try:
            self._begin()

    def seconds_to_wait(self) -> float | None:
        return max(0.0, self._next_look - time.monotonic()) if self._allowed else None

    def state(self) -> dict[str, Any]:
        return {"allowed": self._allowed, "held": self._process is not None, "problem": self.problem}

    def end(self) -> None:
        """Let the machine sleep."""
        process, self._process = self._process, None
        if process is None:
            return
        _close(process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(2.0)
        if process.poll() is None:
            process.kill()
            process.wait()

    def _has_changed(self) -> bool:
        seen = [_stamp(self._ledger), _stamp(self._ledger.with_name(f"{self._ledger.name}-wal"))]
        changed, self._seen = seen != self._seen, seen
        return changed

    def _begin(self) -> None:
        line = self._ways[self._way]
        program = shutil.which(line[0], path=self._environ.get("PATH"))
        if program is None:
            self._refused(f"{line[0]} is not on PATH")
            return
        try:
            self._process = subprocess.Popen(
                [program, *line[1:]],
                cwd="/",
                env=dict(self._environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as problem:
            self._refused(str(problem))
            return
        self._began = time.monotonic()

    def _note_end(self) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            if time.monotonic() - self._began > REFUSED_WITHIN_S:
                self.problem = None
            return
        self._process = None
        said = _said(process)
        _close(process)
        self._next_look = 0.0
        if time.monotonic() - self._began > REFUSED_WITHIN_S:
            return
        if self._way + 1 < len(self._ways):
            self._way += 1
            return
        self._refused(said or f"{self._ways[self._way][0]} ended with exit code {process.returncode}")

    def _refused(self, why: str) -> None:
        self.problem = why
        self._way = 0
        self._next_try = time.monotonic() + RETRY_S


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _said(process: subprocess.Popen[bytes]) -> str:
    """Its last line on stderr; never waits for whoever else may hold that open."""
    if process.stderr is None:
        return ""
    os.set_blocking(process.stderr.fileno(), False)
    text = (process.stderr.read() or b"").decode(errors="replace").strip()
    return text.splitlines()[-1] if text else ""


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stderr):
        if stream is not None:
            with suppress(OSError):
                stream.close()
