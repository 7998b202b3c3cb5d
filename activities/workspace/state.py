"""What is known of a workspace between two operations, on disk, so that another worker process can go on.

`state-0` and `state-1`, written in turn, are small and change often, `folders.json` lists the folders of the
work tree, and `rules` holds the ignore rules of the baseline. An operation that was killed leaves them as they were
before it; `index` tells then that git's index has gone ahead, and everything is looked at anew.

The state's version is that of the whole folder: manifests, guards, ignore rules, the log of refs. It is written by one
version of beatctl and may be read by a later one weeks after; a change of any of them, a field more or less included,
raises it and adds a migration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from beatctl import __version__

from .files import Signature, lstat, read_json, read_note, signature, to_bytes, to_text, write_json, write_note
from .problems import WorkspaceProblem

Migration = Callable[[Path, dict[str, Any]], None]

_FIRST = 1
_MIGRATIONS: list[Migration] = []
"""Each takes the folder and its state's data from one version to the next, the first from version 1 to 2.

It changes the data, which is written with the next operation, and other files only so that it can be killed and
repeated. Nothing is ever taken out or changed here.
"""
VERSION = _FIRST + len(_MIGRATIONS)


def bring_up_to_date(place: Path, data: dict[str, Any], migrations: Sequence[Migration] = _MIGRATIONS) -> None:
    """Run the migrations that this state has not had. Raises WorkspaceProblem for one of a newer version."""
    found, newest = int(data["version"]), _FIRST + len(migrations)
    if not _FIRST <= found <= newest:
        raise WorkspaceProblem(
            f"{place} was written by a newer beatctl (version {found}; beatctl {__version__} knows {newest}): use that "
            "one for this loop. Is it the worker that is older? beatctl down, then beatctl up -d, replaces it."
        )
    for migrate in migrations[found - _FIRST :]:
        migrate(place, data)
    data["version"] = newest


@dataclass
class Known:
    """A state of the work tree that is held by a commit."""

    commit: str
    tree: str
    manifest: str


@dataclass
class Named:
    """The last capture, by name, and what came before it: a capture that is repeated gives the same answer."""

    name: str
    before: Known


@dataclass
class State:
    root: str
    loop: str
    object_format: str
    baseline: str
    known: Known
    common: str | None = None
    """The directory of the user's repository that holds objects and refs; None: a private store."""
    last: Named | None = None
    index: Signature | None = None
    """The private index as this state left it."""
    hot: dict[str, Signature] = field(default_factory=dict)
    """Files changed in the very second they were recorded in, which a later change could not be told from by git."""
    closed: bool = False
    guards: list[str] = field(default_factory=list)
    """Folders below the root whose `.git` is guarded; the empty one is the root's."""
    warnings: list[str] = field(default_factory=list)
    own_worktree: bool = False
    """The root is a linked worktree made for the loop: the user goes on working in the same repository."""
    version: int = VERSION
    restored_at: float = 0.0
    """When the restore that left this state began, in unix seconds; 0 when something else left it."""
    number: int = 0
    """Counts what was written, into two files in turn: a write that is cut short leaves the state before it."""

    def save(self, place: Path, *, lasting: bool = False) -> None:
        self.number += 1
        write_note(place / f"state-{self.number % 2}", asdict(self), lasting=lasting)

    @classmethod
    def read(cls, place: Path) -> State | None:
        notes = [note for note in (read_note(place / "state-0"), read_note(place / "state-1")) if note is not None]
        if not notes:
            return None
        data = max(notes, key=lambda note: int(note["number"]))
        bring_up_to_date(place, data)
        last = data.pop("last")
        known = Known(**data.pop("known"))
        return cls(known=known, last=Named(last["name"], Known(**last["before"])) if last else None, **data)


@dataclass
class Folders:
    """The folders of the work tree: which belong to it (mode, and time of change in ns), which are ignored."""

    known: dict[bytes, list[int]] = field(default_factory=dict)
    ignored: set[bytes] = field(default_factory=set)

    def save(self, place: Path) -> None:
        known = {to_text(path): value for path, value in self.known.items()}
        write_json(place / "folders.json", {"known": known, "ignored": sorted(map(to_text, self.ignored))})

    @classmethod
    def read(cls, place: Path) -> Folders:
        data: dict[str, Any] = read_json(place / "folders.json") or {"known": {}, "ignored": []}
        known = {to_bytes(path): value for path, value in data["known"].items()}
        return cls(known, {to_bytes(path) for path in data["ignored"]})


def index_signature(place: Path) -> Signature | None:
    found = lstat(place / "git" / "index")
    return signature(found) if found else None
