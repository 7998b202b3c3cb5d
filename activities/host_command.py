"""A `beatctl` command on a loop of this host, for somebody at another: what it prints travels back."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from pydantic import BaseModel
from temporalio import activity
from temporalio.exceptions import ApplicationError

from beatctl.activities.beating import beating
from beatctl.activities.home import Home

ALLOWED = frozenset(
    {
        *("status", "show", "logs", "diff", "report", "ui"),
        *("pause", "resume", "stop", "cancel", "set", "note", "apply", "undo", "push"),
    }
)
"""The commands on one loop; none of them starts anything that the loop was not started with."""
_MOST_READ = 8 << 20
_MOST_PACKED = 600_000
"""Bytes: a payload of more than two million is refused by Temporal, and one above half a million frowned upon."""
_KILL_AFTER_S = 10.0


class HostCommand(BaseModel):
    """What was typed, the loop's id written out: `["show", "k3f9", "--json"]`."""

    words: list[str]


class Answer(BaseModel):
    """How the command ended and what it printed: deflated, since a long loop's ledger is."""

    exit_code: int
    stdout: str = ""
    stderr: str = ""
    cut: int = 0
    """Bytes of its standard output that are left out at the end."""

    def read(self) -> tuple[bytes, bytes]:
        """Its standard output and its messages."""
        return _unpacked(self.stdout), _unpacked(self.stderr)


class HostCommands:
    """The activity of one host."""

    def __init__(self, home: Home, command: Sequence[str], environment: Callable[[], Mapping[str, str]]) -> None:
        """`command`: this installation's `beatctl`. `environment`: what it gets."""
        self._home = home
        self._command = list(command)
        self._environment = environment

    def all(self) -> list[Callable[..., Any]]:
        return [self.run_command]

    @activity.defn
    async def run_command(self, given: HostCommand) -> Answer:
        """Run it to its end; one that is cancelled ends as with Ctrl-C."""
        if not given.words or given.words[0] not in ALLOWED:
            raise ApplicationError(f"Not a command on a loop: {given.words[:1]}", non_retryable=True)
        async with beating():
            # Files without a name: a worker that is killed leaves nothing.
            with tempfile.TemporaryFile(dir=self._home.root) as out, tempfile.TemporaryFile(dir=self._home.root) as err:
                line = [*self._command, *given.words]
                process = await asyncio.create_subprocess_exec(
                    *line, cwd="/", env=self._environment(), stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=err
                )
                try:
                    code = await process.wait()
                finally:
                    if process.returncode is None:
                        await _end(process)
                stdout, cut = _packed(out)
                stderr, _ = _packed(err)
                return Answer(exit_code=code, stdout=stdout, stderr=stderr, cut=cut)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _KILL_AFTER_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def _packed(file: IO[bytes]) -> tuple[str, int]:
    """A file's beginning, as much as may travel, and how many bytes are left out."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    text = file.read(_MOST_READ)
    packed = zlib.compress(text)
    while len(packed) > _MOST_PACKED:
        text = text[: len(text) * _MOST_PACKED // len(packed) * 9 // 10]
        packed = zlib.compress(text)
    return base64.b64encode(packed).decode("ascii"), size - len(text)


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text)) if text else b""
