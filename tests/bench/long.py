"""A loop of thousands of iterations: whether its end costs what its beginning did."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from pathlib import Path

from temporalio.client import Client

from beatctl.activities.home import Home
from beatctl.worker.what_runs import running
from tests.bench.figures import heading, line, median
from tests.bench.loops import gaps_of, make_folder, run
from tests.loops.nights import night
from tests.support import Beatctl

EDGE = 100
RUNS = 11


def measure(beatctl: Beatctl, folder: Path, iterations: int) -> None:
    make_folder(folder, in_git=True)
    heading(f"a long loop ({iterations:,} iterations, no-op commands, in a git repository)")
    beatctl("up", "-d", cwd=folder, expect=0)
    loop = run(beatctl, folder, iterations)
    gaps = gaps_of(beatctl, loop, iterations)
    edge = min(EDGE, len(gaps) // 2)
    first, last = median(gaps[:edge]), median(gaps[-edge:])
    line(f"median of the first {edge}", f"{1000 * first:.0f} ms")
    line(f"median of the last {edge}", f"{1000 * last:.0f} ms")
    line("last / first", f"{last / first:.2f}", "1.10 or less is the aim")
    line("load of this machine", f"{os.getloadavg()[0]:.1f}", f"{os.cpu_count()} cores")
    found = running(Home(beatctl.home), beatctl.environ)
    assert found is not None
    runs = asyncio.run(_chain(found.connection.address, loop))
    line("runs in its chain", f"{len(runs)}")
    line("the longest run", f"{max(events for events, _ in runs):,} events", "below 5,000 is the aim")
    line("the largest run", f"{max(size for _, size in runs) / 1e6:.2f} MB", "below 2 is the aim")


def measure_commands(beatctl: Beatctl, folder: Path, iterations: int) -> None:
    """What commands take for a loop with so many rows, against one with five. Each in a home of its own."""
    folder.mkdir()
    heading(f"commands on a loop of {iterations:,} rows, against one of 5")
    homes = {rows: folder / f"home-{rows}" for rows in (5, iterations)}
    for rows, home in homes.items():
        home.mkdir()
        night(home, "k3f9", rows)
    for words in (("list",), ("status", "k3f9"), ("show", "k3f9", "5"), ("show", "k3f9"), ("report", "k3f9")):
        took: dict[int, list[float]] = {rows: [] for rows in homes}
        for _ in range(RUNS):  # in turn: what else the machine does, it does to both
            for rows, home in homes.items():
                start = time.perf_counter()
                command = [str(beatctl.program), *words]
                environ = {**beatctl.environ, "BEATCTL_HOME": str(home)}
                subprocess.run(command, cwd=folder, env=environ, stdout=subprocess.DEVNULL, check=True)
                took[rows].append(time.perf_counter() - start)
        few, many = median(took[5]), median(took[iterations])
        line(f"beatctl {' '.join(words)}", f"{1000 * many:.0f} ms", f"{many / few:.2f} times {1000 * few:.0f} ms")


async def _chain(address: str, loop: str) -> list[tuple[int, int]]:
    """Events and bytes of each run of a loop's chain."""
    client = await Client.connect(address)
    runs = []
    async for one in client.list_workflows(f"WorkflowId = 'beatctl-{loop}'"):
        described = await client.get_workflow_handle(one.id, run_id=one.run_id).describe()
        info = described.raw_description.workflow_execution_info
        runs.append((info.history_length, info.history_size_bytes))
    return runs
