"""One loop owns a folder at a time: a small file for each owned root, which survives restarts.

A command that works on the folder of a loop that has ended holds it for as long as it runs (`hold`).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from beatctl.activities.home import Home

from .files import is_locked, locked, read_json, write_json
from .problems import FolderInUse


def claim(home: Home, root: Path, loop: str, is_live: Callable[[str], bool]) -> None:
    """Make `loop` the owner of `root`. Raises `FolderInUse` when a live loop owns it, a folder above or one in it.

    Claims of loops that are no longer live are taken over. Safe between processes, and to repeat.
    """
    with locked(home.owners / ".lock"):
        _take(home, root.resolve(), loop, is_live)


def _take(home: Home, root: Path, loop: str, is_live: Callable[[str], bool]) -> None:
    for path in sorted(home.owners.glob("*.json")):
        held = read_json(path) or {}
        owner, owned = str(held.get("loop")), Path(str(held.get("root")))
        if not (root.is_relative_to(owned) or owned.is_relative_to(root)):
            continue
        if _is_busy(path):
            raise FolderInUse(owner, owned, busy=True)
        if owner == loop:
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


@contextlib.contextmanager
def hold(home: Home, root: Path, loop: str, is_live: Callable[[str], bool]) -> Iterator[None]:
    """Keep every loop out of `root` while a command works on it. Raises `FolderInUse`.

    The system frees it when the command dies.
    """
    root = root.resolve()
    mark = _busy(_file(home, root))
    with locked(home.owners / ".lock"):
        _take(home, root, loop, is_live)
        handle = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        release(home, root, loop)
        with locked(home.owners / ".lock"):
            mark.unlink(missing_ok=True)
            os.close(handle)


def is_held(home: Home, root: Path) -> bool:
    """Whether a command works on this folder at the moment."""
    if not home.owners.is_dir():
        return False
    with locked(home.owners / ".lock"):
        return _is_busy(_file(home, root.resolve()))


def stale(home: Home, is_live: Callable[[str], bool]) -> list[Path]:
    """Claims of nobody who lives, and marks of commands that were killed."""
    if not home.owners.is_dir():
        return []
    with locked(home.owners / ".lock"):
        return _stale(home, is_live)


def drop_stale(home: Home, is_live: Callable[[str], bool]) -> None:
    """Remove what `stale` finds."""
    with locked(home.owners / ".lock"):
        for path in _stale(home, is_live):
            path.unlink(missing_ok=True)


def _stale(home: Home, is_live: Callable[[str], bool]) -> list[Path]:
    claims = [path for path in sorted(home.owners.glob("*.json")) if not _is_busy(path)]
    claims = [path for path in claims if not is_live(str((read_json(path) or {}).get("loop")))]
    return [*claims, *(path for path in sorted(home.owners.glob("*.busy")) if not _is_busy(path))]


def _busy(path: Path) -> Path:
    return path.with_suffix(".busy")


def _is_busy(path: Path) -> bool:
    """Whether a command holds the folder that this claim names."""
    return is_locked(_busy(path))


def _file(home: Home, root: Path) -> Path:
    return home.owners / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:24]}.json"
