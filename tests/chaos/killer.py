"""Carries out a plan of kills on a running loop; what needs a person's command to come back gets one, as a person's."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from beatctl.worker.run_folder import RunFolder, is_alive, read_json
from tests.chaos.counting import going_on
from tests.chaos.plan import Kill, Plan, What
from tests.chaos.run import Run, Server
from tests.support import wait_until

PATIENCE_S = 180.0
"""A loop that has not gone on by then hangs."""
_PROCESSES: dict[What, tuple[str, ...]] = {
    "worker": ("worker_pid",),
    "server": ("server_pid",),
    "supervisor": ("pid",),
    # The supervisor first: it would start the others again.
    "all": ("pid", "worker_pid", "server_pid"),
}


@dataclass(frozen=True)
class Made:
    """A kill that was carried out."""

    kill: Kill
    at: float
    """Unix seconds."""


def carry_out(run: Run, plan: Plan, made: list[Made], say: Callable[[str], None]) -> None:
    """Every kill of the plan, in its order, noted in `made`. Fails when the loop hangs, pauses, or ends before the last
    of them."""
    folder = run.connection()
    for kill in plan.kills:
        if kill.hasty:
            time.sleep(3 * kill.delay_s)
        else:
            _wait_for_the_moment(run, kill, made)
        made.append(Made(kill, _die_at_edge(run, kill.edge) if kill.edge else _kill(folder, kill.what, run.server)))
        if kill.what in ("supervisor", "all"):
            _type_a_command(run)
        say(f"kill {len(made)} of {len(plan.kills)}: {kill.edge or kill.what}, in iteration {_iteration(run)}")
    if made:
        _wait_until_it_goes_on(run, made[-1])


def _wait_for_the_moment(run: Run, kill: Kill, made: list[Made]) -> None:
    if made:
        _wait_until_it_goes_on(run, made[-1])
    _wait(run, lambda: _iteration(run) >= kill.iteration, f"iteration {kill.iteration}")
    if kill.slow:
        run.slow.touch()
        _wait(run, lambda: not run.slow.exists(), "an agent that takes its time")
    if not kill.edge:
        time.sleep(kill.delay_s)


def _wait_until_it_goes_on(run: Run, last: Made) -> None:
    what = f"the loop to go on after {last.kill}"
    _wait(run, lambda: going_on([last.at], run.log())[0] is not None, what)


def _wait(run: Run, look: Callable[[], bool], what: str) -> None:
    """Fails at once where the loop has paused or ended."""

    def seen() -> bool:
        ended = run.finished()
        found = look()  # after: its last run may have been what was waited for
        assert found or not ended, f"Loop {run.loop} ended before {what}"
        return found

    try:
        wait_until(seen, what, PATIENCE_S, every_s=0.05)
    except AssertionError as problem:
        raise AssertionError(f"{problem}\n{run.beatctl.logs()}") from None


def _iteration(run: Run) -> int:
    return max((entry.iteration for entry in run.log() if entry.event == "start"), default=0)


def _die_at_edge(run: Run, edge: str) -> float:
    """Have the worker kill itself the next time it comes there. When it did."""
    file = run.edges[edge]
    file.unlink()
    _wait(run, file.exists, f"the worker to come to {edge}")
    return file.stat().st_mtime


def _kill(folder: RunFolder, what: What, server: Server | None) -> float:
    """SIGKILL, to processes that live and are this home's, and to the server that it shares. Returns the moment of the
    last."""
    names = [name for name in _PROCESSES[what] if server is None or name != "server_pid"]
    if not names and server is not None:
        server.kill_server()
        return time.time()

    def alive() -> bool:
        state = read_json(folder.state)
        return is_alive(*_process(state, names[-1])) and is_alive(*_process(state, "pid"))

    wait_until(alive, f"a living {what}")
    state = read_json(folder.state)
    for name in names:
        pid, start = _process(state, name)
        if pid is not None and is_alive(pid, start):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if server is not None and what == "all":
        server.kill_server()
    at = time.time()
    wait_until(lambda: not any(is_alive(*_process(state, name)) for name in names), f"the {what}'s end")
    return at


def _process(state: dict[str, object], name: str) -> tuple[int | None, str | None]:
    pid, start = state.get(name), state.get(name.removesuffix("pid") + ("start" if name != "pid" else "pid_start"))
    return (pid if isinstance(pid, int) else None), (start if isinstance(start, str) else None)


def _type_a_command(run: Run) -> None:
    """As somebody who wonders how the loop stands."""
    run.beatctl("status", run.loop, cwd=run.repository, expect=0)
