"""A second name for every object file of a repository, so that none is lost when its folder is deleted.

Object files never change, so a hard link costs nothing. Where links cannot cross to beatctl's folder the mirror lies
beside the repository, and where that cannot be either the files are copied, up to a limit.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
import zlib
from pathlib import Path

from .files import link_or_copy, lstat, read_note, remove_tree, write_note

COPY_LIMIT = 512 << 20
"""Bytes of objects that are copied where they cannot be linked; above it they are not protected, and `open` says so."""
_UNSURE_NS = 1_500_000_000
_UNSURE_FINE_NS = 25_000_000
"""How long after a folder's change another one could bear the same time: on file systems that count whole seconds, and
on those that count the kernel's ticks."""
_PASSING = (b"tmp_", b".tmp", b".beatctl-")


def can_link(source: Path, place: Path) -> bool:
    """Whether a file in `source` can have a second name in `place`."""
    probe, other = source / f".beatctl-{os.getpid()}", place / f".beatctl-{os.getpid()}"
    try:
        probe.write_bytes(b"")
        os.link(probe, other)
    except OSError:
        return False
    finally:
        for path in (probe, other):
            with contextlib.suppress(OSError):
                path.unlink()
    return True


def place_for(place: Path, root: Path, objects: Path | None, loop: str) -> tuple[Path | None, str | None]:
    """Where second names of a repository's objects can be kept, and a warning when that is nowhere."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    inside = place / "objects"
    if objects is None or can_link(objects, place):
        return inside, None
    beside = beside_repository(root, loop)
    try:
        beside.mkdir(mode=0o700, exist_ok=True)
        if can_link(objects, beside):
            return beside, None
        beside.rmdir()
    except OSError:
        pass
    if size_of(objects) <= COPY_LIMIT:
        return inside, None
    return None, (
        f"The objects of {root} cannot be linked to {place} nor beside the repository, and are too many to copy: "
        "if an agent deletes .git, the loop pauses and .git cannot be put back."
    )


def beside_repository(root: Path, loop: str) -> Path:
    """The folder of second names where links can't cross to beatctl's own."""
    return root.parent / f".beatctl-{loop}-objects"


def size_of(folder: Path) -> int:
    total = 0
    for at, _, names in os.walk(folder):
        for name in names:
            found = lstat(os.path.join(at, name))
            total += found.st_size if found else 0
    return total


class ObjectMirror:
    """The mirror of one folder of objects (`objects`, or a large-file store), in `copy`."""

    def __init__(self, source: Path, copy: Path) -> None:
        self.source = source
        self.copy = copy
        self._times = copy.with_name(copy.name + ".times.json")

    def sync(self, *, children_ran: bool) -> bool:
        """Give new object files a second name. Whatever a child removed gets its first name back (True then);
        what the user removed while no child ran is let go.
        """
        known: dict[str, list[int]] = read_note(self._times) or {}
        try:
            found = _folders(self.source)
        except FileNotFoundError:
            if not children_ran:
                return False
            os.makedirs(self.source)
            found = {}
        held = set(os.listdir(self.copy)) if self.copy.is_dir() else set()
        times: dict[str, list[int]] = {}
        mended = False
        for name in sorted((found.keys() | held) - {"info"}):  # what is in info is guarded by content
            at = found.get(name)
            if at is not None and at == known.get(name):
                times[name] = at
            elif at is not None or children_ran:
                mended |= self._folder(name, children_ran, times)
            else:
                remove_tree(os.fsencode(self.copy / name))
        if times != known:
            write_note(self._times, times)
        return mended

    def add(self, name: str) -> None:
        """Give one new object its second name, without looking at the others."""
        copy = self.copy / name[:2]
        copy.mkdir(parents=True, exist_ok=True)
        target = os.fsencode(copy / name[2:])
        if lstat(target) is None:
            link_or_copy(os.fsencode(self.source / name[:2] / name[2:]), target)

    def _folder(self, name: str, children_ran: bool, times: dict[str, list[int]]) -> bool:
        """Make one folder of objects the same on both sides, and note the time it had then."""
        source, copy = os.fsencode(self.source / name), os.fsencode(self.copy / name)
        now = time.time_ns()
        os.makedirs(copy, exist_ok=True)
        os.makedirs(source, exist_ok=True)
        mended = _level(source, copy, children_ran)
        at = os.lstat(source)
        unsure = _UNSURE_FINE_NS if at.st_ctime_ns % 1_000_000_000 else _UNSURE_NS
        settled = now - at.st_ctime_ns > unsure
        times[name] = _times(at) if settled else []
        return mended


def _folders(path: Path) -> dict[str, list[int]]:
    """The folders in `path`, with the times by which a change shows. They are hundreds, looked at all the time."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = {}
        for name in os.listdir(handle):
            with contextlib.suppress(FileNotFoundError):
                at = os.stat(name, dir_fd=handle, follow_symlinks=False)
                if stat.S_ISDIR(at.st_mode):
                    found[name] = _times(at)
        return found
    finally:
        os.close(handle)


def _times(at: os.stat_result) -> list[int]:
    return [at.st_ino, at.st_mtime_ns, at.st_ctime_ns]


def _level(source: bytes, copy: bytes, children_ran: bool) -> bool:
    """Make one folder's files the same on both sides, and the folders in it (large-file stores have them)."""
    mended = False
    with os.scandir(source) as entries:
        here = {entry.name: entry for entry in entries if not entry.name.startswith(_PASSING)}
    with os.scandir(copy) as entries:
        held = {entry.name: entry for entry in entries if not entry.name.startswith(_PASSING)}
    for name, entry in here.items():
        target = os.path.join(copy, name)
        if entry.is_dir(follow_symlinks=False):
            os.makedirs(target, exist_ok=True)
            mended |= _level(entry.path, target, children_ran)
        elif name.endswith(b".lock") or not entry.is_file(follow_symlinks=False):
            continue
        elif name not in held:
            with contextlib.suppress(FileNotFoundError):
                link_or_copy(entry.path, target)
        elif held[name].inode() != entry.inode() and entry.stat().st_dev == held[name].stat().st_dev:
            if children_ran and _damaged(entry.path):
                os.unlink(entry.path)
                link_or_copy(target, entry.path)
                mended = True
            else:
                os.unlink(target)
                link_or_copy(entry.path, target)
    for name in held.keys() - here.keys():
        path, target = os.path.join(source, name), os.path.join(copy, name)
        if not children_ran:
            remove_tree(target)
        elif held[name].is_dir(follow_symlinks=False):
            os.makedirs(path, exist_ok=True)
            _level(path, target, children_ran)
            mended = True
        else:
            link_or_copy(target, path)
            mended = True
    return mended


def _damaged(path: bytes) -> bool:
    """Whether an object file's content is not what its name or its end says. Other files are never called damaged."""
    name = os.path.basename(path)
    with open(path, "rb") as file:
        if name.endswith((b".pack", b".idx", b".rev")):
            size = os.fstat(file.fileno()).st_size
            for method in ("sha1", "sha256"):
                digest = hashlib.new(method, usedforsecurity=False)
                file.seek(0)
                left = size - digest.digest_size
                while left > 0:
                    block = file.read(min(left, 1 << 20))
                    left -= len(block)
                    digest.update(block)
                if file.read() == digest.digest():
                    return False
            return True
        folder = os.path.basename(os.path.dirname(path))
        if len(folder) != 2 or len(name) not in (38, 62):
            return False
        try:
            digest = hashlib.new("sha1" if len(name) == 38 else "sha256", usedforsecurity=False)
            unpacked = zlib.decompressobj()
            while block := file.read(1 << 20):
                digest.update(unpacked.decompress(block))
            digest.update(unpacked.flush())
        except zlib.error:
            return True
    return digest.hexdigest().encode() != folder + name
