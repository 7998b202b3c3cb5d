"""An agent's program on this machine: its version, and whether it is still the file that told it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Lock

from beatctl.activities.agents.environment import child_environment
from beatctl.activities.agents.spec import AgentSpec

VERSION_LIMIT_S = 5.0
_VERSION = re.compile(r"\d+\.\d+[\w.+-]*")

_known: dict[tuple[str, str], str | None] = {}
_one_at_a_time = Lock()


def stamp(program: str) -> str | None:
    """Which file a program is: another one after an update, since agents update themselves. None where it is gone."""
    try:
        real = os.path.realpath(program)
        found = os.stat(real)
    except OSError:
        return None
    return f"{real} {found.st_ino} {found.st_size} {found.st_mtime_ns}"


def version_now(agent: AgentSpec, environ: Mapping[str, str]) -> str | None:
    """The version that a run which just ended had: what was told at the start, asked again where the file is another
    one since. Asked once for each file."""
    now = stamp(agent.argv[0]) if agent.program is not None else None
    if now is None or now == agent.program:
        return agent.version
    with _one_at_a_time:
        key = (agent.argv[0], now)
        if key not in _known:
            _known[key] = version(agent.argv[0], environ, version_words(agent))[0]
        return _known[key] or agent.version


def version_words(agent: AgentSpec) -> Sequence[str]:
    """What makes the program print its version; empty where that is not known, and it might start to work instead."""
    if agent.kind == "configured":
        return agent.definition.version if agent.definition is not None else ()
    return () if agent.kind == "command" else ("--version",)


def version(
    program: str, environ: Mapping[str, str], words: Sequence[str] = ("--version",)
) -> tuple[str | None, str | None]:
    """What `--version` says, or why the program does not run. One that takes over 5 s says nothing: the machine is
    busy, which is no fault of the program."""
    if not words:
        return None, None
    try:
        process = subprocess.Popen(
            [program, *words],
            env=child_environment(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as problem:
        return None, problem.strerror or str(problem)
    try:
        stdout, stderr = process.communicate(timeout=VERSION_LIMIT_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # A child that left the group may hold the pipes open: it is not waited for.
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=1)
        return None, None
    if process.returncode != 0:
        lines = [line.strip() for line in (stderr or stdout).decode("utf-8", "replace").splitlines() if line.strip()]
        return None, lines[-1][:300] if lines else f"`{' '.join(words)}` exited with {process.returncode}"
    match = _VERSION.search(stdout.decode("utf-8", "replace"))
    return match.group().rstrip(".") if match else None, None
