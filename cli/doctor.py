"""`doctor`: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beatctl.cli import concurrency, levels, service
from beatctl.cli.arguments import Json
from beatctl.cli.loops import Loops
from beatctl.cli.output import out, out_json
from beatctl.cli.problems import Unavailable, Usage

if TYPE_CHECKING:
    from beatctl.activities.agents.definition import AgentTables
    from beatctl.worker.connection import Connection
    from beatctl.worker.payload_key import Key


def doctor(
    file: Annotated[
        str | None,
        typer.Option("-f", "--file", metavar="FILE", help="Look at this loop file, too.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> int:
    """Say what is there and what is missing.

    Also every setting that is not the default, and where it stands.
    """
    found = examine(Loops(), file)
    if as_json:
        out_json(found)
        return 0
    for name, text in _lines(found):
        out(f"{name:<16}{text}")
    for warning in found["warnings"]:
        out(f"! {warning}")
    if not found["warnings"]:
        out("All is there.")
    return 0


def examine(loops: Loops, file: str | None = None) -> dict[str, Any]:
    """Everything `doctor --json` tells."""
    from beatctl import __version__
    from beatctl.activities import agents
    from beatctl.cli import doctor_service
    from beatctl.worker import hosts, payload_key, profile, what_runs
    from beatctl.worker.concurrency import Concurrency, of_worker
    from beatctl.worker.connection import chosen
    from beatctl.worker.payload_key import BadPayloadKey
    from beatctl.worker.profile import BadProfile
    from beatctl.worker.run_folder import EMBEDDED, RunFolder

    tables, wrong = _tables(loops)
    try:
        shared = chosen(loops.environ)
        keys = payload_key.keys(loops.environ) if shared else []
    except (BadProfile, BadPayloadKey) as problem:
        wrong.append(str(problem))
        shared, keys = None, []
        named = (profile.VARIABLE, "TEMPORAL_ADDRESS")
        loops = Loops({name: value for name, value in loops.environ.items() if name not in named})
    running = what_runs.running(loops.home, loops.environ)
    server: dict[str, Any] | None = None
    worker: dict[str, Any] | None = None
    supervisor: dict[str, Any] | None = None
    if running is not None:
        supervisor = {
            "pid": running.pid,
            "log": _text(running.logs.get("supervisor")),
            "version": running.version,
            "error": running.error,
            "crash_loops": [one.as_json() for one in running.crash_loops],
            "silent": [one.as_json() for one in running.silences],
        }
        server = {
            "pid": running.server_pid,
            "address": running.connection.address,
            "log": _text(running.logs.get("server")),
            "version": running.version,
            "ui_url": running.ui_url,
        }
        if running.worker_pid is not None:
            worker = {
                "pid": running.worker_pid,
                "address": running.connection.address,
                "log": _text(running.logs.get("worker")),
                "version": running.version,
            }
    program = _server_program(loops) if shared is None else None
    found: dict[str, Any] = {
        "version": __version__,
        "home": str(loops.home.root),
        "connection": shared.label if shared else EMBEDDED,
        "host": hosts.known(loops.home),
        "shared_server": _shared(shared, keys),
        "server": server,
        "worker": worker,
        "supervisor": supervisor,
        "server_program": program,
        "agents": [
            {"name": agent.name, "path": agent.argv[0], "version": agent.version}
            for agent in agents.found(loops.environ, tables)
        ],
        "git": _version("git"),
        "python": {"path": sys.executable, "version": sys.version.split()[0]},
    }
    if worker is not None and running is not None:
        held = of_worker(RunFolder(loops.home.root, running.connection.label)) or Concurrency()
        worker |= {"max_concurrent_agents": held.agents, "max_concurrent_evaluators": held.evaluators}
    settings, mistakes = levels.examine(levels.workspace_here(), file, loops.environ)
    found |= settings
    found |= doctor_service.examine(loops)
    if running is not None and running.pid == running.worker_pid:  # a worker that somebody runs by hand
        found["supervisor"] = None
    found["warnings"] = mistakes + wrong + _warnings(loops, found)
    return found


def _shared(shared: Connection | None, keys: list[Key]) -> dict[str, Any] | None:
    if shared is None:
        return None
    told = shared.model_dump(include={"profile", "address", "namespace", "tls"})
    return {**told, "payload_key": keys[0].id if keys else None, "payload_keys": [key.id for key in keys]}


def _tables(loops: Loops) -> tuple[AgentTables, list[str]]:
    """What the configuration says of agents, and what is wrong with the user's prices; with the tables themselves,
    the levels tell."""
    from beatctl.activities.agents import prices
    from beatctl.activities.agents.definition import AgentTables
    from beatctl.cli import agent_tables

    wrong = []
    try:
        prices.tables(loops.environ)
    except prices.BadPrices as bad:
        wrong.append(str(bad))
    try:
        return agent_tables.read(loops.environ), wrong
    except Usage:
        return AgentTables(), wrong


def _server_program(loops: Loops) -> dict[str, Any]:
    from beatctl.worker.server_program import ServerProgramMissing, find

    problems: list[str] = []
    try:
        path = find(loops.environ, problems.append)
    except ServerProgramMissing as missing:
        path = None
        problems.append(str(missing))
    return {"path": _text(path), "problems": problems}


def _warnings(loops: Loops, found: dict[str, Any]) -> list[str]:
    from beatctl.cli import doctor_service
    from beatctl.worker import backoff, heartbeat
    from beatctl.worker.backoff import CrashLoop
    from beatctl.worker.heartbeat import Silence

    warnings = []
    if not found["agents"]:
        warnings.append(
            "No agent found: install claude, codex, gemini or opencode, or use --agent 'my-agent {prompt}'."
        )
    if found["git"] is None:
        warnings.append("git is not on PATH, and snapshots need it: install git.")
    if found["server_program"] is not None and found["server_program"]["path"] is None:
        warnings.append(
            "The Temporal server's program is not here yet: the first start downloads or builds it"
            + (" (with Go)." if shutil.which("go") else ".")
        )
    if found["server_program"] is not None:
        warnings += found["server_program"]["problems"]
    supervisor = found["supervisor"]
    if supervisor:
        warnings += [heartbeat.words(Silence(**one), time.time()) for one in supervisor["silent"]]
        crashing = [backoff.words(CrashLoop(**one), time.time()) for one in supervisor["crash_loops"]]
        warnings += crashing or ([supervisor["error"]] if supervisor["error"] else [])
    try:
        known = loops.all()
    except Unavailable as problem:
        warnings.append(str(problem))
        known = []
    waiting = [loop.id for loop in known if loop.state != "finished" and not service.is_running(loops, loop)]
    if waiting:
        warnings.append(f"No worker is running, and these loops wait: {', '.join(waiting)}. Try: beatctl up -d")
    warnings += doctor_service.warnings(found, found["version"])
    place = loops.home.root if loops.home.root.exists() else loops.home.root.parent
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        warnings.append(f"{place} can't be written: make it writable, or name another folder in BEATCTL_HOME.")
    return warnings


def _version(program: str) -> dict[str, Any] | None:
    import subprocess

    path = shutil.which(program)
    if path is None:
        return None
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    return {"path": path, "version": said.strip().removeprefix(f"{program} version ") or None}


def _text(path: object) -> str | None:
    return str(path) if path is not None else None


def _shared_words(server: dict[str, Any]) -> str:
    parts = [server["address"], f"namespace {server['namespace']}"]
    parts += [f"profile {server['profile']}"] if server["profile"] else []
    parts.append("TLS" if server["tls"] else "no TLS")
    key = server["payload_key"]
    parts.append(f"payloads encrypted with key {key}" if key else "payloads not encrypted")
    return ", ".join(parts)


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    from beatctl.cli import doctor_service

    def process(part: dict[str, Any] | None) -> str:
        if part is None:
            return "not running"
        pid = f"process {part['pid']}, " if part["pid"] else ""
        return f"{pid}{part['address']}" + (f", log {part['log']}" if part["log"] else "")

    from beatctl.worker.concurrency import Concurrency

    lines = [
        ("beatctl", found["version"]),
        ("home", found["home"]),
        (
            "server",
            f"{process(found['server'])}" + ("" if found["connection"] == "embedded" else f" ({found['connection']})"),
        ),
        ("worker", process(found["worker"])),
    ]
    if found["shared_server"] is not None:
        lines.insert(2, ("shared server", _shared_words(found["shared_server"])))
    if found["host"]:
        lines.append(("host", found["host"]))
    if found["worker"] is not None:
        held = Concurrency(*(found["worker"][f"max_concurrent_{what}"] for what in Concurrency._fields))
        lines.append(("at once", concurrency.words(held)))
    if found["server_program"] is not None:
        lines.append(("server program", found["server_program"]["path"] or "not here yet"))
    for agent in found["agents"]:
        lines.append(("agent", f"{agent['name']} {agent['version'] or ''}  {agent['path']}"))
    git = found["git"]
    lines.append(("git", f"{git['version'] or ''}  {git['path']}" if git else "not found"))
    lines.append(("python", f"{found['python']['version']}  {found['python']['path']}"))
    lines += doctor_service.lines(found)
    for place in found["config"]:
        lines.append(("settings", place["path"] + ("" if place["exists"] else " (not there)")))
    for setting in found["settings"]:
        value = levels.shown_value(setting["value"])
        lines.append(("setting", f"{setting['name'].replace('_', '-')} {value}  from {setting['source']}"))
    return lines
