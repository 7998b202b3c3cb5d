"""What the supervisor, the worker and the commands tell each other about what runs, in HOME/run/<label>/.

The lock held on `supervisor.lock` is the only truth about whether a supervisor lives. The JSON files beside it may be
left over from a killed one: what they say counts while the process they name lives. Standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import time
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

EMBEDDED = "embedded"


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def process_start(pid: int) -> str | None:
    """What tells this process from a later one of the same number; None when no such process lives."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        if os.path.exists("/proc/self/stat"):
            return None
        said = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout.strip()
        return None if not said or said.startswith("Z") else said.partition(" ")[2].strip()
    # Counted from the machine's start, and the next one may go much like the last.
    return None if fields[0] in "ZX" else f"{_boot()} {fields[19]}"


def is_alive(pid: int | None, start: str | None) -> bool:
    return bool(pid) and start is not None and process_start(pid or 0) == start


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def end_process(pid: int | None, start: str | None, patience: float = 10.0) -> None:
    """SIGTERM, `patience` seconds, SIGKILL, to exactly the process that has this number and start."""
    for sign, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 10.0)):
        if not pid or not is_alive(pid, start):
            return
        try:
            os.kill(pid, sign)
        except ProcessLookupError:
            return
        wait_until(lambda: not is_alive(pid, start), seconds)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; empty when there is none, or none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """By rename, so that a reader sees the old or the new."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(value), encoding="utf-8")
    draft.replace(path)


class RunFolder:
    """HOME/run/<label>/ of one connection."""

    def __init__(self, home: Path, label: str) -> None:
        self.home = home
        self.label = label
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", label)
        if plain != label:
            plain += "-" + f"{zlib.crc32(label.encode()):08x}"
        self.root = home / "run" / plain
        logs = home / "logs" if label == EMBEDDED else home / "logs" / plain
        self.supervisor_log = logs / "supervisor.log"
        self.server_log = logs / "server.log"
        self.worker_log = logs / "worker.log"
        self.lock = self.root / "supervisor.lock"
        self.state = self.root / "supervisor.json"
        self.worker = self.root / "worker.json"
        self.ports = self.root / "ports.json"
        self.connection = self.root / "connection.json"
        self.shut_down = self.root / "shut-down"
        """There when the user said `down`: only `start`, `up`, `resume` and `cancel` bring things back then."""

    @classmethod
    def all(cls, home: Path) -> list[RunFolder]:
        """One for each connection this home has ever had."""
        return [cls(home, root.name) for root in sorted((home / "run").glob("*/"))]

    def create(self) -> RunFolder:
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.supervisor_log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self

    def is_held(self) -> bool:
        """Whether a supervisor lives."""
        try:
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            # Shared, so that two who look at the same moment don't see each other.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def hold(self) -> int | None:
        """Take the supervisor's lock for the life of this process; None when another supervisor has it.

        It never waits for another one's end: it would come to life just when the user has said `down`.
        """
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                pass
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            # Shared it could be had: somebody merely looks (`is_held`), for an instant.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            time.sleep(0.001)

    def read_state(self) -> dict[str, Any]:
        """The living supervisor's state; empty when none lives or it has not written yet."""
        state = read_json(self.state)
        return state if self.is_held() and is_alive(state.get("pid"), state.get("pid_start")) else {}

    def polling_worker(self, pid: int | None) -> bool:
        """Whether the worker with this number has said that it takes work."""
        return pid is not None and read_json(self.worker).get("pid") == pid
