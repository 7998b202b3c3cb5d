"""Looking at the work tree: what differs from the private index, and which folders there are.

Two gits and one pass over the known folders, side by side: `diff-files` names the files whose stat data changed,
`ls-files -o` the new ones; folders whose time of change moved are read again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from .files import Signature, is_left_behind, is_special, lstat, parents, signature, to_bytes
from .git import split
from .private_git import PrivateGit
from .state import Folders

Recorded = tuple[bytes, str]
"""What the index holds for a path: git's mode (100644, 100755 or 120000) and the blob's id."""
UNSURE_NS = 1_500_000_000
"""A folder that changed so shortly before it was read is read again: its time may be too coarse to show one more."""


@dataclass
class Scan:
    dirty: dict[bytes, Recorded] = field(default_factory=dict)
    """Recorded files that look changed, or are gone."""
    forced: set[bytes] = field(default_factory=set)
    """Those of them that git itself takes for unchanged."""
    added: list[bytes] = field(default_factory=list)
    """Files and links that are not recorded."""
    folders: Folders = field(default_factory=Folders)
    folders_changed: bool = False
    repositories: set[bytes] = field(default_factory=set)
    """Folders below the root that hold a `.git`."""
    opened: dict[bytes, int] = field(default_factory=dict)
    """Folders that had to be made accessible, and the mode they had."""

    @property
    def quiet(self) -> bool:
        return not (self.dirty or self.added or self.folders_changed)


class Scanner:
    def __init__(self, private: PrivateGit) -> None:
        self._private = private
        self._git = private.git
        self._root = os.fsencode(private.root)

    def scan(
        self, folders: Folders, modes: dict[bytes, int], repositories: Iterable[bytes], hot: dict[str, Signature]
    ) -> Scan:
        """Compare the work tree with the private index, and its folders with the known ones (`modes`)."""
        found = Scan(repositories=set(repositories))
        while True:
            opened = len(found.opened)
            self._once(folders, hot, found)
            if len(found.opened) == opened:
                break  # else folders can be read now that could not be, so look again
        found.folders.known = dict(sorted(found.folders.known.items()))
        now = {path: mode for path, (mode, _) in found.folders.known.items()}
        found.folders_changed = now != modes or found.repositories != set(repositories)
        return found

    def _once(self, folders: Folders, hot: dict[str, Signature], found: Scan) -> None:
        exclude = f"--exclude-from={self._private.rules}"
        differing = self._git.start("diff-files", "-z", "--raw")
        others = self._git.start("ls-files", "-o", "-z", exclude)
        found.folders = Folders()
        candidates = self._known_folders(folders, found)
        records, new = split(differing.result()), split(others.result())
        for what, path in zip(records[::2], records[1::2], strict=True):
            mode, _, blob, _, _ = what[1:].split(b" ")
            found.dirty[path] = (mode, blob.decode())
        found.added = [path for path in self._inside_repositories(new, found) if not self._swept(path)]
        self._hot(hot, found)
        self._new_folders(candidates, found)

    def _swept(self, path: bytes) -> bool:
        """Remove what a restore that was killed left of a file it was about to rename."""
        if not is_left_behind(path):
            return False
        os.unlink(self._absolute(path))
        return True

    def _absolute(self, path: bytes) -> bytes:
        return os.path.join(self._root, path) if path else self._root

    def _known_folders(self, folders: Folders, found: Scan) -> set[bytes]:
        """Look at each known folder. Returns the folders in them that were not known."""
        found.folders.ignored = set(folders.ignored)
        known = found.folders.known
        candidates: set[bytes] = set()
        for path, (_, changed) in folders.known.items():
            if path and path.rpartition(b"/")[0] not in known:
                continue  # a folder above is gone, or a link now
            at = lstat(self._absolute(path))
            if at is None or not stat.S_ISDIR(at.st_mode):
                continue
            self._note(path, at, found)
            if at.st_ctime_ns != changed:
                candidates |= self._read(path, at.st_ctime_ns, found)
        found.repositories &= known.keys()
        return candidates

    def _note(self, path: bytes, at: os.stat_result, found: Scan) -> None:
        """Take in a folder; one whose permissions are in the way gets others for as long as the operation lasts."""
        mode = stat.S_IMODE(at.st_mode)
        if mode & 0o700 != 0o700 and os.geteuid() != 0:
            found.opened[path] = mode
            os.chmod(self._absolute(path), mode | 0o700)
        found.folders.known[path] = [found.opened.get(path, mode), at.st_ctime_ns]

    def _read(self, path: bytes, changed: int, found: Scan) -> set[bytes]:
        """Read one folder: the folders in it that are not known, and whether it holds a `.git`."""
        try:
            now = time.time_ns()
            entries = list(os.scandir(self._absolute(path)))
        except (FileNotFoundError, NotADirectoryError):
            return set()
        if now - changed < UNSURE_NS:
            found.folders.known[path][1] = 0
        inner: set[bytes] = set()
        holds = False
        for entry in entries:
            if entry.name == b".git":
                holds = bool(path)
            elif entry.name == b".gitattributes" and is_special(entry):
                _remove_pipe(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                below = path + b"/" + entry.name if path else entry.name
                if below not in found.folders.known and below not in found.folders.ignored:
                    inner.add(below)
        if holds:
            found.repositories.add(path)
        else:
            found.repositories.discard(path)
        return inner

    def _inside_repositories(self, listed: list[bytes], found: Scan) -> list[bytes]:
        """New files, those in new nested repositories included, which git does not enter unless the index does."""
        nested = {path[:-1] for path in listed if path.endswith(b"/")}
        if not nested:
            return listed
        other = self._private.dir / "index-nested"
        if self._private.index.exists():
            shutil.copyfile(self._private.index, other)
        else:
            other.unlink(missing_ok=True)
        blob = self._private.git.line("hash-object", "-w", "--stdin", given=b"")
        seen: set[bytes] = set()
        while nested - seen:
            given = b"".join(b"100644 %s\t%s/.beatctl-nested\0" % (blob.encode(), path) for path in nested - seen)
            self._git.run("update-index", "-z", "--index-info", given=given, index=other)
            seen |= nested
            listed = split(self._git.run("ls-files", "-o", "-z", f"--exclude-from={self._private.rules}", index=other))
            nested |= {path[:-1] for path in listed if path.endswith(b"/")}
        other.unlink()
        found.repositories |= nested
        return [path for path in listed if not path.endswith(b"/")]

    def _hot(self, hot: dict[str, Signature], found: Scan) -> None:
        """Files recorded in the second they were changed in: only their exact times tell a change after that."""
        changed = []
        for text, before in hot.items():
            path = to_bytes(text)
            at = lstat(self._absolute(path))
            if path not in found.dirty and at is not None and signature(at) != before:
                changed.append(path)
        if not changed:
            return
        found.forced = set(changed)
        for some in chunks(changed):
            for record in split(self._git.run("ls-files", "-s", "-z", "--", *map(os.fsdecode, some))):
                what, _, path = record.partition(b"\t")
                mode, blob, _ = what.split(b" ")
                found.dirty[path] = (mode, blob.decode())

    def _new_folders(self, candidates: set[bytes], found: Scan) -> None:
        """Take in folders that hold new files, then those that git does not ignore among the others."""
        known = found.folders.known
        waiting = {folder for path in found.added for folder in parents(path) if folder not in known}
        waiting |= {folder for path in found.repositories for folder in [*parents(path), path] if folder not in known}
        while waiting or candidates:
            for path in sorted(waiting):
                at = lstat(self._absolute(path))
                if at is None or not stat.S_ISDIR(at.st_mode):
                    continue
                self._note(path, at, found)
                candidates |= self._read(path, at.st_ctime_ns, found)
            candidates -= known.keys()
            waiting = self._not_ignored(candidates)
            found.folders.ignored |= candidates - waiting
            candidates = set()

    def _not_ignored(self, folders: set[bytes]) -> set[bytes]:
        exclude = f"--exclude-from={self._private.rules}"
        named: set[bytes] = set()
        for some in chunks(sorted(folders)):
            paths = [os.fsdecode(path) for path in some]
            for path in split(self._git.run("ls-files", "-o", "-z", "--directory", exclude, "--", *paths)):
                named.add(path.removesuffix(b"/"))
        return named & folders


def _remove_pipe(path: bytes) -> None:
    """Remove a pipe at which git hangs: one that waits for it already goes on when this end is closed."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        os.unlink(path)
        os.close(handle)


def chunks(paths: list[bytes], size: int = 500) -> Iterable[list[bytes]]:
    """Paths in portions that fit on a command line."""
    for start in range(0, len(paths), size):
        yield paths[start : start + size]
