"""The git directories that a guard looks after, as they were, and what a child did to each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import refs
from .admin_files import Copies, Listing, listing_from_json, listing_to_json
from .files import read_regular, to_bytes, to_text


@dataclass
class Area:
    """One git directory that is guarded: a work tree's own, or the one it shares with others."""

    base: Path
    listing: Listing
    stores: list[bytes]
    shared: bool
    """Whether other work trees use it too: then only what they share is put back."""
    inode: int
    elsewhere: list[str]
    """Branches that other work trees had checked out."""

    def to_json(self) -> dict[str, Any]:
        return {
            "base": os.fspath(self.base),
            "listing": listing_to_json(self.listing),
            "stores": [to_text(path) for path in self.stores],
            "shared": self.shared,
            "inode": self.inode,
            "elsewhere": self.elsewhere,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Area:
        listing, held = listing_from_json(data["listing"]), list(map(to_bytes, data["stores"]))
        return cls(Path(data["base"]), listing, held, data["shared"], data["inode"], data["elsewhere"])


@dataclass
class Change:
    """What a child did to one git directory."""

    area: Area
    paths: list[bytes]
    """Below the git directory: to be put back."""
    elsewhere: set[str]
    """Refs that move with other work trees."""
    gone: bool
    """Whether nothing is left of the git directory."""
    refs: dict[str, str | None] | None = None
    """Where the user works in the same repository: the refs to put back, one by one (see `users_at_work`)."""
    config: bytes | None = None
    """There: what the settings are to be."""


def read(base: Path, path: bytes) -> bytes:
    return read_regular(os.path.join(os.fsencode(base), path)) or b""


def recorded_refs(area: Area, copies: Copies) -> dict[str, str]:
    found: dict[str, str] = {}
    entry = area.listing.get(b"packed-refs")
    if entry is not None and entry.kind == "f":
        found = refs.parse_packed(copies.read(entry.content))
    for path, entry in area.listing.items():
        if path.startswith(b"refs/") and entry.kind == "f":
            found[os.fsdecode(path)] = copies.read(entry.content).decode("utf-8", "replace").strip()
    return found
