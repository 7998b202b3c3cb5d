"""What is known of a schedule wherever one looks: it travels with the schedule, and a copy lies in the home that made
it, with the environment that its loops get there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ValidationError

from beatctl.activities.home import Home
from beatctl.cli.schedule.timing import Timing


class Kept(BaseModel):
    """A schedule, as it was made."""

    name: str
    goal: str
    strategy: str = "retry"
    arguments: list[str]
    """Of `start`."""
    directory: str | None
    """None: with `repo`, in a clone of it."""
    repo: str | None = None
    host: str
    """Where its loops run."""
    timing: Timing
    connection: str = "embedded"
    created_at: str


def keep(home: Home, kept: Kept, environ: Mapping[str, str]) -> None:
    """Write the home's copy. A schedule whose loops run elsewhere gets that host's environment: give an empty one."""
    from beatctl.activities.processes import save_environment
    from beatctl.activities.workspace.files import write_whole

    folder = home.schedule(kept.name)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if environ:
        save_environment(home.schedule_environment(kept.name), environ)
    write_whole(folder / _FILE, kept.model_dump_json().encode())


def forget(home: Home, name: str) -> None:
    shutil.rmtree(home.schedule(name), ignore_errors=True)


def all_kept(home: Home, connection: str | None = None) -> list[Kept]:
    """The schedules of this home that are on `connection` (None: on any), by name."""
    found = [_read(path) for path in sorted(home.schedules.glob(f"*/{_FILE}"))]
    return [kept for kept in found if kept is not None and connection in (None, kept.connection)]


def _read(path: Path) -> Kept | None:
    try:
        return Kept.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, ValidationError):
        return None


_FILE = "schedule.json"
