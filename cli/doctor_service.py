"""The part of `doctor` that is about this machine: systemd, logout, the installed unit, sleep."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beatctl.cli.loops import Loops
from beatctl.worker import awake, logind, systemd
from beatctl.worker.versions import is_older

if TYPE_CHECKING:
    from beatctl.worker.systemd import Installed

LINGER = "loginctl enable-linger"


def examine(loops: Loops, root: Path = logind.ROOT) -> dict[str, Any]:
    """`service` and `sleep` of `doctor --json`."""
    from beatctl.worker import what_runs

    there = logind.is_there(root)
    logout = logind.at_logout(logind.user(), root) if there else None
    unit = systemd.installed(loops.environ)
    held = what_runs.folder_of(loops.home, loops.environ).read_state().get("awake")
    return {
        "service": {
            "systemd": there,
            "lingers": logout.lingers if logout else None,
            "kills_at_logout": logout.kills if logout else None,
            "unit": _unit(loops, unit) if unit else None,
        },
        "sleep": held or {"allowed": awake.is_allowed(loops.environ), "held": False, "problem": _no_way(loops)},
    }


def _unit(loops: Loops, unit: Installed) -> dict[str, Any]:
    program = unit.command[0] if unit.command else ""
    return {
        "path": str(unit.path),
        "ours": unit.ours,
        "command": unit.command,
        "kill_mode": unit.kill_mode,
        "program_exists": bool(program) and os.access(program, os.X_OK),
        "version": _version(loops, unit.command),
    }


def _version(loops: Loops, command: list[str]) -> str | None:
    """What the unit's program says of itself; None where it says nothing."""
    if command[-1:] != ["up"] or not os.access(command[0], os.X_OK):
        return None
    worked, said = systemd.run([*command[:-1], "--version"], loops.environ, timeout_s=10.0)
    return said.split()[-1] if worked and said else None


def _no_way(loops: Loops) -> str | None:
    """Why the machine could not be kept awake, as far as can be told before it is tried."""
    from shutil import which

    programs = [line[0] for line in awake.ways(sys.platform)]
    found = any(which(program, path=loops.environ.get("PATH")) for program in programs)
    return None if found else f"{programs[0]} is not on PATH"


def warnings(found: dict[str, Any], version: str) -> list[str]:
    """What ought to be mended, each with the command that does. Pure. `found`: of `examine`; `version`: ours."""
    service, unit = found["service"], found["service"]["unit"]
    told = []
    if unit is not None:
        told += _about_unit(unit, version)
        if service["lingers"] is False:
            told.append(f"The service ends when you log out, and does not start with the machine: {LINGER}")
    elif service["kills_at_logout"] and not service["lingers"]:
        told.append(
            "This machine ends your processes when you log out (KillUserProcesses), loops' agents too: "
            f"{LINGER}, then beatctl up --install"
        )
    return told


def _about_unit(unit: dict[str, Any], version: str) -> list[str]:
    name, renew = systemd.UNIT, "beatctl up --install"
    told = []
    if unit["kill_mode"] not in ("process", "none"):
        told.append(
            f"{unit['path']}: KillMode={unit['kill_mode']} ends agents that run with each restart of the service. "
            + (f"{renew} writes it anew" if unit["ours"] else "Write KillMode=process there")
            + f", or, where a drop-in says so: systemctl --user edit {name}"
        )
    program = unit["command"][0] if unit["command"] else "nothing"
    if not unit["program_exists"]:
        told.append(f"{unit['path']} starts {program}, which is not there: {renew}")
    elif unit["version"] is not None and unit["version"] != version:
        older = "an older" if is_older(unit["version"], version) else "another"
        told.append(f"{unit['path']} starts {older} beatctl ({unit['version']}, this is {version}): {renew}")
    return told


def lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """For people. Pure."""
    service, unit, sleep = found["service"], found["service"]["unit"], found["sleep"]
    if unit is not None:
        text = unit["path"] + ("" if unit["ours"] else " (not written by beatctl up --install)")
    elif service["systemd"]:
        text = "none; beatctl up --install makes it start with the machine"
    elif sys.platform == "darwin":
        text = "none; beatctl up --install says how it starts with the machine"
    else:
        text = "none; no systemd runs here (a container, or WSL without it): beatctl up --install says what to do"
    told = [("service", text)]
    if service["lingers"] is not None:
        kills = "ends" if service["kills_at_logout"] else "leaves"
        told.append(("logout", f"{kills} your processes; lingering is {'on' if service['lingers'] else 'off'}"))
    if not sleep["allowed"]:
        text = f"may sleep while loops run ({awake.VARIABLE}=0)"
    elif sleep["problem"]:
        text = f"may sleep while loops run: {sleep['problem']}"
    else:
        text = "held off" if sleep["held"] else "held off while loops run"
    return [*told, ("sleep", text)]
