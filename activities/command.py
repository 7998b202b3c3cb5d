"""A `beatctl` command on this host, for an activity: in a session of its own, so that it outlives a killed worker.

Its lock tells whoever comes later that it is still at work: the system frees it when the command dies.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from temporalio import activity
from temporalio.exceptions import ApplicationError

from beatctl.activities.text import clean

_STEP_S = 0.05
_MOST = 8000
"""Characters of a command's words that travel."""


@dataclass(frozen=True)
class Said:
    """How a command ended, and the end of what it said."""

    exit_code: int
    stdout: str
    stderr: str


@asynccontextmanager
async def one_at_a_time(folder: Path) -> AsyncIterator[int]:
    """Hold the folder's lock, to be given to `run`; waits for a command that an earlier attempt has left running."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await pause_for(_STEP_S)
        yield handle
    finally:
        os.close(handle)


async def run(line: Sequence[str], folder: Path, environ: Mapping[str, str], lock: int) -> Said:
    """Run a command to its end, which no cancellation hastens; a stopping worker leaves it running.

    Its output goes to files in `folder`. Raises a retryable ApplicationError where the worker stops.
    """
    process = await asyncio.to_thread(_begin, line, folder, environ, lock)
    try:
        while process.poll() is None:
            try:
                await pause_for(_STEP_S)
            except asyncio.CancelledError:
                details = activity.cancellation_details()
                if details is None or not details.cancel_requested:
                    raise
        return Said(process.returncode, _end_of(folder / "stdout"), _end_of(folder / "stderr"))
    finally:
        if process.returncode is None:
            process.returncode = 0  # it goes on without us: nothing to warn about when the object goes


def _begin(line: Sequence[str], folder: Path, environ: Mapping[str, str], lock: int) -> subprocess.Popen[bytes]:
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        return subprocess.Popen(
            line,
            cwd="/",
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            pass_fds=[lock],
        )


async def pause_for(seconds: float) -> None:
    """Raises a retryable ApplicationError as soon as the worker stops."""
    try:
        await asyncio.wait_for(activity.wait_for_worker_shutdown(), seconds)
    except TimeoutError:
        return
    raise ApplicationError("The worker stops; another goes on", type="WorkerShutdown")


def _end_of(path: Path) -> str:
    return clean(path.read_text(encoding="utf-8", errors="replace")[-_MOST:])
