"""Bringing the private index and the manifest up to the work tree: what a snapshot is made of."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from dataclasses import dataclass

from .files import Signature, lstat, parents, signature, to_text
from .git import GitFailed, split
from .manifest import Manifest
from .private_git import PrivateGit
from .problems import WorkTreeChanging
from .scan import Recorded, Scan, chunks

_SAME_SECOND = 0.05
"""Seconds by which a file system's clock may lag behind the one read here."""


@dataclass
class Present:
    """Regular files and links that are really there, with what `lstat` said, and paths that are not."""

    there: dict[bytes, os.stat_result]
    gone: list[bytes]
    blocked: list[bytes]
    """Paths where something git knows nothing of stands now, or above which a folder became something else."""


class Recorder:
    def __init__(self, private: PrivateGit) -> None:
        self._private = private
        self._git = private.git
        self._root = os.fsencode(private.root)

    def look(self, paths: list[bytes]) -> Present:
        """Tell what is at these paths, never through a link."""
        found = Present({}, [], [])
        real: dict[bytes, bool] = {b"": True}
        for path in paths:
            if not self._below_folders(path, real):
                found.blocked.append(path)
                continue
            at = lstat(os.path.join(self._root, path))
            if at is None:
                found.gone.append(path)
            elif stat.S_ISREG(at.st_mode) or stat.S_ISLNK(at.st_mode):
                found.there[path] = at
            else:
                found.blocked.append(path)
        return found

    def _below_folders(self, path: bytes, real: dict[bytes, bool]) -> bool:
        folder = path.rpartition(b"/")[0]
        if folder not in real:
            at = lstat(os.path.join(self._root, folder)) if self._below_folders(folder, real) else None
            # A folder that is gone blocks nothing; a link or a file in its place does.
            real[folder] = real[folder.rpartition(b"/")[0]] and (at is None or stat.S_ISDIR(at.st_mode))
        return real[folder]

    def record(self, paths: list[bytes], manifest: Manifest, forced: set[bytes] = frozenset()) -> dict[str, Signature]:  # type: ignore[assignment]
        """Bring index and manifest up to what is at these paths now. Returns the signatures of the files there.

        Raises `WorkTreeChanging` when files changed while they were read.
        """
        present = self.look(paths)
        drop = [*present.blocked, *(path for path in forced if path in present.there)]
        if drop:
            self._git.run("update-index", "--force-remove", "-z", "--stdin", given=_joined(drop))
        locked = self._unlock(present.there)
        feed = [*present.gone, *present.there]
        if feed:
            try:
                self._git.run("update-index", "-z", "--add", "--remove", "--replace", "--stdin", given=_joined(feed))
            except GitFailed as failed:
                raise WorkTreeChanging(failed.text) from failed
            finally:
                for path, mode in locked.items():
                    os.chmod(os.path.join(self._root, path), mode)
        for path in paths:
            at = present.there.get(path)
            manifest.note(path, stat.S_IMODE(at.st_mode) if at and stat.S_ISREG(at.st_mode) else None)
        return {to_text(path): signature(at) for path, at in present.there.items()}

    def _unlock(self, there: dict[bytes, os.stat_result]) -> dict[bytes, int]:
        """Make files readable that are not, for as long as they are read; to the superuser every file is."""
        locked: dict[bytes, int] = {}
        if os.geteuid() == 0:
            return locked
        for path, at in there.items():
            if stat.S_ISREG(at.st_mode) and not at.st_mode & 0o400:
                locked[path] = stat.S_IMODE(at.st_mode)
                os.chmod(os.path.join(self._root, path), locked[path] | 0o400)
        return locked

    def all_recorded(self) -> list[bytes]:
        return split(self._git.run("ls-files", "-z"))

    def entries(self, paths: list[bytes]) -> dict[bytes, Recorded]:
        """What the index holds for these paths."""
        found: dict[bytes, Recorded] = {}
        for some in chunks(paths):
            for record in split(self._git.run("ls-files", "-s", "-z", "--", *map(os.fsdecode, some))):
                what, _, path = record.partition(b"\t")
                mode, blob, _ = what.split(b" ")
                found[path] = (mode, blob.decode())
        return found

    def truly_dirty(self, found: Scan, manifest: Manifest) -> list[bytes]:
        """Those of the scan's dirty paths whose content, kind or mode differs from what is recorded."""
        present = self.look(list(found.dirty))
        differing = [*present.gone, *present.blocked]
        for path, at in present.there.items():
            mode, blob = found.dirty[path]
            link = stat.S_ISLNK(at.st_mode)
            same_mode = link or stat.S_IMODE(at.st_mode) == manifest.mode_of(path, mode)
            if link != (mode == b"120000") or not same_mode or self._blob(path, at) != blob:
                differing.append(path)
        return sorted(differing)

    def _blob(self, path: bytes, at: os.stat_result) -> str:
        """The id git would give this file's content."""
        absolute = os.path.join(self._root, path)
        if stat.S_ISLNK(at.st_mode):
            return self._private.hash(b"blob", os.readlink(absolute))
        digest = hashlib.new(self._private.object_format, b"blob %d\0" % at.st_size, usedforsecurity=False)
        try:
            with open(os.open(absolute, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except PermissionError:
            return "unreadable"
        return digest.hexdigest()


def still_hot(signatures: dict[str, Signature]) -> dict[str, Signature]:
    """Files that could change again within the second git recorded them in, and look the same to it."""
    second = int(time.time() - _SAME_SECOND)
    return {path: value for path, value in signatures.items() if value[3] // 1_000_000_000 >= second}


def _joined(paths: list[bytes]) -> bytes:
    return b"".join(path + b"\0" for path in paths)


def differing_modes(a: dict[bytes, int], b: dict[bytes, int]) -> set[bytes]:
    """Paths that two manifests give different modes, or that only one of them has."""
    return {path for path in a.keys() | b.keys() if a.get(path) != b.get(path)}


def with_folders(paths: set[bytes], before: dict[bytes, int], after: dict[bytes, int]) -> list[bytes]:
    """Paths that changed, and with a slash at the end the folders that came, went or have another mode.

    Folders that came or went with a file in them are not named.
    """
    implied = {folder for path in paths for folder in parents(path)}
    folders = (
        path + b"/"
        for path in differing_modes(before, after)
        if path not in implied or (path in before and path in after)
    )
    return sorted(paths.union(folders))
