"""What the tests of processes share: starting tries, waiting for conditions, leaving nothing behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from beatctl.activities.processes import CommandSpec, RunResult, Spawner, Try, end, end_remains, new_try, tree, wait


class Bench:
    """Starts tries, and after the test ends them and looks that nothing is left."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = root / "runs"
        self.tries: list[Try] = []
        self.spawners: list[Spawner] = []
        self.pids: list[tuple[int, str]] = []

    def spawner(self) -> Spawner:
        self.spawners.append(Spawner())
        return self.spawners[-1]

    def new(self, *argv: str, run: str = "run", **options: Any) -> Try:
        options.setdefault("cwd", str(self.root))
        spec = CommandSpec.model_validate({"argv": list(argv), **options})
        self.tries.append(new_try(self.runs / run, spec))
        return self.tries[-1]

    def python(self, code: str, **options: Any) -> Try:
        return self.new(sys.executable, "-I", "-S", "-c", code, **options)

    async def start(self, try_: Try) -> Try:
        if not self.spawners:
            self.spawner()
        await self.spawners[0].start(try_)
        return try_

    async def run(self, try_: Try) -> RunResult:
        await self.start(try_)
        return await wait(try_)

    async def pid_in(self, name: str) -> int:
        """The pid a child wrote to that file, once it is there; looked after at the end."""
        path = self.root / name
        await until(lambda: path.exists() and path.read_text().endswith("\n"))
        pid = int(path.read_text())
        process = tree.read(pid)
        self.pids.append((pid, process.start if process else ""))
        return pid

    async def close(self) -> None:
        for try_ in self.tries:
            await end(try_)
            await asyncio.to_thread(end_remains, try_)
        for spawner in self.spawners:
            await spawner.close()
        for pid, start in self.pids:
            process = tree.read(pid)
            if process is not None and process.start == start:
                tree.send(process, 9)


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "never came true"
        await asyncio.sleep(0.005)


def alive(pid: int) -> bool:
    process = tree.read(pid)
    return process is not None and process.state != "Z"


_WORKER = """
import asyncio, pathlib, sys
from beatctl.activities.processes import Spawner, Try
async def main():
    await Spawner().start(Try(pathlib.Path(sys.argv[1]), int(sys.argv[2])))
    print("started", flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""


def start_in_a_worker_and_kill_it(try_: Try) -> None:
    """Start the try from a process of its own, and kill that process."""
    command = [sys.executable, "-c", _WORKER, str(try_.run), str(try_.number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"started\n"
        worker.kill()
