"""What commands want of this machine: that server and worker run, in the background or here."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NoReturn

from beatctl import __version__
from beatctl.activities.being_started import WORKER_GONE
from beatctl.activities.home import Home
from beatctl.worker import backoff, embedded_server, payload_key, profile, remembered
from beatctl.worker.connection import Connection, check, chosen
from beatctl.worker.isolation import python_module
from beatctl.worker.payload_key import Key
from beatctl.worker.run_folder import EMBEDDED, RunFolder, end_process, read_json, wait_until
from beatctl.worker.server_program import find_or_fetch
from beatctl.worker.systemd import UNIT_VARIABLE, restart_unit
from beatctl.worker.versions import is_older
from beatctl.worker.what_runs import Running, by_hand, folder_of, found_in, is_outdated, running

Say = Callable[[str], None]

BY_WORKER = "BEATCTL_RUN_BY_WORKER"
"""Set for the commands that a worker runs. No loop's child has it (activities/agents/environment.py)."""
READY_S = 60.0
"""How long server and worker may take until they are ready."""
HAND_OVER_S = 30.0
"""For a supervisor to end its worker and server: each has 10 s."""


class NotRunning(Exception):
    """Server and worker could not be brought up; the text says why, and which log has more."""


def ensure_running(home: Home, environ: Mapping[str, str], say: Say) -> Running:
    """Server and worker, ready for work; started in the background when they aren't there.

    Raises ServerUnreachable (a shared server that doesn't answer), BadProfile, BadPayloadKey, ServerProgramMissing,
    NotRunning.
    """
    shared = chosen(environ)
    folder = RunFolder(home.root, shared.label if shared else EMBEDDED)
    if environ.get(BY_WORKER):
        return _still_running(folder, shared, say)
    keys = _checked_keys(folder, shared, environ)
    folder.shut_down.unlink(missing_ok=True)
    state = folder.read_state()
    if is_outdated(state):
        say(
            f"beatctl {state['version']} in the background gives way to {__version__}; agents that run go on and are "
            "taken over."
        )
        _end_for_another(state, environ)
        state = folder.read_state()
    found = found_in(folder, state) or by_hand(folder, shared)
    while not (found and found.ready):
        began = time.time()
        if not folder.is_held():
            line = _supervisor_line(home, shared, environ, say)
            began = time.time()  # fetching or building the server's program may have taken minutes
            _remember(folder, shared, environ, keys)
            _start_in_background(folder.create(), line, environ)
        elif found and found.crash_loops:
            _ask_to_try_now(found)
        found = _wait_until_ready(folder, began, say)
    if keys and keys[0].id not in read_json(folder.worker).get("keys", []):
        raise NotRunning(
            f"The worker that runs does not have payload key {keys[0].id}: beatctl down, then beatctl up -d, in a "
            "shell that has it. Loops and agents survive that."
        )
    _remember(folder, shared, environ, keys)
    if found.version != __version__:
        say(_other_version(found))
    return found


def _still_running(folder: RunFolder, shared: Connection | None, say: Say) -> Running:
    """For a command of the worker's own, which must not undo a `down` that came meanwhile. Raises NotRunning."""
    found = found_in(folder, folder.read_state()) or by_hand(folder, shared)
    while found is not None and not found.ready:
        found = _wait_until_ready(folder, time.time(), say)
    if found is None:
        raise NotRunning(WORKER_GONE)
    return found


def _checked_keys(folder: RunFolder, shared: Connection | None, environ: Mapping[str, str]) -> list[Key]:
    """The payload keys for a shared server. Raises BadPayloadKey, also where the last command had one and this not."""
    if shared is None:
        return []
    keys = payload_key.keys(environ)
    remembered.check_key(folder, keys)
    return keys


def _remember(folder: RunFolder, shared: Connection | None, environ: Mapping[str, str], keys: list[Key]) -> None:
    if shared is not None:
        remembered.remember(folder, environ, keys)


def settle_for_worker(home: Home, environ: Mapping[str, str]) -> None:
    """Before a worker without a supervisor: check what `environ` says of a shared server, and remember it.

    Raises BadProfile, BadPayloadKey.
    """
    shared = chosen(environ)
    folder = folder_of(home, environ)
    _remember(folder, shared, environ, _checked_keys(folder, shared, environ))


def _other_version(found: Running) -> str:
    if is_older(__version__, found.version):
        return (
            f"The worker in the background is beatctl {found.version}, newer than this command ({__version__}): it "
            "goes on as it is. Upgrade this one."
        )
    return (
        f"The worker is beatctl {found.version}, this is {__version__}. It goes on as it is; end it where it was "
        "started, or with beatctl down, then beatctl up (loops and agents survive that)."
    )


def _end_for_another(state: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """End a supervisor with its worker and server; agents go on. One that systemd keeps is started anew by it."""
    unit = state.get("unit")
    if not unit or not restart_unit(unit, environ):
        end_process(state["pid"], state["pid_start"], HAND_OVER_S)


def bring_back(home: Home, environ: Mapping[str, str], say: Say) -> Running | None:
    """For any command on a loop: what ran and was killed (a reboot, too) runs again; not after `down`, and not where
    nothing ever ran. None when nothing runs."""
    folder = folder_of(home, environ)
    if folder.shut_down.exists() or not folder.state.exists():
        return running(home, environ)
    return ensure_running(home, environ, say)


def become_supervisor(home: Home, environ: Mapping[str, str], say: Say) -> NoReturn:
    """For `up`: this process becomes the supervisor, in the foreground, until SIGTERM, SIGINT or SIGHUP. Started by
    systemd it takes over from one in the background, whose agents go on.

    Raises as `ensure_running` does; NotRunning where one runs already.
    """
    shared = chosen(environ)
    folder = RunFolder(home.root, shared.label if shared else EMBEDDED)
    unit = environ.get(UNIT_VARIABLE)
    keys = _checked_keys(folder, shared, environ)
    line = _supervisor_line(home, shared, environ, say)
    if folder.is_held():
        state = folder.read_state()
        if not unit or not state or state.get("unit"):
            raise NotRunning(f"Already running in the background (process {state.get('pid')}): beatctl down")
        say(f"Taking over from process {state['pid']}.")
        end_process(state["pid"], state["pid_start"], HAND_OVER_S)
    folder.shut_down.unlink(missing_ok=True)
    _remember(folder, shared, environ, keys)
    line += ["--foreground", *(["--unit", unit] if unit else [])]
    os.chdir("/")
    os.execve(line[0], line, _environment(environ))


def fetch_server_program(environ: Mapping[str, str], say: Say) -> None:
    """Have the server's program there before it is needed. Raises ServerProgramMissing."""
    if chosen(environ) is None:
        find_or_fetch(environ, say)


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
    for name in (BY_WORKER, "BEATCTL_LOOP_ID", "BEATCTL_LOOP_SCHEDULE"):
        own.pop(name, None)  # one loop's, where its start is what brings them back
    own.pop(UNIT_VARIABLE, None)  # nor is one that it starts the unit's
    return own | profile.whole_paths(environ) | payload_key.whole_paths(environ)


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
        found = found_in(folder, folder.read_state())
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
