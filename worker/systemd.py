"""beatctl as a systemd user unit: the unit's text, where it lies, what it says, and asking systemd. Standard library
only."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

UNIT = "beatctl.service"
UNIT_VARIABLE = "BEATCTL_UNIT"
"""By which `up` knows that it is the unit of this name."""
MARK = "# Written by `beatctl up --install`, which writes it anew. Settings of your own: systemctl --user edit beatctl"
STOP_S = 60
"""For the supervisor to end worker and server, each of which has 10 s."""

_TEMPLATE = """\
{head}
[Unit]
Description=beatctl: Temporal server and worker for loops of coding agents

[Service]
ExecStart={command}
{environment}
# Not `always`: after `beatctl down` it stays down.
Restart=on-failure
RestartSec=10
# Stop the supervisor alone: it ends server and worker itself. The default would also end every agent that runs.
KillMode=process
TimeoutStopSec={stop}
# One agent that ran out of memory is that agent's failure, not the end of the service.
OOMPolicy=continue

[Install]
WantedBy=default.target
"""
_ENVIRONMENT = (
    *("BEATCTL_HOME", "BEATCTL_CONFIG", "BEATCTL_TEMPORAL_CLI", "BEATCTL_INHIBIT_SLEEP"),
    *("BEATCTL_MAX_CONCURRENT_AGENTS", "BEATCTL_MAX_CONCURRENT_EVALUATORS"),
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
    *("BEATCTL_PROFILE", "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE"),
    "BEATCTL_PAYLOAD_KEY_FILE",
)
_PATHS = (
    *("BEATCTL_HOME", "BEATCTL_CONFIG", "BEATCTL_TEMPORAL_CLI", "TEMPORAL_CONFIG_FILE", "BEATCTL_PAYLOAD_KEY_FILE"),
)
SECRETS = ("TEMPORAL_API_KEY", "TEMPORAL_TLS_CLIENT_KEY_DATA", "BEATCTL_PAYLOAD_KEY")
"""What a worker may need and a unit must not hold."""
_ASK_S = 30.0


@dataclass(frozen=True)
class Installed:
    """A unit file that is there."""

    path: Path
    ours: bool
    """Whether `up --install` wrote it."""
    command: list[str]
    """ExecStart, as a list of words."""
    kill_mode: str
    """What holds: the file's, or that of a drop-in beside it."""


def unit_text(command: str, environment: Mapping[str, str], head: str = MARK) -> str:
    """A unit that runs `command` (words quoted as `quoted` does) with these variables."""
    told = {**environment, UNIT_VARIABLE: UNIT}
    lines = [f"Environment={quoted(f'{name}={value}')}" for name, value in told.items()]
    return _TEMPLATE.format(head=head, command=command, environment="\n".join(lines), stop=STOP_S)


def quoted(word: str, *, in_command: bool = False) -> str:
    """A word as systemd reads it back, quoted where it must be. In a command line a dollar means something, too."""
    text = word.replace("%", "%%")
    if in_command:
        text = text.replace("$", "$$")
    if re.fullmatch(r"[A-Za-z0-9_@%$+=:,./-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def command_text(words: Sequence[str]) -> str:
    """An ExecStart. systemd starts no program with a quote or a backslash in its path; `env` does."""
    if re.search(r"[\"'\\]", words[0]):
        words = ["/usr/bin/env", *words]
    return " ".join(quoted(word, in_command=place > 0) for place, word in enumerate(words))


def environment_for(environ: Mapping[str, str]) -> dict[str, str]:
    """What the unit needs of the shell's environment: agents are found on its PATH, beatctl's files where it says.
    Secrets stay out: a unit can be read by everybody."""
    found = {"PATH": ":".join(part for part in environ.get("PATH", os.defpath).split(":") if part.startswith("/"))}
    for name in _ENVIRONMENT:
        if environ.get(name):
            found[name] = os.path.abspath(os.path.expanduser(environ[name])) if name in _PATHS else environ[name]
    for name in sorted(environ):
        if re.fullmatch(r"TEMPORAL_TLS_\w+_PATH", name):
            found[name] = os.path.abspath(environ[name])
        elif re.fullmatch(r"OTEL_\w+", name) and not name.endswith("_HEADERS") and "@" not in environ[name]:
            found[name] = environ[name]  # headers, and what stands before an @ in a URL, are how one logs in
    return {name: value for name, value in found.items() if value.isprintable()}


def unit_path(environ: Mapping[str, str]) -> Path:
    config = environ.get("XDG_CONFIG_HOME", "")
    base = Path(config) if config.startswith("/") else Path(environ.get("HOME") or Path.home()) / ".config"
    return base / "systemd" / "user" / UNIT


def installed(environ: Mapping[str, str]) -> Installed | None:
    """The unit in the user's folder; None where there is none that can be read."""
    path = unit_path(environ)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    whole = text
    for drop_in in sorted(path.with_name(f"{UNIT}.d").glob("*.conf")):
        try:
            whole += "\n" + drop_in.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
    commands = [value for value in values(whole, "ExecStart") if value]
    kill_modes = values(whole, "KillMode")
    return Installed(
        path=path,
        ours=MARK in text,
        command=words_of(commands[-1], environ) if commands else [],
        kill_mode=(kill_modes[-1] if kill_modes else "") or "control-group",
    )


def values(text: str, name: str) -> list[str]:
    """What a unit's text says for a setting, in its order."""
    return [found.strip() for found in re.findall(rf"^\s*{name}\s*=(.*)$", text, re.MULTILINE)]


def words_of(command: str, environ: Mapping[str, str]) -> list[str]:
    """The words of an ExecStart; without those systemd would refuse, too."""
    try:
        words = shlex.split(command)
    except ValueError:
        return []
    home = environ.get("HOME", "")
    return [re.sub(r"%[%h]|\$\$", lambda one: {"%%": "%", "%h": home, "$$": "$"}[one[0]], word) for word in words]


def is_running(environ: Mapping[str, str]) -> bool:
    """Whether this user's systemd answers."""
    return ask(environ, "show-environment")[0]


def restart_unit(unit: str, environ: Mapping[str, str]) -> bool:
    """Have systemd end a unit's supervisor and start it anew; whether it did."""
    return ask(environ, "restart", unit)[0]


def ask(environ: Mapping[str, str], *words: str) -> tuple[bool, str]:
    """`systemctl --user WORDS`: whether that went well, and what it said."""
    return run(["systemctl", "--user", *words], environ)


def run(line: Sequence[str], environ: Mapping[str, str], timeout_s: float = _ASK_S) -> tuple[bool, str]:
    """Run a program of the system's: whether that went well, and its words. One that is missing has not gone well."""
    program = shutil.which(line[0], path=environ.get("PATH"))
    if program is None:
        return False, f"{line[0]} is not on PATH"
    try:
        done = subprocess.run(
            [program, *line[1:]],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return False, str(problem)
    return done.returncode == 0, (done.stderr or done.stdout).strip()
