"""`init --mcp`: beatctl written down where claude, codex and gemini look for MCP servers."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beatctl.cli.mcp.entries import Taken, Unreadable, in_json, in_toml
from beatctl.cli.output import from_home, out_json, say
from beatctl.cli.problems import Usage

CLIENTS = ("claude", "codex", "gemini")
_PLACES = (
    *("BEATCTL_HOME", "BEATCTL_CONFIG", "BEATCTL_TEMPORAL_CLI", "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"),
    *("BEATCTL_PROFILE", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE", "BEATCTL_PAYLOAD_KEY_FILE"),
    *("CODEX_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"),
)
"""Variables by which beatctl and the agents find what is theirs."""
_LARGEST = 4 * 1024 * 1024


@dataclass(frozen=True)
class Client:
    """Where an agent program looks."""

    name: str
    path: Path
    edit: Callable[..., str]
    is_ours: bool
    """In the project, where git knows what was there before; else a copy of what was there is kept."""
    then: str
    """What is left to do."""


@dataclass(frozen=True)
class Written:
    """What was done to a client's file."""

    client: Client
    changed: bool
    kept: Path | None
    """Where the file as it was is kept."""


def write_entries(which: str, *, force: bool, as_json: bool) -> int:
    """Write the entry for one client or `all`, and say where. Raises Usage; what was written before that stays."""
    chosen = CLIENTS if which == "all" else (which,)
    if not set(chosen) <= set(CLIENTS):
        raise Usage(f'--mcp takes {", ".join(CLIENTS)} or all, not "{which}".', help_of="init")
    entry = command(os.environ)
    done: list[Written] = []
    problems: list[str] = []
    for name in chosen:
        client = client_of(name, project_of(Path.cwd()), os.environ)
        try:
            done.append(write_entry(client, {**entry, **passed_on(name, os.environ)}, force=force))
        except Usage as problem:
            problems.append(problem.text)
    if as_json:
        out_json({"mcp": [_as_json(one) for one in done], "entry": entry})
    for one in [] if as_json else done:
        _tell(one, entry)
    if problems:
        raise Usage("\n".join(problems))
    return 0


def command(environ: Mapping[str, str]) -> dict[str, Any]:
    """What starts the server: beatctl by its name where that is installed, else through uvx, else by its path."""
    found = shutil.which("beatctl", path=environ.get("PATH"))
    if found is not None and not _is_passing(found):
        return {"command": "beatctl", "args": ["mcp"]}
    if shutil.which("uvx", path=environ.get("PATH")) is not None:
        return {"command": "uvx", "args": ["beatctl", "mcp"]}
    return {"command": os.path.abspath(sys.argv[0]), "args": ["mcp"]}


def passed_on(client: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """What else an entry needs so that the server finds the same loops as the user's shell: codex gives its servers a
    few variables alone, and those that are named."""
    named = [name for name in _PLACES if environ.get(name)]
    return {"env_vars": named} if client == "codex" and named else {}


def _is_passing(program: str) -> bool:
    """Whether a program is in an environment that uvx made for this once."""
    return any(part.startswith("archive-v") for part in Path(os.path.realpath(program)).parts)


def project_of(here: Path) -> Path:
    """The repository's top level, else the folder itself."""
    return next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)


def client_of(name: str, project: Path, environ: Mapping[str, str]) -> Client:
    """Where a client looks."""
    if name == "claude":
        then = "claude asks once whether it may use it."
        return Client(name, project / ".mcp.json", in_json, True, then)
    if name == "gemini":
        return Client(
            name,
            project / ".gemini" / "settings.json",
            in_json,
            True,
            "gemini has it when it starts next in a folder it trusts.",
        )
    home = Path(environ.get("CODEX_HOME") or Path("~/.codex").expanduser())
    return Client(name, home / "config.toml", in_toml, False, "codex has it when it starts next, in every project.")


def write_entry(client: Client, entry: dict[str, Any], *, force: bool) -> Written:
    """Add the entry, keeping all else that is there. Raises Usage with what to add by hand; then nothing was
    touched."""
    shown = from_home(str(client.path))
    path = Path(os.path.realpath(client.path))  # a link into one's dotfiles stays one
    by_hand = f"Nothing was touched. To add it by hand:\n{client.edit('', entry, force=False).rstrip()}"
    try:
        before = _text(path)
        after = client.edit(before or "", entry, force=force)
    except Unreadable as wrong:
        raise Usage(f"{shown}: {wrong}. {by_hand}") from None
    except Taken as taken:
        raise Usage(
            f"{shown} has another entry of that name: {taken.found}. Nothing was touched. --force replaces it."
        ) from None
    except OSError as problem:
        raise Usage(f"{shown} can't be read: {problem.strerror or problem}. {by_hand}") from None
    if after == before:
        return Written(client, False, None)
    try:
        kept = _kept(path) if before is not None and not client.is_ours else None
        _write(path, after)
    except OSError as problem:
        raise Usage(f"{shown} can't be written: {problem.strerror or problem}. {by_hand}") from None
    return Written(client, True, kept)


def _text(path: Path) -> str | None:
    """The file's text; None where there is none. Raises OSError, Unreadable."""
    if not path.exists():
        return None
    if not path.is_file() or path.stat().st_size > _LARGEST:
        raise Unreadable("it is no ordinary file of settings")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8") from None


def _kept(path: Path) -> Path:
    from beatctl.cli.init import keep_copy

    kept = keep_copy(path)
    assert kept is not None
    return kept


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_bytes(text.encode())
        if path.exists():
            fresh.chmod(path.stat().st_mode & 0o777)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _tell(one: Written, entry: dict[str, Any]) -> None:
    shown = from_home(str(one.client.path))
    if not one.changed:
        say(f"{one.client.name}: {shown} has it already.")
        return
    say(f"{one.client.name}: wrote {' '.join([entry['command'], *entry['args']])} into {shown}. {one.client.then}")
    if one.kept:
        say(f"  The file as it was: {from_home(str(one.kept))}")


def _as_json(one: Written) -> dict[str, Any]:
    return {
        "client": one.client.name,
        "file": str(one.client.path),
        "changed": one.changed,
        "kept": str(one.kept) if one.kept else None,
    }
