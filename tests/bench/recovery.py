"""How long a loop stands still when what runs it is killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.worker.what_runs import Running, running
from tests.bench.figures import heading, line, median
from tests.bench.loops import WORDS, make_folder
from tests.support import Beatctl, wait_until

TIMES = 5
SETTLED = 5
"""Iterations between two kills."""


def measure(beatctl: Beatctl, folder: Path) -> None:
    """Kill the worker, then the server, some times each, under a loop of quick iterations; from each kill to the second
    row after it (the first may have been on its way)."""
    make_folder(folder, in_git=True)
    heading(f"from kill -9 to going on (median of {TIMES})")
    home = Home(beatctl.home)
    words = ("start", "do nothing", *WORDS, "-n", "0", "--for", "2h", "-d", "--json")
    loop = str(beatctl(*words, cwd=folder, expect=0).json["id"])
    ledger = Ledger(home.ledger)

    def rows() -> int:
        status = ledger.status(loop)
        return status.iteration if status is not None else 0

    def wait_for(least: int) -> None:
        wait_until(lambda: rows() >= least, "the loop to go on", timeout_s=300)

    for what in ("worker", "server"):
        took = []
        for _ in range(TIMES):
            wait_for(rows() + SETTLED)
            found = wait_until(lambda: _ready(beatctl), "server and worker", timeout_s=300)
            assert found is not None
            pid = found.worker_pid if what == "worker" else found.server_pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            start, at = time.perf_counter(), rows()
            wait_for(at + 2)
            took.append(time.perf_counter() - start)
        note = f"{min(took):.1f} to {max(took):.1f} s; 10 or less is the aim"
        line(f"the {what} was killed", f"{median(took):.1f} s", note)
    line("load of this machine", f"{os.getloadavg()[0]:.1f}", f"{os.cpu_count()} cores")
    beatctl("cancel", loop, cwd=folder, expect=(0, 4))


def _ready(beatctl: Beatctl) -> Running | None:
    found = running(Home(beatctl.home), beatctl.environ)
    return found if found and found.ready else None
