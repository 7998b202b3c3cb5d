"""What runs on this machine: the supervisor, and the server and worker that it keeps alive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from beatctl import __version__
from beatctl.activities.home import Home
from beatctl.worker.backoff import CrashLoop
from beatctl.worker.connection import Connection, chosen
from beatctl.worker.heartbeat import Silence
from beatctl.worker.hosts import worker_by_hand
from beatctl.worker.run_folder import EMBEDDED, RunFolder, read_json
from beatctl.worker.versions import is_older


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
    unit: str | None
    """The systemd unit that it is."""
    crash_loops: list[CrashLoop]
    """What ends again and again, though the supervisor keeps trying."""
    silences: list[Silence]
    """What does not answer, until another takes its place."""
    logs: dict[str, Path]
    """Of `supervisor`, `server` (embedded only) and `worker`."""


def folder_of(home: Home, environ: Mapping[str, str]) -> RunFolder:
    connection = chosen(environ)
    return RunFolder(home.root, connection.label if connection else EMBEDDED)


def running(home: Home, environ: Mapping[str, str]) -> Running | None:
    """The living supervisor for the connection that `environ` chooses, ready or not."""
    folder = folder_of(home, environ)
    return found_in(folder, folder.read_state()) or by_hand(folder, chosen(environ))


def by_hand(folder: RunFolder, shared: Connection | None) -> Running | None:
    """A worker that somebody runs without a supervisor, for a shared server: all that a loop needs there."""
    pid = worker_by_hand(folder)
    if shared is None or pid is None or folder.is_held():
        return None
    told = read_json(folder.worker)
    return Running(
        pid=pid,
        version=told["version"],
        connection=shared,
        server_pid=None,
        worker_pid=pid,
        ui_url=None,
        ready=True,
        error=None,
        started=told["started"],
        unit=None,
        crash_loops=[],
        silences=[],
        logs={},
    )


def found_in(folder: RunFolder, state: dict[str, Any]) -> Running | None:
    """The same of one connection, by its supervisor's state."""
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
        unit=state.get("unit"),
        crash_loops=crash_loops_in(state),
        silences=silences_in(state),
        logs=logs,
    )


def crash_loops_in(state: Mapping[str, Any]) -> list[CrashLoop]:
    """What a supervisor's state says ends again and again; nothing where another version wrote it otherwise."""
    known = [field.name for field in fields(CrashLoop)]
    told = state.get("crash_loops", [])
    return [CrashLoop(**{name: one[name] for name in known}) for one in told if all(name in one for name in known)]


def silences_in(state: Mapping[str, Any]) -> list[Silence]:
    """What a supervisor's state says does not answer; nothing where another version wrote it otherwise."""
    known = [field.name for field in fields(Silence)]
    told = state.get("silent", [])
    return [Silence(**{name: one[name] for name in known}) for one in told if all(name in one for name in known)]


def is_outdated(state: Mapping[str, Any]) -> bool:
    """Whether a supervisor's state is of an earlier version than this, and of one that may be replaced: not of one that
    somebody started in a terminal or a container."""
    replaceable = not state.get("foreground") or state.get("unit")
    return bool(state) and bool(replaceable) and is_older(state["version"], __version__)
