"""Finding and reading the places that settings come from: environment, loop file, beatctl.toml, config.toml."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from beatctl.cli.settings import Level, Setting, level_of_environment, level_of_flags, merge, misspelt_variables
from beatctl.cli.start_options import Typed

REPOSITORY_FILE = "beatctl.toml"


@dataclass(frozen=True)
class Place:
    """A file that settings are read from, if it is there. `shown` is how messages name it."""

    path: Path
    shown: str
    level: str

    def is_there(self) -> bool:
        return os.path.lexists(self.path)

    def read(self) -> Level:
        """What it says; nothing where there is no such file. Raises Usage."""
        if not self.is_there():
            return {}
        from beatctl.cli.loop_file import read

        return read(self.path, self.shown, self.level)


def loop_file(named: str | None) -> Level:
    """What the file named by `-f` says; nothing where none was named. Raises Usage."""
    if named is None:
        return {}
    from beatctl.cli.loop_file import read

    return read(Path(named), named, "loop file")


def standing(root: Path | None) -> list[Place]:
    """The files that hold for every loop: in the workspace's root (None: there is none), and the user's own."""
    import platformdirs

    user = platformdirs.user_config_path("beatctl") / "config.toml"
    places = [Place(user, _shown(user), "user")]
    if root is not None:
        path = root / REPOSITORY_FILE
        places.insert(0, Place(path, _shown(path), "repository"))
    return places


def merged(flags: Typed, file: Level, root: Path, environ: Mapping[str, str]) -> dict[str, Setting]:
    """What holds: flag, else environment, loop file, repository, user. Raises Usage."""
    return merge(
        [
            level_of_flags(flags),
            level_of_environment(environ),
            file,
            *(place.read() for place in standing(root)),
        ]
    )


def told(settings: Mapping[str, Setting], environ: Mapping[str, str]) -> list[str]:
    """What was not typed as a flag, and where it stands: a line, and one for each variable that seems misspelt."""
    by_place: dict[str, list[str]] = {}
    for name, setting in settings.items():
        if setting.level != "flag":
            place = setting.source if setting.level == "environment" else setting.source.rpartition(":")[0]
            by_place.setdefault(place, []).append(name.replace("_", "-"))
    parts = [
        place if place.startswith("BEATCTL_") else f"{place}: {', '.join(names)}" for place, names in by_place.items()
    ]
    return [f"Settings from {'; '.join(parts)}"] * bool(parts) + misspelt(environ)


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
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
