"""From what the user typed after `--agent` to a program on this machine."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from beatctl.activities.agents.account import account
from beatctl.activities.agents.definition import AgentDefinition, AgentTables, KnownSettings
from beatctl.activities.agents.program import stamp, version
from beatctl.activities.agents.registry import ADAPTERS, INSTALL, KNOWN
from beatctl.activities.agents.spec import AgentSpec, Permissions

NO_TABLES = AgentTables()


class AgentNotFound(Exception):
    """The agent can't be used as asked; the text says why and what to do."""

    @property
    def text(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Looked:
    """What was found of an agent that can be named."""

    name: str
    agent: AgentSpec | None = None
    problem: str | None = None
    """How to install it where there is none, or why it does not run."""


class AgentMistyped(AgentNotFound):
    """What was typed names no program, whatever is installed."""


def resolve(
    word: str | None,
    environ: Mapping[str, str],
    *,
    model: str | None = None,
    permissions: Permissions | None = None,
    allowed_commands: Sequence[str] = (),
    args: Sequence[str] = (),
    directory: Path | None = None,
    tables: AgentTables = NO_TABLES,
) -> AgentSpec:
    """The agent to run: a known name, one that the user's configuration defines, the user's own command, or (None) the
    first known one found.

    `directory` is where the agent will run (default: the current folder), against which `./agent.sh` is looked up.
    `tables`: what the user's configuration says of agents; what is asked for here comes first. Raises AgentNotFound.
    """
    directory = directory or Path.cwd()
    if word is None:
        agent = _default(environ, tables)
    elif word.strip() in tables.defined:
        name = word.strip()
        agent = defined(name, tables.defined[name], environ, directory)
    else:
        agent = _asked(word, environ, directory, tables)
    if agent.kind == "command" and args:
        raise AgentMistyped(
            f"--agent-args goes with an agent that beatctl knows or your configuration defines. {agent.name} is a "
            "command of your own: write its arguments into --agent."
        )
    settings = tables.known.get(agent.name, KnownSettings()) if agent.kind in KNOWN.values() else KnownSettings()
    agent = agent.model_copy(
        update={
            "model": model or settings.model,
            "default_model": account(agent.kind, environ).model,
            "permissions": permissions or settings.permissions or "workspace",
            "args": [*settings.args, *args],
            "environment": settings.environment,
            "allowed_commands": list(allowed_commands),
        }
    )
    refusal = ADAPTERS[agent.kind].refusal(agent, dict(environ))
    if refusal:
        raise AgentNotFound(refusal)
    return agent


def again(agent: AgentSpec, environ: Mapping[str, str], directory: Path) -> AgentSpec:
    """An agent that was resolved before, as it is installed now; all that was asked of it stays. Raises
    AgentNotFound."""
    if agent.definition is not None:
        now = defined(agent.name, agent.definition, environ, directory)
    elif agent.kind == "command":
        now = _asked(shlex.join(agent.argv), environ, directory, NO_TABLES)
    else:
        try:
            program = _program(agent.argv[0], environ, directory)
        except AgentNotFound:
            program = _program(agent.name, environ, directory)  # it may have been installed elsewhere since
        now, problem = _known(agent.name, program, environ)
        if problem:
            raise AgentNotFound(_broken(agent.name, program, problem))
    now = agent.model_copy(update={"argv": now.argv, "version": now.version, "program": now.program})
    refusal = ADAPTERS[now.kind].refusal(now, dict(environ))
    if refusal:
        raise AgentNotFound(refusal)
    return now


def found(environ: Mapping[str, str], tables: AgentTables = NO_TABLES) -> list[AgentSpec]:
    """The known agents on PATH, then those the configuration defines whose program is there, each with its version
    (None where it did not tell)."""
    return [looked.agent for looked in look(environ, tables) if looked.agent is not None]


def look(environ: Mapping[str, str], tables: AgentTables = NO_TABLES) -> list[Looked]:
    """Every agent that can be named, the known ones first, in the order in which the default is looked for."""
    there = _on_path(environ, tables)

    def known(name: str) -> Looked:
        if name not in there:
            return Looked(name, None, INSTALL[name])
        return Looked(name, *_known(name, there[name], environ))

    def one_defined(name: str) -> Looked:
        try:
            return Looked(name, defined(name, tables.defined[name], environ, Path("/")))
        except AgentNotFound as missing:
            install = tables.defined[name].install
            return Looked(name, None, install or str(missing))

    with ThreadPoolExecutor(max_workers=8) as pool:
        asked = pool.map(known, KNOWN), pool.map(one_defined, tables.defined)
        return [looked for part in asked for looked in part]


def defined(name: str, definition: AgentDefinition, environ: Mapping[str, str], directory: Path) -> AgentSpec:
    """The agent of a definition. Raises AgentNotFound."""
    program, *words = definition.command
    try:
        path = _program(program, environ, directory)
    except AgentNotFound as missing:
        if "/" in program:
            raise AgentNotFound(f"{missing} It is the program of [agents.{name}].") from None
        how = f" Install it: {definition.install}" if definition.install else ""
        raise AgentNotFound(f'Agent "{name}": its program "{program}" is not on PATH.{how}') from None
    told = version(path, environ, definition.version)[0]
    return AgentSpec(
        kind="configured",
        name=name,
        argv=[path, *words],
        version=told,
        program=stamp(path) if definition.version else None,
        definition=definition,
    )


def _known(name: str, path: str, environ: Mapping[str, str]) -> tuple[AgentSpec, str | None]:
    """A known agent, and why it does not run."""
    told, problem = version(path, environ)
    return AgentSpec(kind=KNOWN[name], name=name, argv=[path], version=told, program=stamp(path)), problem


def _default(environ: Mapping[str, str], tables: AgentTables) -> AgentSpec:
    broken = None
    for name, path in _on_path(environ, tables).items():
        agent, problem = _known(name, path, environ)
        if problem is None:
            return agent
        broken = broken or _broken(name, path, problem)
    raise AgentNotFound(
        broken
        or f"No agent found: none of {', '.join(KNOWN)} is on PATH. Install one "
        f"({INSTALL['claude']}), or name your own: --agent './my-agent.sh {{prompt}}'"
    )


def _asked(word: str, environ: Mapping[str, str], directory: Path, tables: AgentTables) -> AgentSpec:
    try:
        argv = shlex.split(word)
    except ValueError:
        raise AgentMistyped(f"--agent {word}: a quote or backslash in it is not closed.") from None
    if not argv:
        raise AgentMistyped(f"--agent is empty. Name {_names(tables)}, or your own: './my-agent.sh {{prompt}}'")
    argv[0] = _from_home(argv[0], environ)
    name = Path(argv[0]).name
    if argv == [name] and name in KNOWN and (path := tables.known.get(name, KnownSettings()).path):
        argv[0] = _from_home(path, environ)
    program = _program(argv[0], environ, directory, tables)
    if len(argv) > 1 or name not in KNOWN:
        return AgentSpec(kind="command", name=name, argv=argv if "/" in argv[0] else [program, *argv[1:]])
    agent, problem = _known(name, program, environ)
    if problem:
        raise AgentNotFound(_broken(name, program, problem))
    return agent


def _from_home(program: str, environ: Mapping[str, str]) -> str:
    return environ["HOME"] + program[1:] if program.startswith("~/") and environ.get("HOME") else program


def _names(tables: AgentTables) -> str:
    return ", ".join((*KNOWN, *tables.defined))


def _program(name: str, environ: Mapping[str, str], directory: Path, tables: AgentTables = NO_TABLES) -> str:
    """The absolute path of a program that is there and can be run."""
    name = _from_home(name, environ)
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
    others = ", ".join(_on_path(environ, tables)) or f"none of {', '.join(KNOWN)}"
    if name in KNOWN:
        hint = f"Install it: {INSTALL[name]}"
    elif (directory / name).is_file():
        hint = f"There is a file of that name here: --agent ./{name}"
    else:
        hint = f"Name {_names(tables)}, or your own: --agent './my-agent.sh {{prompt}}'"
    raise AgentNotFound(f'Agent "{name}" is not on PATH. Found: {others}. {hint}')


def _on_path(environ: Mapping[str, str], tables: AgentTables) -> dict[str, str]:
    """Known agents and their absolute paths, in the order of preference."""
    search = environ.get("PATH", os.defpath)
    named = {name: tables.known.get(name, KnownSettings()).path or name for name in KNOWN}
    paths = {name: shutil.which(_from_home(program, environ), path=search) for name, program in named.items()}
    return {name: os.path.abspath(path) for name, path in paths.items() if path}


def _broken(name: str, path: str, problem: str) -> str:
    return f'Agent "{name}" is at {path} but does not run: {problem}. Install it again: {INSTALL[name]}'
