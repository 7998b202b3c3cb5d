"""Memory of what runs in the background while an agent works (Linux)."""

from __future__ import annotations

import re
from pathlib import Path

from beatctl.activities.home import Home
from beatctl.worker.what_runs import running
from tests.bench.figures import heading, line
from tests.bench.loops import make_folder
from tests.support import Beatctl, processes_of, wait_until


def measure(beatctl: Beatctl, folder: Path) -> None:
    make_folder(folder, in_git=True)
    words = ["--agent", "sleep 600", "--eval", "echo 1", "--minimize", "-d", "--json"]
    loop = beatctl("start", "sleep", *words, cwd=folder, expect=0).json["id"]
    found = running(Home(beatctl.home), beatctl.environ)
    assert found is not None

    def shims() -> list[int]:
        """Of the agent's own: the parents of what sleeps."""
        return [parent(pid) for pid, words in processes_of(beatctl.home).items() if re.match(r"(.*/)?sleep 600", words)]

    (shim,) = wait_until(shims, "the agent")
    heading("memory while an agent works")
    named = {"server": found.server_pid, "worker": found.worker_pid, "supervisor": found.pid}
    for what, pid in {**named, "spawner": parent(shim), "shim, one for each agent": shim}.items():
        if pid:
            pss, rss = memory(pid)
            line(what, f"{pss:.0f} MB", f"{rss:.0f} MB with what it shares")
    beatctl("cancel", loop, cwd=folder, expect=(0, 4))


def parent(pid: int) -> int:
    """Of a process, its parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def memory(pid: int) -> tuple[float, float]:
    """Proportional and resident set size, in MB."""
    sizes = {}
    for text in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size = text.split()[:2]
        sizes[name] = int(size) / 1024
    return sizes["Pss:"], sizes["Rss:"]
