"""Finding and reading the places that settings come from: environment, loop file, beatctl.toml, config.toml."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beatctl.activities.home import config_file
from beatctl.cli.cells import cut
from beatctl.cli.output import from_home, visible
from beatctl.cli.problems import Usage
from beatctl.cli.settings import (
    HOST_KEYS,
    KEYS,
    Level,
    Setting,
    Value,
    level_of_environment,
    level_of_flags,
    merge,
    misspelt_variables,
)
from beatctl.cli.start_options import Typed

LOOP_FILE = "loop.toml"
"""What `init` writes; it is read only where `-f` names it."""
REPOSITORY_FILE = "beatctl.toml"


@dataclass(frozen=True)
class Place:
    """A file that settings are read from, if it is there. `shown` is how messages name it."""

    path: Path
    shown: str
    level: str
    must_be_there: bool = False

    def is_there(self) -> bool:
        return os.path.lexists(self.path)

    def read(self) -> Level:
        """What it says; nothing where there is no such file. Raises Usage."""
        if not self.is_there() and not self.must_be_there:
            return {}
        from beatctl.cli.loop_file import read

        return read(self.path, self.shown, self.level)


def loop_file(named: str | None) -> Level:
    """What the file named by `-f` says; nothing where none was named. Raises Usage."""
    if named is None:
        return {}
    from beatctl.cli.loop_file import read

    return read(Path(named), named, "loop file")


def user_file(environ: Mapping[str, str]) -> Path:
    """Where the user's own settings stand; /dev/null is a file without settings."""
    return config_file(environ) or Path(os.devnull)


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment in which only flags, loop files and a beatctl.toml say anything."""
    ours = {key.variable for key in KEYS.values()}
    return {name: value for name, value in environ.items() if name not in ours} | {"BEATCTL_CONFIG": os.devnull}


def standing(root: Path | None, environ: Mapping[str, str]) -> list[Place]:
    """The files that hold for every loop: in the workspace's root (None: there is none), and the user's own."""
    user = user_file(environ)
    named = bool(environ.get("BEATCTL_CONFIG"))
    places = [Place(user, _shown(user), "user", named)] if str(user) != os.devnull else []
    if root is not None:
        path = root / REPOSITORY_FILE
        places.insert(0, Place(path, _shown(path), "repository"))
    return places


def merged(flags: Typed, file: Level, root: Path | None, environ: Mapping[str, str]) -> dict[str, Setting]:
    """What holds: flag, else environment, loop file, repository, user. Raises Usage."""
    return merge(
        [
            level_of_flags(flags),
            level_of_environment(environ),
            file,
            *(place.read() for place in standing(root, environ)),
        ]
    )


def examine(root: Path | None, file: str | None, environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """For `doctor`: the files that are looked for and what holds, and what is wrong with any of it."""
    wrong: list[str] = []

    def tried(read: Callable[[], Level]) -> Level:
        try:
            return read()
        except Usage as mistake:
            wrong.append(mistake.text)
            return {}

    places = standing(root, environ)
    levels = [tried(lambda: level_of_environment(environ)), tried(lambda: loop_file(file))]
    levels += [tried(place.read) for place in places]
    held = merge(levels)
    found = {
        "config": [{"path": str(place.path), "level": place.level, "exists": place.is_there()} for place in places],
        "settings": [
            {
                "name": name,
                "value": _may_be_shown(name, held[name]),
                "level": held[name].level,
                "source": held[name].source,
            }
            for name in (*KEYS, *HOST_KEYS)
            if name in held
        ],
    }
    return found, wrong + misspelt(environ)


def workspace_here() -> Path | None:
    """The workspace the user stands in; None where no loop can work."""
    from beatctl.activities.workspace import WorkspaceProblem, check_directory

    try:
        return check_directory(Path.cwd())
    except (OSError, WorkspaceProblem):
        return None


def told(settings: Mapping[str, Setting], environ: Mapping[str, str]) -> list[str]:
    """What was not typed as a flag, and where it stands: a line, and one for each variable that seems misspelt."""
    by_place: dict[str, list[str]] = {}
    for name, setting in settings.items():
        if name in HOST_KEYS:
            continue  # the worker's, which may have been started with another
        word = name.replace("_", "-")
        if setting.level == "loop file":
            by_place.setdefault(_file_of(setting), []).append(word)
        elif setting.level == "environment":
            by_place[f"{setting.source}={shown_value(_may_be_shown(name, setting))}"] = []
        elif setting.level != "flag":
            # Nobody named this file just now: what it says is shown, commands above all.
            by_place.setdefault(_file_of(setting), []).append(f"{word} {shown_value(_may_be_shown(name, setting))}")
    parts = [f"{place}: {', '.join(words)}" if words else place for place, words in by_place.items()]
    return [f"Settings from {'; '.join(parts)}"] * bool(parts) + misspelt(environ)


def _may_be_shown(name: str, setting: Setting) -> Value:
    return {**KEYS, **HOST_KEYS}[name].shown(setting.value)


def shown_value(value: Value) -> str:
    """A value on a line, as long as fits there."""
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(cut(visible(text), 60) for text in ((value,) if isinstance(value, str) else value))


def _file_of(setting: Setting) -> str:
    return setting.source.rpartition(":")[0]


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """A warning for each variable that looks like a setting's and is none."""
    found = misspelt_variables(environ).items()
    return [f"{name} is no setting and was ignored. Did you mean {meant}?" for name, meant in found]


def _shown(path: Path) -> str:
    """A path as people write it: from where they stand, or from their home folder."""
    try:
        here = Path.cwd()
    except OSError:
        return str(path)
    if path.is_relative_to(here):
        return f"./{path.relative_to(here)}"
    if here.is_relative_to(path.parent):
        return os.path.relpath(path, here)
    return from_home(str(path))
