"""From what the user typed after `--agent` to a program on this machine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from beatctl.activities.agents.environment import child_environment
from beatctl.activities.agents.registry import ADAPTERS, INSTALL, KNOWN
from beatctl.activities.agents.spec import AgentKind, AgentSpec, Permissions

VERSION_LIMIT_S = 5.0
_VERSION = re.compile(r"\d+\.\d+[\w.+-]*")


class AgentNotFound(Exception):
    """The agent can't be used as asked; the text says why and what to do."""

    @property
    def text(self) -> str:
        return str(self)


class AgentMistyped(AgentNotFound):
    """What was typed names no program, whatever is installed."""


def resolve(
    word: str | None,
    environ: Mapping[str, str],
    *,
    model: str | None = None,
    permissions: Permissions = "workspace",
    allowed_commands: Sequence[str] = (),
    directory: Path | None = None,
) -> AgentSpec:
    """The agent to run: a known name, the user's own command, or (None) the first known one found.

    `directory` is where the agent will run (default: the current folder), against which `./agent.sh` is looked up.
    Raises AgentNotFound.
    """
    directory = directory or Path.cwd()
    if word is None:
        kind, name, argv, version = _default(environ)
    else:
        kind, name, argv, version = _asked(word, environ, directory)
    agent = AgentSpec(
        kind=kind,
        name=name,
        argv=argv,
        version=version,
        model=model,
        permissions=permissions,
        allowed_commands=list(allowed_commands),
    )
    refusal = ADAPTERS[kind].refusal(agent, dict(environ))
    if refusal:
        raise AgentNotFound(refusal)
    return agent


def found(environ: Mapping[str, str]) -> list[AgentSpec]:
    """The known agents on PATH, each with its version (None where it did not tell)."""
    programs = _on_path(environ)
    with ThreadPoolExecutor(max_workers=len(KNOWN)) as pool:
        versions = dict(
            zip(programs, pool.map(lambda path: _version(path, environ)[0], programs.values()), strict=True)
        )
    return [
        AgentSpec(kind=KNOWN[name], name=name, argv=[path], version=versions[name]) for name, path in programs.items()
    ]


Resolved = tuple[AgentKind, str, list[str], str | None]


def _default(environ: Mapping[str, str]) -> Resolved:
    broken = None
    for name, path in _on_path(environ).items():
        version, problem = _version(path, environ)
        if problem is None:
            return KNOWN[name], name, [path], version
        broken = broken or _broken(name, path, problem)
    raise AgentNotFound(
        broken
        or "No agent found: none of claude, codex, gemini is on PATH. Install one "
        f"({INSTALL['claude']}), or name your own: --agent './my-agent.sh {{prompt}}'"
    )


def _asked(word: str, environ: Mapping[str, str], directory: Path) -> Resolved:
    try:
        argv = shlex.split(word)
    except ValueError:
        raise AgentMistyped(f"--agent {word}: a quote or backslash in it is not closed.") from None
    if not argv:
        raise AgentMistyped("--agent is empty. Name claude, codex, gemini, or your own: './my-agent.sh {prompt}'")
    if argv[0].startswith("~/") and environ.get("HOME"):
        argv[0] = environ["HOME"] + argv[0][1:]
    program = _program(argv[0], environ, directory)
    name = Path(argv[0]).name
    if len(argv) > 1 or name not in KNOWN:
        return "command", name, argv if "/" in argv[0] else [program, *argv[1:]], None
    version, problem = _version(program, environ)
    if problem:
        raise AgentNotFound(_broken(name, program, problem))
    return KNOWN[name], name, [program], version


def _program(name: str, environ: Mapping[str, str], directory: Path) -> str:
    """The absolute path of a program that is there and can be run."""
    if "/" in name:
        path = directory / name
        if path.is_dir():
            raise AgentNotFound(f'Agent "{name}" is a folder. Name a program in it.')
        if not path.exists():
            raise AgentNotFound(f'Agent "{name}" is not there: no such file in {directory}.')
        if not os.access(path, os.X_OK):
            raise AgentNotFound(f'Agent "{name}" is not executable. Make it so: chmod +x {shlex.quote(str(path))}')
        return os.path.abspath(path)
    path_found = shutil.which(name, path=environ.get("PATH", os.defpath))
    if path_found:
        return os.path.abspath(path_found)
    others = ", ".join(_on_path(environ)) or "none of claude, codex, gemini"
    if name in KNOWN:
        hint = f"Install it: {INSTALL[name]}"
    elif (directory / name).is_file():
        hint = f"There is a file of that name here: --agent ./{name}"
    else:
        hint = "Name claude, codex, gemini, or your own: --agent './my-agent.sh {prompt}'"
    raise AgentNotFound(f'Agent "{name}" is not on PATH. Found: {others}. {hint}')


def _on_path(environ: Mapping[str, str]) -> dict[str, str]:
    """Known agents and their absolute paths, in the order of preference."""
    paths = {name: shutil.which(name, path=environ.get("PATH", os.defpath)) for name in KNOWN}
    return {name: os.path.abspath(path) for name, path in paths.items() if path}


def _version(program: str, environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    """What `--version` says, or why the program does not run. One that takes over 5 s says nothing: the machine is
    busy, which is no fault of the program."""
    try:
        process = subprocess.Popen(
            [program, "--version"],
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
        return None, lines[-1][:300] if lines else f"`--version` exited with {process.returncode}"
    match = _VERSION.search(stdout.decode("utf-8", "replace"))
    return match.group() if match else None, None


def _broken(name: str, path: str, problem: str) -> str:
    return f'Agent "{name}" is at {path} but does not run: {problem}. Install it again: {INSTALL[name]}'
