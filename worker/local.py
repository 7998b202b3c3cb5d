"""What the commands ask of this machine: that server and worker run, what runs, that it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from beatctl import __version__
from beatctl.activities.home import Home
from beatctl.worker import backoff, embedded_server
from beatctl.worker.backoff import CrashLoop
from beatctl.worker.connection import Connection, check, chosen
from beatctl.worker.isolation import python_module
from beatctl.worker.run_folder import EMBEDDED, RunFolder, read_json, wait_until
from beatctl.worker.server_program import find_or_fetch
from beatctl.worker.shutting_down import RunningAgent, ShutDown, shut_down

__all__ = ["NotRunning", "Running", "RunningAgent", "ShutDown", "become_supervisor", "bring_back", "ensure_running"]
__all__ += ["running", "shut_down", "worker_line"]

Say = Callable[[str], None]

READY_S = 60.0
"""How long server and worker may take until they are ready."""


class NotRunning(Exception):
    """Server and worker could not be brought up; the text says why, and which log has more."""


@dataclass(frozen=True)
class Running:
    """A supervisor and what it keeps alive."""

    pid: int
    version: str
    connection: Connection
    server_pid: int | None
    worker_pid: int | None
    ui_url: str | None
    ready: bool
    error: str | None
    started: float
    crash_loops: list[CrashLoop]
    """What ends again and again, though the supervisor keeps trying."""
    logs: dict[str, Path]
    """Of `supervisor`, `server` (embedded only) and `worker`."""


def folder_of(home: Home, environ: Mapping[str, str]) -> RunFolder:
    connection = chosen(environ)
    return RunFolder(home.root, connection.label if connection else EMBEDDED)


def running(home: Home, environ: Mapping[str, str]) -> Running | None:
    """The living supervisor for the connection that `environ` chooses, ready or not."""
    folder = folder_of(home, environ)
    return _running(folder, folder.read_state())


def _running(folder: RunFolder, state: dict[str, Any]) -> Running | None:
    if not state:
        return None
    connection = Connection.model_validate(state["connection"])
    logs = {"supervisor": folder.supervisor_log, "worker": folder.worker_log}
    if connection.embedded:
        logs["server"] = folder.server_log
    return Running(
        pid=state["pid"],
        version=state["version"],
        connection=connection,
        server_pid=state["server_pid"],
        worker_pid=state["worker_pid"],
        ui_url=state["ui_url"],
        ready=state["ready"],
        error=state["error"],
        started=state["started"],
        crash_loops=crash_loops_in(state),
        logs=logs,
    )


def crash_loops_in(state: Mapping[str, Any]) -> list[CrashLoop]:
    """What a supervisor's state says ends again and again; nothing where an earlier version wrote it."""
    return [CrashLoop(**one) for one in state.get("crash_loops", [])]


def ensure_running(home: Home, environ: Mapping[str, str], say: Say) -> Running:
    """Server and worker, ready for work; started in the background when they aren't there.

    Raises ServerUnreachable (a shared server that doesn't answer), ServerProgramMissing, NotRunning.
    """
    shared = chosen(environ)
    folder = RunFolder(home.root, shared.label if shared else EMBEDDED)
    folder.shut_down.unlink(missing_ok=True)
    found = _running(folder, folder.read_state())
    while not (found and found.ready):
        began = time.time()
        if not folder.is_held():
            line = _supervisor_line(home, shared, environ, say)
            began = time.time()  # fetching or building the server's program may have taken minutes
            _start_in_background(folder.create(), line, environ)
        elif found and found.crash_loops:
            _ask_to_try_now(found)
        found = _wait_until_ready(folder, began, say)
    if found.version != __version__:
        say(
            f"The worker in the background is beatctl {found.version}, this is {__version__}. "
            "It goes on as it is; beatctl down, then up, replaces it (loops and agents survive that)."
        )
    return found


def bring_back(home: Home, environ: Mapping[str, str], say: Say) -> Running | None:
    """For any command on a loop: what ran and was killed (a reboot, too) runs again; not after `down`, and not where
    nothing ever ran. None when nothing runs."""
    folder = folder_of(home, environ)
    if folder.shut_down.exists() or not folder.state.exists():
        return running(home, environ)
    return ensure_running(home, environ, say)


def become_supervisor(home: Home, environ: Mapping[str, str], say: Say) -> NoReturn:
    """For `up`: this process becomes the supervisor, in the foreground, until SIGTERM, SIGINT or SIGHUP.

    Raises as `ensure_running` does; NotRunning where one runs already.
    """
    shared = chosen(environ)
    folder = RunFolder(home.root, shared.label if shared else EMBEDDED)
    if folder.is_held():
        raise NotRunning(f"Already running in the background (process {folder.read_state().get('pid')}): beatctl down")
    folder.shut_down.unlink(missing_ok=True)
    line = _supervisor_line(home, shared, environ, say)
    os.chdir("/")
    os.execve(line[0], [*line, "--foreground"], _environment(environ))


def worker_line(home: Home, connection: Connection) -> list[str]:
    """The command line of a worker without a supervisor (`beatctl worker`)."""
    return python_module("beatctl.worker.main", "--home", str(home.root), "--connection", connection.model_dump_json())


def _supervisor_line(home: Home, shared: Connection | None, environ: Mapping[str, str], say: Say) -> list[str]:
    more: list[str] = []
    if shared:
        asyncio.run(check(shared, environ))  # unreachable: said now, with nothing started
    else:
        more = ["--program", str(find_or_fetch(environ, say))]
    connection = shared or Connection(address="", embedded=True)
    settings = connection.model_dump_json()[:-1] + f',"label":"{connection.label}"}}'
    return python_module("beatctl.worker.supervisor", "--home", str(home.root), "--connection", settings, *more)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """For supervisor, server and worker, which stand in another folder than the user."""
    own = dict(environ)
    # A beatctl that an agent started is no part of that agent's run.
    own.pop("BEATCTL_TRY", None)
    for name, value in environ.items():
        if name == "TEMPORAL_CONFIG_FILE" or (name.startswith("TEMPORAL_TLS_") and name.endswith("_PATH")):
            own[name] = os.path.abspath(value)
    return own


def _start_in_background(folder: RunFolder, line: list[str], environ: Mapping[str, str]) -> None:
    with folder.supervisor_log.open("ab") as log:
        process = subprocess.Popen(
            line,
            cwd="/",
            env=_environment(environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    # Until it has the lock, or has ended since another has it: left to itself, it might take over after a `down`.
    wait_until(lambda: process.poll() is not None or folder.read_state().get("pid") == process.pid, READY_S)
    if process.returncode:
        raise NotRunning(_error(folder) or f"The background supervisor ended at once. See {folder.supervisor_log}")
    process.returncode = 0  # it outlives this command: nothing to warn about when the object goes


def _ask_to_try_now(found: Running) -> None:
    """Somebody waits: no more pauses between tries. Only one that tells of crash loops understands the signal."""
    with suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGUSR1)


def _wait_until_ready(folder: RunFolder, began: float, say: Say) -> Running | None:
    """None when the supervisor we waited for was shut down meanwhile."""
    tell_after = 1.0
    while True:
        found = _running(folder, folder.read_state())
        if found and found.ready:
            return found
        waited = time.time() - began
        failed_again = [loop for loop in found.crash_loops if loop.last > began] if found else []
        if failed_again:
            raise NotRunning(backoff.words(failed_again[0], time.time()))
        if found is None and not folder.is_held():
            if folder.state.exists() and folder.state.stat().st_mtime >= began and (error := _error(folder)):
                raise NotRunning(error)
            return None
        if waited > READY_S:
            why = found.error if found and found.error else f"Server and worker are not ready after {READY_S:.0f} s."
            raise NotRunning(f"{why}\nStill trying in the background: see {folder.supervisor_log.parent}")
        if waited > tell_after:
            say("Waiting for the worker …" if found and _server_is_up(found) else "Starting the Temporal server …")
            tell_after += 10.0
        time.sleep(0.02)


def _error(folder: RunFolder) -> str | None:
    """Why the supervisor that was here last gave up."""
    error = read_json(folder.state).get("error")
    return str(error) if error else None


def _server_is_up(found: Running) -> bool:
    port = found.connection.address.rpartition(":")[2]
    return not found.connection.embedded or (port.isdigit() and embedded_server.answers(int(port)))
