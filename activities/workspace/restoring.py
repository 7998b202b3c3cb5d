"""Writing a snapshot into the work tree: only what differs, each file in one step, never through a link."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from .contents import Contents, contents
from .files import lstat, parents, temporary_name
from .manifest import Manifest
from .private_git import PrivateGit
from .scan import Recorded


class Restorer:
    """One restore. `current` are the folders that are there now with their modes, `target` the manifest of the state
    wanted, `opened` folders whose mode was changed to get at what is in them."""

    def __init__(
        self,
        private: PrivateGit,
        current: dict[bytes, int],
        target: Manifest,
        opened: Iterable[bytes],
        put_aside: Callable[[bytes], None],
    ) -> None:
        self._private = private
        self._root = os.fsencode(private.root)
        self._current = current
        self._target = target
        self._put_aside = put_aside
        self._opened: set[bytes] = set(opened)

    def _absolute(self, path: bytes) -> bytes:
        return os.path.join(self._root, path) if path else self._root

    def run(self, write: dict[bytes, Recorded], remove: Iterable[bytes]) -> None:
        """Write and remove files and folders. What is left is `finish`, once the files have been looked at."""
        for path in remove:
            if path not in write:
                self._remove(path)
        self._remove_folders()
        self._make_folders(write)
        self._write(write)

    def set_mode(self, path: bytes, mode: int) -> None:
        at = lstat(self._absolute(path)) if self._reachable(path) else None
        if at is not None and stat.S_ISREG(at.st_mode) and stat.S_IMODE(at.st_mode) != mode:
            os.chmod(self._absolute(path), mode)

    def _reachable(self, path: bytes) -> bool:
        """Whether every folder above is a folder, so that nothing outside the root is meant by the path."""
        for folder in parents(path):
            at = lstat(self._absolute(folder))
            if at is None or not stat.S_ISDIR(at.st_mode):
                return False
        return True

    def _forced(self, path: bytes, action: Callable[[], None]) -> None:
        """Do something in the folder of `path`, making it writable first where that is what it takes."""
        try:
            action()
        except PermissionError:
            folder = path.rpartition(b"/")[0]
            at = os.lstat(self._absolute(folder))
            os.chmod(self._absolute(folder), stat.S_IMODE(at.st_mode) | 0o700)
            self._opened.add(folder)
            action()

    def _remove(self, path: bytes) -> None:
        if not self._reachable(path):
            return
        at = lstat(self._absolute(path))
        if at is None or stat.S_ISDIR(at.st_mode):
            return
        self._forced(path, lambda: os.unlink(self._absolute(path)))

    def _remove_folders(self) -> None:
        """Remove folders the target does not have, unless something ignored is in them."""
        for path in sorted(self._current.keys() - self._target.folders.keys(), reverse=True):
            if path and self._reachable(path):
                with contextlib.suppress(OSError):
                    self._forced(path, lambda at=path: os.rmdir(self._absolute(at)))  # type: ignore[misc]

    def _clear(self, path: bytes, *, for_folder: bool) -> None:
        """Make way: what stands where a folder (or a file) is to be is kept aside; a link or pipe is removed."""
        at = lstat(self._absolute(path))
        if at is None or (for_folder and stat.S_ISDIR(at.st_mode)):
            return
        if stat.S_ISDIR(at.st_mode) or (for_folder and stat.S_ISREG(at.st_mode)):
            self._forced(path, lambda: self._put_aside(path))
        elif for_folder:
            self._forced(path, lambda: os.unlink(self._absolute(path)))

    def _make_folders(self, write: Iterable[bytes]) -> None:
        wanted = self._target.folders.keys() | {folder for path in write for folder in parents(path)}
        for path in sorted(wanted - self._current.keys()):
            if not path:
                continue
            at = lstat(self._absolute(path))
            if at is not None and stat.S_ISDIR(at.st_mode):
                continue
            self._clear(path, for_folder=True)
            self._forced(path, lambda at=path: os.mkdir(self._absolute(at), 0o700))  # type: ignore[misc]
            self._opened.add(path)

    def finish(self) -> None:
        """Give every folder its mode, the deepest first: one that forbids access closes after what is in it."""
        for path in sorted(self._target.folders, reverse=True):
            if self._current.get(path) == self._target.folders[path] and path not in self._opened:
                continue
            at = lstat(self._absolute(path))
            if at is None or not stat.S_ISDIR(at.st_mode):
                continue
            if stat.S_IMODE(at.st_mode) != self._target.folders[path]:
                os.chmod(self._absolute(path), self._target.folders[path])

    def _write(self, write: dict[bytes, Recorded]) -> None:
        if not write:
            return
        order = sorted(write)
        with contents(self._private, [write[path][1] for path in order]) as source:
            for path in order:
                mode, blob = write[path]
                size = source.next(blob)
                self._forced(path, lambda at=path, m=mode, s=size: self._file(at, m, s, source))  # type: ignore[misc]
                source.end()

    def _file(self, path: bytes, mode: bytes, size: int, source: Contents) -> None:
        """Put one file or link in its place by renaming; what was there is gone or wholly replaced."""
        final = self._absolute(path)
        temporary = temporary_name(final)
        try:
            if mode == b"120000":
                # Made first, read later: a folder that forbids it must not cost the blob.
                os.symlink(b"to-be", temporary)
                os.unlink(temporary)
                os.symlink(source.read(size), temporary)
            else:
                handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
                with open(handle, "wb") as file:
                    source.copy(size, file)
                    self._same_owner(final, handle)
                    os.fchmod(handle, self._target.mode_of(path, mode))
            self._clear(path, for_folder=False)
            os.rename(temporary, final)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _same_owner(self, final: bytes, handle: int) -> None:
        """A superuser's restore leaves a file with the owner it had, or that of its folder."""
        if os.geteuid() != 0:
            return
        at = lstat(final) or os.lstat(os.path.dirname(final))
        mine = os.fstat(handle)
        if (at.st_uid, at.st_gid) != (mine.st_uid, mine.st_gid):
            with contextlib.suppress(PermissionError):
                os.fchown(handle, at.st_uid, at.st_gid)


def keep_aside(root: Path, place: Path, path: bytes) -> None:
    """Move what stands at `path` out of the way, into beatctl's own folder, and never remove it."""
    source = os.path.join(os.fsencode(root), path)
    for number in range(1 << 20):
        target = os.fsencode(place / "aside") + b"/%d-%s" % (number, path.replace(b"/", b"-")[-100:])
        if lstat(target) is None:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.move(os.fsdecode(source), os.fsdecode(target))
            return
