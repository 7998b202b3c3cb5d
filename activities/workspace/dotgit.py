"""What stands at a `.git`: a folder, a file that names one, a link, or nothing; and making it so again."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

from .files import lstat, remove_tree

Dotgit = dict[str, Any]


def look(path: Path) -> Dotgit:
    at = lstat(path)
    if at is None:
        return {"kind": "none"}
    if stat.S_ISLNK(at.st_mode):
        return {"kind": "link", "content": os.readlink(path)}
    if stat.S_ISDIR(at.st_mode):
        return {"kind": "folder", "mode": stat.S_IMODE(at.st_mode)}
    if stat.S_ISREG(at.st_mode):
        return {"kind": "file", "mode": stat.S_IMODE(at.st_mode), "content": path.read_bytes().decode("latin-1")}
    return {"kind": "other"}


def put_back(path: Path, was: Dotgit, inode: int, place: Path) -> bool:
    """Make it what it was. A folder that was moved away comes back by its inode; the content of one that has to be
    made anew is for others to fill. What stands in the way is kept in `place`. Returns whether anything was done.
    """
    now = look(path)
    if was["kind"] == "other" or (now == was and not _replaced(path, was, inode)):
        return False
    moved = _moved_to(path.parent, inode) if was["kind"] == "folder" else None
    if was["kind"] != now["kind"] or moved is not None:
        set_aside(path, place)
    if was["kind"] == "folder":
        if moved is not None:
            os.rename(moved, path)
        elif now["kind"] != "folder":
            path.mkdir()
        os.chmod(path, was["mode"])
        return moved is not None or now != was
    remove_tree(os.fsencode(path))
    if was["kind"] == "link":
        os.symlink(was["content"], path)
    elif was["kind"] == "file":
        path.write_bytes(was["content"].encode("latin-1"))
        os.chmod(path, was["mode"])
    return True


def _replaced(path: Path, was: Dotgit, inode: int) -> bool:
    """Whether another folder was made where the old one stood."""
    return bool(was["kind"] == "folder" and os.lstat(path).st_ino != inode)


def _moved_to(folder: Path, inode: int) -> str | None:
    """Where in `folder` the directory with this inode is now, under another name than `.git`."""
    for entry in os.scandir(folder):
        if entry.name != ".git" and entry.is_dir(follow_symlinks=False) and entry.inode() == inode:
            return entry.path if entry.stat(follow_symlinks=False).st_dev == folder.stat().st_dev else None
    return None


def set_aside(path: Path, place: Path) -> None:
    """Keep what stands there (the last time it happened) and take it out of the way."""
    if lstat(path) is None:
        return
    target = place / "aside"
    remove_tree(os.fsencode(target))
    shutil.move(path, target)
