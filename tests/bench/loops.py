"""What beatctl itself costs an iteration: an agent and an evaluator that do nothing."""

from __future__ import annotations

import os
import subprocess
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.worker.what_runs import running
from tests.bench.figures import heading, line, median, percentile, timed
from tests.support import Beatctl, wait_until

COMMANDS = (["true"], ["/bin/sh", "-c", "echo 1"])
WORDS = ["--agent", "true", "--eval", "echo 1", "--minimize", "--max-unchanged", "0", "--max-failures", "0"]


def measure(beatctl: Beatctl, folder: Path, iterations: int, *, in_git: bool) -> None:
    """Run one loop to its end and print the time between the starts of its iterations."""
    make_folder(folder, in_git=in_git)
    heading(
        f"an iteration, {'in a git repository' if in_git else 'outside git'} ({iterations} of them, no-op commands)"
    )
    beatctl("up", "-d", cwd=folder, expect=0)
    before = cpu(beatctl)
    gaps = gaps_of(beatctl, run(beatctl, folder, iterations), iterations)
    edge = min(50, len(gaps) // 2)
    first, last = gaps[:edge], gaps[-edge:]
    line("median between starts", f"{1000 * median(gaps):.0f} ms", "60 or less is the aim" if in_git else "")
    line("95th percentile", f"{1000 * percentile(gaps, 95):.0f} ms")
    line(f"median of the first {edge}", f"{1000 * median(first):.0f} ms")
    line(f"median of the last {edge}", f"{1000 * median(last):.0f} ms")
    line("last / first", f"{median(last) / median(first):.2f}", "1.10 or less is the aim")
    commands = timed(lambda: [subprocess.run(words, check=True, capture_output=True) for words in COMMANDS], 50)
    line("the two commands alone", f"{1000 * commands:.0f} ms", f"{median(gaps) / commands:.0f} times that")
    for what, seconds in cpu(beatctl).items():
        line(f"CPU of {what}", f"{1000 * (seconds - before[what]) / iterations:.0f} ms", "an iteration")
    line(
        "load of this machine", f"{os.getloadavg()[0]:.1f}", f"{os.cpu_count()} cores; over 2 it had other work as well"
    )


def run(beatctl: Beatctl, folder: Path, iterations: int) -> str:
    """Run a loop of so many iterations to its end; its id."""
    started = beatctl(*("start", "do nothing", *WORDS, "-n", str(iterations), "-d", "--json"), cwd=folder, expect=0)
    loop = str(started.json["id"])
    ledger = Ledger(beatctl.home / "ledger.db")

    def ended() -> bool:
        status = ledger.status(loop)
        assert status is not None
        assert status.state != "paused", f"The loop paused: {status.reason}: {status.detail}"
        return status.state == "finished"

    wait_until(ended, "the loop's end", timeout_s=30 + iterations, every_s=0.5)
    return loop


def gaps_of(beatctl: Beatctl, loop: str, iterations: int) -> list[float]:
    """Seconds between the starts of a loop's iterations."""
    rows = Ledger(beatctl.home / "ledger.db").rows(loop, after=0)
    assert [row.iteration for row in rows] == list(range(1, iterations + 1)), f"{len(rows)} rows of {iterations}"
    starts = [datetime.fromisoformat(row.started_at).timestamp() for row in rows]
    return [later - earlier for earlier, later in pairwise(starts)]


def cpu(beatctl: Beatctl) -> dict[str, float]:
    """Seconds of CPU that server and worker, and the worker's own git commands, have used so far (Linux; else none)."""
    found = running(Home(beatctl.home), beatctl.environ)
    used: dict[str, float] = {}
    if found and found.server_pid and found.worker_pid and Path("/proc/self/stat").exists():
        for what, pid in (("server", found.server_pid), ("worker", found.worker_pid)):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            user, system, its_user, its_system = (int(ticks) / os.sysconf("SC_CLK_TCK") for ticks in fields[11:15])
            used[what] = user + system
            if what == "worker":
                used["git, run by the worker"] = its_user + its_system
    return used


def make_folder(folder: Path, *, in_git: bool) -> None:
    folder.mkdir()
    for number in range(20):
        (folder / f"file-{number}.txt").write_text(f"{number}\n" * 100)
    if in_git:
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
            subprocess.run(["git", *words], cwd=folder, check=True)
