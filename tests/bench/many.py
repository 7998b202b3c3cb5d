"""Many loops at once on one worker, each with an agent that does nothing for long: memory, and CPU while all idle."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

from beatctl.activities.home import Home
from beatctl.cli.limit_options import TypedLimits
from beatctl.cli.start_options import Typed
from beatctl.worker.what_runs import running
from tests.bench.figures import heading, line
from tests.bench.loops import make_folder
from tests.bench.memory import memory, parent
from tests.crowd import start_all
from tests.support import Beatctl, processes_of, wait_until

_WATCHED_S = 20.0
_AGENT = "sleep 3600"


def measure(beatctl: Beatctl, folder: Path, loops: int) -> None:
    """Start so many loops, and look once all their agents run."""
    folder.mkdir()
    folders = [folder / f"repo-{number}" for number in range(loops)]
    for place in folders:
        make_folder(place, in_git=True)
    limits = TypedLimits(max_iterations="5", agent_timeout="0")
    typed = Typed(goal=("wait",), eval="echo 1", minimize=True, agent=_AGENT, limits=limits)
    heading(f"{loops} loops at once, their agents idle")
    beatctl("up", "-d", cwd=folder, expect=0)
    found = running(Home(beatctl.home), beatctl.environ)
    assert found is not None
    assert found.worker_pid is not None
    before = {"worker": memory(found.worker_pid)}
    began = time.monotonic()
    start_all(beatctl.environ, folders, typed)
    line("to start them, a few at a time", f"{time.monotonic() - began:.0f} s")
    agents = wait_until(lambda: _agents(beatctl, loops), "every agent", timeout_s=60 + 2.0 * loops, every_s=0.5)
    line("until every agent runs (one evaluator at a time)", f"{time.monotonic() - began:.0f} s")
    shims = sorted({parent(pid) for pid in agents})
    spawner = parent(shims[0])
    named = {"worker": found.worker_pid, "spawner": spawner}
    wait_until(lambda: _quiet(named), "a worker that has nothing more to do", timeout_s=60, every_s=1.0)

    sizes = {what: memory(pid) for what, pid in named.items()}
    held = [memory(pid) for pid in shims]
    sizes[f"its {len(shims)} shims, together"] = sum(pss for pss, _ in held), sum(rss for _, rss in held)
    line("worker, before the first loop", f"{before['worker'][0]:.0f} MB", f"{before['worker'][1]:.0f} MB resident")
    for what, (pss, rss) in sizes.items():
        line(what, f"{pss:.0f} MB", f"{rss:.0f} MB resident" + ("" if what in named else ", most of it shared"))
    own = sum(sizes[what][1] for what in named)
    line("worker and spawner, all that is resident", f"{own:.0f} MB", "300 or less is the aim")
    line("with the shims, what is shared counted once", f"{sum(pss for pss, _ in sizes.values()):.0f} MB")
    for what, pid in {"server": found.server_pid, "supervisor": found.pid}.items():
        if pid:
            pss, rss = memory(pid)
            line(f"{what}, apart", f"{pss:.0f} MB", f"{rss:.0f} MB resident")
    _cpu({**named, "server": found.server_pid or 0}, shims)
    beatctl("down", "--force", cwd=folder, expect=0)


def _cpu(named: Mapping[str, int], shims: list[int]) -> None:
    """What each uses while nothing happens, in percent of a core."""
    every = {**named, **{f"shim {pid}": pid for pid in shims}}
    used = {what: seconds(pid) for what, pid in every.items() if pid}
    began = time.monotonic()
    time.sleep(_WATCHED_S)
    took = time.monotonic() - began
    share = {what: 100 * (seconds(every[what]) - before) / took for what, before in used.items()}
    for what in named:
        line(f"CPU of the {what} while idle", f"{share[what]:.1f} %", "of a core")
    line("CPU of the shims, together", f"{sum(share[f'shim {pid}'] for pid in shims):.1f} %", "of a core")


def seconds(pid: int) -> float:
    """CPU that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _agents(beatctl: Beatctl, least: int) -> list[int]:
    """The agents that run, once there are so many."""
    found = [pid for pid, words in processes_of(beatctl.home).items() if re.match(rf"(.*/)?{_AGENT}\b", words)]
    return found if len(found) >= least else []


def _quiet(named: Mapping[str, int]) -> bool:
    """Whether the worker has done next to nothing for a second."""
    before = seconds(named["worker"])
    time.sleep(1.0)
    return seconds(named["worker"]) - before < 0.3
