"""The work tree and what is recorded of it: look, record, write. Knows nothing of refs, or of guarded repositories."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .files import lstat, parents, shown
from .git import split
from .manifest import Manifest
from .private_git import Changes, PrivateGit
from .problems import WorkTreeChanging
from .recording import Recorder, differing_modes, still_hot, with_folders
from .restoring import Restorer, keep_aside
from .scan import Scan, Scanner
from .state import Folders, Known, State, index_signature

KEPT_FILE = 1 << 20
KEPT_TOTAL = 16 << 20
"""Bytes of new files that are kept before an evaluator's leavings are removed: each, and all together."""


@dataclass
class Look:
    """A scan, and the manifest as the private index has it."""

    scan: Scan
    folders: Folders
    """The folders as they are on disk."""
    manifest: Manifest
    tree: str
    """The tree of the private index before anything new is recorded."""
    recovered: bool = False
    """Whether an operation before this one was killed half-way."""


class WorkTree:
    """One operation's hold on the work tree; `state` is read from disk before it and written after it."""

    def __init__(
        self,
        place: Path,
        private: PrivateGit,
        state: State,
        put_away: Callable[[str], None],
        put_back: Callable[[str], None],
    ) -> None:
        """`put_away` and `put_back` remove and restore the `.git` of a nested repository."""
        self.root = private.root
        self.state = state
        self._place = place
        self._private = private
        self._recorder = Recorder(private)
        self._put_away = put_away
        self._put_back = put_back
        self._opened: dict[bytes, int] = {}

    def look(self, after: Look | None = None) -> Look:
        """Scan the work tree; `after` is a look whose findings have been recorded since.

        When an operation before this one was killed half-way, everything is looked at anew.
        """
        state = self.state
        folders = Folders.read(self._place)
        recovered = after is None and state.index != index_signature(self._place)
        if after is not None:
            manifest, tree = after.manifest, after.tree
        else:
            manifest, tree = Manifest.read(self._place / "manifests", state.known.manifest), state.known.tree
        if recovered:
            manifest, tree = self._recovered(manifest, folders)
        known = folders if after is None else after.scan.folders
        found = Scanner(self._private).scan(known, manifest.folders, manifest.repositories, state.hot)
        self._opened.update({**found.opened, **self._opened})
        return Look(found, folders, manifest, tree, recovered)

    def _recovered(self, manifest: Manifest, folders: Folders) -> tuple[Manifest, str]:
        """The private index went ahead of the state on disk: take its tree, and every mode from the files."""
        manifest = manifest.copy()
        manifest.files.clear()
        paths = self._recorder.all_recorded()
        for path, at in self._recorder.look(paths).there.items():
            if stat.S_ISREG(at.st_mode):
                manifest.note(path, stat.S_IMODE(at.st_mode))
        above = {folder: [0, 0] for path in paths for folder in parents(path)}
        folders.known = dict(sorted({**above, **folders.known}.items()))
        for value in folders.known.values():
            value[1] = 0
        self.state.hot = {}
        return manifest, self._private.write_tree()

    def differences(self, look: Look) -> list[bytes]:
        """Paths that truly differ from the known state; folders end with a slash."""
        paths = set(self._recorder.truly_dirty(look.scan, look.manifest)) | set(look.scan.added)
        if look.tree != self.state.known.tree:
            paths |= set(self.between_trees(self.state.known.tree, look.tree))
        if look.scan.folders_changed:
            now = {path: mode for path, (mode, _) in look.scan.folders.known.items()}
            return with_folders(paths, look.manifest.folders, now)
        return sorted(paths)

    def record(self, look: Look, paths: list[bytes]) -> tuple[str, str]:
        """Bring index and manifest up to these paths. Returns the tree and the manifest's name."""
        scan = look.scan
        if scan.quiet and not look.recovered and look.tree == self.state.known.tree:
            return look.tree, self.state.known.manifest
        manifest = look.manifest.copy()
        signatures = self._recorder.record(paths, manifest, scan.forced) if paths else {}
        manifest.folders = {path: scan.opened.get(path, mode) for path, (mode, _) in scan.folders.known.items()}
        manifest.repositories = sorted(scan.repositories)
        tree = self._private.write_tree() if paths else look.tree
        look.manifest, look.tree = manifest, tree
        self.state.hot = still_hot({**self.state.hot, **signatures})
        return tree, manifest.save(self._place / "manifests")

    def small_enough(self, added: list[bytes]) -> list[bytes]:
        """New files that are kept before they are removed."""
        kept, total = [], 0
        for path in added:
            at = lstat(os.path.join(os.fsencode(self.root), path))
            if at is not None and at.st_size <= KEPT_FILE and total + at.st_size <= KEPT_TOTAL:
                total += at.st_size
                kept.append(path)
        return kept

    def write(self, target: Known, look: Look, changes: Changes) -> list[str]:
        """Write what differs into the work tree, and bring the private index up to it."""
        scan = look.scan
        wanted = Manifest.read(self._place / "manifests", target.manifest)
        write, remove = changes.result()
        if changes.before != look.tree:
            write, remove = self._private.start_changes(look.tree, target.tree).result()
        dirty = self._recorder.truly_dirty(scan, look.manifest) if scan.dirty else []
        for path in dirty:
            if path not in write and path not in remove:
                write[path] = scan.dirty[path]
        remove |= set(scan.added) - write.keys()
        modes = differing_modes(look.manifest.files, wanted.files) - write.keys() - remove
        current = {path: mode for path, (mode, _) in scan.folders.known.items()}
        if not (write or remove or modes or scan.dirty or scan.opened) and current == wanted.folders:
            return []
        for path in sorted(scan.repositories - set(wanted.repositories)):
            self._put_away(os.fsdecode(path))
        aside = partial(keep_aside, self.root, self._place)
        restorer = Restorer(self._private, current, wanted, scan.opened, aside)
        restorer.run(write, remove)
        for path, (git_mode, _) in self._recorder.entries(sorted(modes)).items():
            restorer.set_mode(path, wanted.mode_of(path, git_mode))
        for path in sorted(set(wanted.repositories) - scan.repositories):
            self._put_back(os.fsdecode(path))
        touched = sorted({*write, *remove, *modes, *scan.dirty})
        signatures = self._recorder.record(touched, look.manifest.copy(), scan.forced) if touched else {}
        tree = self._private.write_tree() if touched else target.tree
        restorer.finish()
        if tree != target.tree:
            raise WorkTreeChanging(f"Files in {self.root} changed while a snapshot was put back. Try again.")
        self.state.hot = still_hot({**self.state.hot, **signatures})
        self._forget_folders(scan, current, wanted)
        return [shown(path) for path in with_folders({*write, *remove, *modes}, current, wanted.folders)]

    def _forget_folders(self, scan: Scan, current: dict[bytes, int], wanted: Manifest) -> None:
        """The target's folders are the known ones now. Others stand only because something ignored is in them."""
        for path in current.keys() - wanted.folders.keys():
            if lstat(os.path.join(os.fsencode(self.root), path)) is not None:
                scan.folders.ignored.add(path)
        before = scan.folders.known
        scan.folders.known = {path: [mode, before.get(path, [0, 0])[1]] for path, mode in wanted.folders.items()}
        self._opened.clear()

    def close_again(self) -> None:
        """Give folders that were made accessible for the operation the modes they had."""
        for path in sorted(self._opened, reverse=True):
            absolute = os.path.join(os.fsencode(self.root), path)
            at = lstat(absolute)
            if at is not None and stat.S_IMODE(at.st_mode) == self._opened[path] | 0o700:
                os.chmod(absolute, self._opened[path])

    def between_trees(self, a: str, b: str) -> list[bytes]:
        if a == b:
            return []
        return split(self._private.git.run("diff-tree", "-r", "-z", "--name-only", "--no-renames", a, b))

    def between(self, a: Known, b: Known) -> list[bytes]:
        paths = set(self.between_trees(a.tree, b.tree))
        if a.manifest != b.manifest:
            one, other = (Manifest.read(self._place / "manifests", known.manifest) for known in (a, b))
            paths |= differing_modes(one.files, other.files)
            return with_folders(paths, one.folders, other.folders)
        return sorted(paths)
