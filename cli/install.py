"""`up --install` and `up --uninstall`: beatctl as a systemd user unit, so that it is there after a reboot."""

from __future__ import annotations

import shlex
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from beatctl.cli import service
from beatctl.cli.hosts import settle_name
from beatctl.cli.loops import Loops
from beatctl.cli.output import out, out_json, say
from beatctl.cli.problems import Unavailable, Usage
from beatctl.worker import logind, systemd
from beatctl.worker.isolation import python_module

if TYPE_CHECKING:
    from beatctl.worker.what_runs import Running

READY_S = 90.0
"""For systemd to have server and worker up."""


def install(loops: Loops, name: str | None = None, *, as_json: bool = False) -> int:
    """Write the unit, start it, and have the user's services linger. What runs in the background gives way to it;
    agents go on. `name`: what the host is called from now on. Raises Usage where another's unit lies there, Unavailable
    where there is no systemd or it refuses."""
    from beatctl.worker import local

    unit = _own_unit(loops)
    if not systemd.is_running(loops.environ):
        _say_what_to_do_without(loops)
    loops.check_home()
    settle_name(loops, name)
    try:
        local.fetch_server_program(loops.environ, say)  # in a shell with its PATH, and with somebody looking
    except service.known_problems() as problem:
        raise Unavailable(str(problem)) from problem
    text = systemd.unit_text(systemd.command_text(up_line()), systemd.environment_for(loops.environ))
    path = systemd.unit_path(loops.environ)
    before = path.read_text(encoding="utf-8", errors="replace") if unit else None
    if text != before:
        path.parent.mkdir(parents=True, exist_ok=True)
        if before is not None:
            path.with_name(f"{path.name}.before").write_text(before, encoding="utf-8")
        path.write_text(text, encoding="utf-8")
    _ask(loops, "daemon-reload")
    _ask(loops, "enable", systemd.UNIT)
    # It takes over from what runs in the background; one that is the unit already is started with what is new.
    _ask(loops, "restart", systemd.UNIT)
    running = _wait(loops)
    lingers, refused = _linger(loops)
    if as_json:
        out_json({"unit": str(path), "changed": text != before, "pid": running.pid, "lingers": lingers})
        return 0
    done = "Nothing to change in" if text == before else "Renewed" if before is not None else "Wrote"
    kept = f" (before: {path.name}.before)" if before is not None and text != before else ""
    out(f"{done} {path}{kept}.")
    out(f"It is enabled and runs: supervisor {running.pid}, Temporal server {running.connection.address}.")
    if lingers:
        out("Lingering is on: it starts with the machine and stays when you log out.")
    else:
        out(f"Lingering is off ({refused}): it ends when you log out. Mend it: sudo loginctl enable-linger {_user()}")
    for name in systemd.SECRETS:
        if loops.environ.get(name):
            say(
                f"{name} is not written into the unit, which others may read. Give it an EnvironmentFile=: "
                f"systemctl --user edit {systemd.UNIT}"
            )
    out("To look: systemctl --user status beatctl. To undo: beatctl up --uninstall")
    return 0


def uninstall(loops: Loops, *, as_json: bool = False) -> int:
    """Stop the unit, agents going on, and remove it. Raises Usage where another's unit lies there."""
    unit = _own_unit(loops)
    if unit is not None:
        if systemd.is_running(loops.environ):
            _ask(loops, "disable", "--now", systemd.UNIT)
        unit.path.unlink()
        (unit.path.parent / "default.target.wants" / unit.path.name).unlink(missing_ok=True)
        systemd.ask(loops.environ, "daemon-reload")
    if as_json:
        out_json({"unit": str(unit.path) if unit else None, "removed": unit is not None})
        return 0
    if unit is None:
        out(f"Nothing to remove: there is no {systemd.unit_path(loops.environ)}.")
        return 0
    out(f"Removed {unit.path}. Server and worker are down; agents that run go on.")
    out(
        "Loops go on with beatctl up -d, or with the next command on them. Lingering is left as it is: loginctl "
        "disable-linger ends it."
    )
    return 0


def up_line() -> list[str]:
    """The command line of `beatctl up` in this very installation."""
    return python_module("beatctl.cli.entry", "up")


def _own_unit(loops: Loops) -> systemd.Installed | None:
    """The unit that an earlier `up --install` wrote. Raises Usage where somebody else's lies there."""
    unit = systemd.installed(loops.environ)
    if unit is not None and not unit.ours:
        raise Usage(
            f"{unit.path} was not written by beatctl up --install, so it stays as it is. Move it away, then again."
        )
    return unit


def _ask(loops: Loops, *words: str) -> None:
    worked, said = systemd.ask(loops.environ, *words)
    if not worked:
        line = " ".join(("systemctl", "--user", *words))
        raise Unavailable(f"{line} failed: {said or 'it did not say why'}. See: journalctl --user -u beatctl")


def _wait(loops: Loops) -> Running:
    """Until the unit's supervisor has all ready. Raises Unavailable."""
    from beatctl.worker import what_runs

    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        found = what_runs.running(loops.home, loops.environ)
        if found and found.ready and found.unit:
            return found
        time.sleep(0.1)
    raise Unavailable(
        f"{systemd.UNIT} was started, but is not ready after {READY_S:.0f} s. See: journalctl --user -u beatctl"
    )


def _user() -> str:
    return logind.user() or "$USER"


def _linger(loops: Loops) -> tuple[bool, str]:
    """Have the user's services go on after a logout; why not, where that is refused."""
    if logind.at_logout(logind.user()).lingers:
        return True, ""
    worked, said = systemd.run(["loginctl", "enable-linger"], loops.environ)
    return worked, said.splitlines()[-1] if said else "it did not say why"


def _say_what_to_do_without(loops: Loops) -> NoReturn:
    """Nothing is written where nothing would read it."""
    environment = systemd.environment_for(loops.environ)
    words = [f"{name}={value}" for name, value in environment.items()]
    line = shlex.join(["env", *words, *up_line(), "-d"])
    if sys.platform == "darwin":
        why = "macOS starts services by launchd, for which beatctl writes no file yet"
    elif logind.is_there():
        why = "Your systemd does not answer (systemctl --user), as after su or sudo: log in as yourself"
    else:
        why = "No systemd runs here (a container, or WSL without [boot] systemd=true in /etc/wsl.conf)"
    raise Unavailable(
        f"{why}. Nothing was written.\n"
        "A line in crontab -e brings beatctl back after a reboot:\n"
        f"  @reboot {line.replace('%', chr(92) + '%')}\n"
        "In a container, let beatctl up be what it runs. Without any of it, each command on a loop brings it back."
    )
