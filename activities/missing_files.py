"""What git ignores in the user's folder and a new worktree therefore lacks (node_modules, .venv), and what makes it."""

from __future__ import annotations

import fnmatch
import os
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

from pydantic import BaseModel

from beatctl.activities.workspace import ignored_things

_PYTHON = ("venv", ".venv", "env", ".env.d", "virtualenv")
_MAKES = (
    (("node_modules",), "package-lock.json", "npm ci"),
    (("node_modules",), "npm-shrinkwrap.json", "npm ci"),
    (("node_modules",), "pnpm-lock.yaml", "pnpm install --frozen-lockfile"),
    (("node_modules", ".yarn", ".pnp.cjs"), "yarn.lock", "yarn install --immutable || yarn install --frozen-lockfile"),
    (("node_modules",), "bun.lock", "bun install"),
    (("node_modules",), "bun.lockb", "bun install"),
    (("node_modules",), "package.json", "npm install"),
    (_PYTHON, "uv.lock", "uv sync"),
    (_PYTHON, "poetry.lock", "poetry install"),
    (_PYTHON, "pdm.lock", "pdm sync"),
    (_PYTHON, "Pipfile.lock", "pipenv sync"),
    (_PYTHON, "requirements.txt", "python3 -m venv {name} && {name}/bin/pip install -r requirements.txt"),
    (_PYTHON, "pyproject.toml", "python3 -m venv {name} && {name}/bin/pip install -e ."),
    (("vendor", ".bundle"), "Gemfile.lock", "bundle install"),
    (("vendor",), "composer.lock", "composer install"),
    (("vendor",), "go.mod", "go mod vendor"),
    (("target",), "Cargo.toml", "cargo build"),
    (("deps", "_build"), "mix.lock", "mix deps.get"),
    ((".dart_tool",), "pubspec.lock", "dart pub get"),
)
"""Names of what is missing, the file that says how it is made, the command."""
_OF_NO_USE = (
    *("__pycache__", ".*_cache", "*.egg-info", "*.py[co]", ".coverage", "htmlcov", ".tox", ".nox", "coverage"),
    *(".DS_Store", "*.log", "*.sw?", "*~", ".idea", ".vscode", ".cache", "tmp", ".beatctl*"),
)
"""Caches and the like: no command fails for want of them."""
_SHOWN = 4


class MissingInput(BaseModel):
    """Where a loop's own worktree is, and the folder it was made from."""

    origin: str
    worktree: str
    directory: str


def find_missing(given: MissingInput) -> str:
    """What the worktree lacks and what to do, in a sentence; empty where nothing of note is missing."""
    missing = missing_in(Path(given.origin), Path(given.worktree), Path(given.directory))
    if not missing:
        return ""
    below = os.path.relpath(given.directory, given.worktree)
    setup = setup_command(missing, _files(Path(given.directory)), given.origin, below)
    quoted = shlex.quote(setup) if '"' in setup else f'"{setup}"'
    add = f"Add --setup {quoted}." if setup else "Add --setup CMD, which makes that."
    return f"{_listed(missing)} missing in the worktree (ignored by git). {add}"


def missing_in(origin: Path, worktree: Path, directory: Path) -> list[str]:
    """What git ignores at the top level of the user's folder, or in the folder the commands run in, and the worktree
    does not have. Paths relative to the top level."""
    below = directory.relative_to(worktree).as_posix() if directory != worktree else ""
    found = [
        path
        for path in ignored_things(origin)
        if path.rpartition("/")[0] in ("", below) and not _of_no_use(path) and not (worktree / path).exists()
    ]
    known = {name for names, _, _ in _MAKES for name in names}
    return sorted(found, key=lambda path: (os.path.basename(path) not in known, path))


def setup_command(missing: Sequence[str], files: Collection[str], origin: str, below: str = ".") -> str:
    """The command that probably makes what is missing; empty where nothing tells. Pure.

    `files`: names in the folder it runs in, which is `below` the top level.
    """
    names = {os.path.basename(path) for path in missing}
    commands: list[str] = []
    done: set[str] = set()
    for makes, file, command in _MAKES:
        wanted = [name for name in makes if name in names - done]
        if wanted and file in files:
            commands.append(command.format(name=wanted[0]))
            done.update(makes)
    for path in missing:
        if os.path.basename(path).startswith(".env") and os.path.basename(path) not in done | set(_PYTHON):
            there = os.path.relpath(os.path.dirname(path) or ".", below)
            commands.append(f"cp {shlex.quote(f'{origin}/{path}')} {shlex.quote(there)}")
    return " && ".join(f"({command})" if "||" in command and len(commands) > 1 else command for command in commands)


def _listed(missing: Sequence[str]) -> str:
    shown = list(missing[:_SHOWN])
    if len(missing) > _SHOWN:
        return f"{', '.join(shown)} and {len(missing) - _SHOWN} more are"
    return f"{', '.join(shown[:-1])} and {shown[-1]} are" if len(shown) > 1 else f"{shown[0]} is"


def _of_no_use(path: str) -> bool:
    return any(fnmatch.fnmatch(os.path.basename(path), pattern) for pattern in _OF_NO_USE)


def _files(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()
