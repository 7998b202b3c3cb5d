"""The worker's handle on its spawner process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from .attempts import Try

_PROGRAM = Path(__file__).with_name("spawner.py")
_ANSWER_S = 30.0
"""A spawner silent for so long is replaced; its shims do not mind."""
_TRIES = 3


class StartFailed(Exception):
    """No shim could take the try on, and nothing was spawned. `errno` is the system's number where there is one."""

    def __init__(self, text: str, errno: int | None = None) -> None:
        super().__init__(text)
        self.errno = errno


class _Gone(Exception):
    """The spawner, or the shim before it started anything, went away unanswered."""


class Spawner:
    """One spawner process, started on first use and again when it has died. For one event loop."""

    def __init__(self) -> None:
        self._process: _Process | None = None
        self._opening = asyncio.Lock()

    async def start(self, try_: Try) -> None:
        """Have a shim take the try on; returns once `started` exists. Raises StartFailed.

        A try that already runs, is done or is lost is left as it is: nothing is ever spawned twice for one try.
        """
        trouble = "it ended each time it was asked"
        for _ in range(_TRIES):
            if await _settled(try_):
                return
            process = await self._open()
            try:
                answer = await process.ask(str(try_.journal))
            except _Gone as problem:
                trouble = str(problem)
                continue
            if "error" in answer:
                raise StartFailed(f"The run in {try_.journal} could not be started: {answer['error']}", answer["errno"])
            if "started" in answer:
                return
            # Another shim holds the lock: it will start it, or die and leave it fresh.
        if not await _settled(try_):
            raise StartFailed(f"The run in {try_.journal} could not be started: {trouble}.")

    async def close(self) -> None:
        """The spawner ends; shims go on."""
        if self._process is not None:
            process, self._process = self._process, None
            await process.close()

    @property
    def pid(self) -> int | None:
        """The spawner's process, while there is one."""
        return self._process.popen.pid if self._process is not None and self._process.alive else None

    async def _open(self) -> _Process:
        async with self._opening:
            if self._process is None or not self._process.alive:
                if self._process is not None:
                    await self._process.close()
                self._process = await _Process.open()
            return self._process


async def _settled(try_: Try) -> bool:
    """Whether the try needs no start. A shim between its lock and `started` is waited for."""
    limit = time.monotonic() + _ANSWER_S
    # Files are what there is to look at: the other side is another process.
    while (state := try_.state()) == "running" and not try_.has_started():
        if time.monotonic() > limit:
            raise StartFailed(
                f"Process {try_.shim_pid()} holds {try_.journal} and does not start its run. Is it stopped?"
            )
        await asyncio.sleep(0.002)
    return state != "fresh"


class _Process:
    def __init__(
        self, popen: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log: IO[bytes]
    ) -> None:
        self.popen = popen
        self.alive = True
        self._writer = writer
        self._log = log
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last = 0
        self._listening = asyncio.create_task(self._listen(reader))

    @classmethod
    async def open(cls) -> _Process:
        ours, theirs = socket.socketpair()
        # What the spawner says when it cannot even start; a file, since a pipe would be held open by every shim.
        log = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            popen = subprocess.Popen(  # noqa: ASYNC220  (a vfork; once in a worker's life)
                [sys.executable, "-I", "-S", "-X", "utf8", str(_PROGRAM), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=[theirs.fileno()],
                cwd="/",
                start_new_session=True,
            )
        except OSError as problem:
            ours.close()
            log.close()
            raise StartFailed(f"{sys.executable} could not be started: {problem.strerror}", problem.errno) from problem
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours)
        return cls(popen, reader, writer, log)

    async def ask(self, journal: str) -> dict[str, Any]:
        """Raises _Gone when no answer comes."""
        self._last += 1
        number = self._last
        answer: asyncio.Future[dict[str, Any]]
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(json.dumps({"id": number, "journal": journal}).encode() + b"\n")
            async with asyncio.timeout(_ANSWER_S):
                return await answer
        except TimeoutError:
            self.alive = False
            self.popen.kill()
            raise _Gone(f"the spawner did not answer for {_ANSWER_S:.0f} s") from None
        finally:
            del self._asked[number]

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                answer = json.loads(line)
                waiting = self._asked.get(answer["id"])
                if waiting is None or waiting.done():
                    continue
                if "ended" in answer:
                    waiting.set_exception(_Gone("its shim ended at once"))
                else:
                    waiting.set_result({"errno": None, **answer})
        self.alive = False
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_exception(_Gone(f"the spawner ended. {self._last_words()}"))

    def _last_words(self) -> str:
        self._log.seek(0)
        return self._log.read()[-2000:].decode(errors="replace").strip()

    async def close(self) -> None:
        self.alive = False
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        self._listening.cancel()
        try:
            await asyncio.to_thread(self.popen.wait, 5)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            await asyncio.to_thread(self.popen.wait)
        self._log.close()
