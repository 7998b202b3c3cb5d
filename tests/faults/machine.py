"""A home's processes and files, to break them as a machine does."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import uuid
from pathlib import Path

from beatctl.activities.workspace.files import read_note, write_note
from tests.loops.conftest import Loops
from tests.support import processes_of, wait_until

MINIMIZE = ("--eval", "cat n", "--minimize")
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def pid_of(loops: Loops, what: str) -> int:
    """Of the worker, server or supervisor, as doctor tells it."""
    told = wait_until(lambda: loops.do("doctor").get(what), f"the {what}'s pid")
    return int(told["pid"])


def kill(loops: Loops, what: str) -> None:
    os.kill(pid_of(loops, what), signal.SIGKILL)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def second_worker(loops: Loops) -> subprocess.Popen[str]:
    """Another worker of the same home; ended with the test."""
    return loops.beatctl.popen("worker", cwd=loops.repository.folder)


def agent_runs(log: Path) -> list[str]:
    """What the test's agents have noted, a word a run."""
    return log.read_text().split() if log.exists() else []


def cut_the_power(loops: Loops) -> None:
    """Every process of the home is gone at once, agents too; what is left names pids of another boot."""
    home = loops.beatctl.home

    def gone() -> bool:
        for pid in processes_of(home):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not processes_of(home)

    wait_until(gone, "the end of every process")
    if not _BOOT.exists():
        return
    now, before = _BOOT.read_text().strip(), str(uuid.uuid4())
    for file in (*home.glob("run/*/*.json"), *home.glob("loops/*/runs/*/*.jsonl")):
        text = file.read_text()
        if now in text:
            file.write_text(re.sub(re.escape(now), before, text))
    for file in home.glob("loops/*/ticket"):
        write_note(file, {**read_note(file), "boot": before})


def copy_of(database: Path) -> Path:
    """A copy of a database that is in use, as it is at this moment."""
    copy = database.with_name(f"{database.name}.before")
    with contextlib.closing(sqlite3.connect(database)) as source, contextlib.closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def put_back(copy: Path) -> None:
    """The database is what it was, with nothing of what came later. Nobody uses it."""
    database = copy.with_name(copy.name.removesuffix(".before"))
    for end in ("-wal", "-shm"):
        database.with_name(database.name + end).unlink(missing_ok=True)
    copy.replace(database)
