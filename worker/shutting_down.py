"""`down`: end supervisors, workers and servers of a home, and say what waits and what goes on without them."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.worker.backoff import CrashLoop
from beatctl.worker.run_folder import RunFolder, end_process, read_json, wait_until

if TYPE_CHECKING:
    from beatctl.activities.processes import Try

PATIENCE_S = 30.0
"""For a supervisor to end its worker and server: each has 10 s."""


@dataclass(frozen=True)
class RunningAgent:
    """An agent (or evaluator) that runs under its shim."""

    loop: str
    iteration: int
    run: str
    """`agent`, `evaluator`, …"""
    shim_pid: int | None


@dataclass(frozen=True)
class ShutDown:
    """What `down` did, and what it leaves."""

    was_running: bool
    waiting: list[str] = field(default_factory=list)
    """Unfinished loops: they go on after the next `start` or `up`."""
    agents: list[RunningAgent] = field(default_factory=list)
    """Agents that go on."""
    ended: list[RunningAgent] = field(default_factory=list)
    """Agents ended by force."""
    crash_loops: list[CrashLoop] = field(default_factory=list)
    """What had been ending again and again."""
    schedules: list[str] = field(default_factory=list)
    """Made in this home: where its own server keeps them, they start nothing until that is back."""


def shut_down(home: Home, *, force: bool = False) -> ShutDown:
    """End every supervisor of this home with its worker and server. Agents go on, unless `force` ends them too."""
    before = [folder.read_state().get("crash_loops", []) for folder in RunFolder.all(home.root)]
    crash_loops = [CrashLoop(**one) for found in before for one in found]
    ended = [_shut_down(folder) for folder in RunFolder.all(home.root)]
    unfinished = []
    if home.ledger.exists():
        try:
            unfinished = [status.id for status in Ledger(home.ledger).statuses() if status.state != "finished"]
        except sqlite3.Error:  # damaged: whatever runs is found all the same
            unfinished = sorted(folder.name for folder in home.loops.glob("*/"))
    schedules = sorted(place.parent.name for place in home.schedules.glob("*/schedule.json"))
    found = [pair for loop in unfinished for pair in _running_agents(home, loop)]
    agents = [agent for agent, _ in found]
    if not force:
        return ShutDown(any(ended), unfinished, agents=agents, crash_loops=crash_loops, schedules=schedules)
    # After the worker: it would take an agent's end for a failure and start the next.
    asyncio.run(_end([one for _, one in found]))
    return ShutDown(any(ended), unfinished, ended=agents, crash_loops=crash_loops, schedules=schedules)


def _shut_down(folder: RunFolder) -> bool:
    """Whether anything ran."""
    folder.shut_down.touch()
    was_running = folder.is_held()
    if was_running:
        # Its first moments: it holds the lock and has not told its number yet.
        wait_until(lambda: bool(folder.read_state()) or not folder.is_held(), 5.0)
        state = folder.read_state()
        end_process(state.get("pid"), state.get("pid_start"), PATIENCE_S)
    # Of one that was killed, where the system does not end them with it.
    left = read_json(folder.state)
    for name in ("worker", "server"):
        end_process(left.get(f"{name}_pid"), left.get(f"{name}_start"))
    return was_running


def _running_agents(home: Home, loop: str) -> list[tuple[RunningAgent, Try]]:
    from beatctl.activities.processes import every_try

    found = []
    for folder in home.loop(loop).runs.glob("*"):
        for one in every_try(folder):
            if one.state() == "running":
                iteration = int(folder.name) if folder.name.isdigit() else 0
                found.append((RunningAgent(loop, iteration, one.run.name, one.shim_pid()), one))
    return found


async def _end(tries: list[Try]) -> None:
    from beatctl.activities.processes import end

    await asyncio.gather(*(end(one) for one in tries))
