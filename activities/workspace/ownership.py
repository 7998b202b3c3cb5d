"""One loop owns a folder at a time: a small file for each owned root, which survives restarts."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from beatctl.activities.home import Home

from .files import locked, read_json, write_json
from .problems import FolderInUse


def claim(home: Home, root: Path, loop: str, is_live: Callable[[str], bool]) -> None:
    """Make `loop` the owner of `root`. Raises `FolderInUse` when a live loop owns it, a folder above or one in it.

    Claims of loops that are no longer live are taken over. Safe between processes, and to repeat.
    """
    root = root.resolve()
    with locked(home.owners / ".lock"):
        for path in sorted(home.owners.glob("*.json")):
            held = read_json(path) or {}
            owner, owned = str(held.get("loop")), Path(str(held.get("root")))
            if owner == loop or not (root.is_relative_to(owned) or owned.is_relative_to(root)):
                continue
            if is_live(owner):
                raise FolderInUse(owner, owned)
            path.unlink(missing_ok=True)
        write_json(_file(home, root), {"loop": loop, "root": str(root)}, lasting=True)


def release(home: Home, root: Path, loop: str) -> None:
    """Give the folder up, if it is this loop's. Safe to repeat."""
    with locked(home.owners / ".lock"):
        path = _file(home, root.resolve())
        if (read_json(path) or {}).get("loop") == loop:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def _file(home: Home, root: Path) -> Path:
    return home.owners / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:24]}.json"
