"""What is left of the workspace of a loop that has ended, and freeing it piece by piece.

Nothing here decides what may go. Every piece may be freed twice, and after a kill at any moment.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from beatctl.activities.home import LoopFolder

from . import refs, spent_worktree
from .files import is_left_behind, lstat, read_json, remove_tree
from .git import QUIET, Git
from .held_refs import HeldRefs
from .object_mirror import beside_repository
from .places import find_repository
from .problems import WorkspaceProblem
from .state import State
from .workspace import Workspace


class Remains:
    """One loop's. `root`: its folder; `origin`: what its own worktree was made from."""

    def __init__(self, folder: LoopFolder, root: Path, origin: Path | None) -> None:
        """Raises `WorkspaceProblem` where another version of beatctl wrote it."""
        self.folder = folder
        self.root = root
        self.origin = origin
        self.state = State.read(folder.workspace)
        self.common = self._common()

    def _common(self) -> Path | None:
        """The git directory that holds the refs; None: there is none (any more)."""
        if self.state is not None:
            common = Path(self.state.common) if self.state.common else self.folder.workspace / "git"
            return common if common.is_dir() else None
        for top in (self.origin, self.root):
            repository = find_repository(top) if top is not None and top.is_dir() else None
            if repository is not None:
                return repository.common_dir
        return None

    @property
    def is_private(self) -> bool:
        """Whether the snapshots are in a store of beatctl's own: the folder is no repository."""
        return self.state is not None and self.state.common is None

    @property
    def is_gone(self) -> bool:
        """Whether the folder, or the repository it belonged to, is not where it was."""
        if self.origin is not None:
            return self.common is None
        return not self.root.is_dir() or (self.state is not None and self.common is None)

    # Snapshots

    def _held(self) -> Iterator[tuple[Path, HeldRefs]]:
        """The loop's refs: in the repository, and in those nested in it."""
        if self.common is None:
            return
        yield self.common, HeldRefs(self.common, self.folder.workspace, self.folder.id)
        for name in self.state.guards if self.state is not None else []:
            nested = find_repository(self.root / name) if name and (self.root / name).is_dir() else None
            if nested is not None and nested.common_dir != self.common:
                yield nested.common_dir, HeldRefs(nested.common_dir, self.folder.workspace, self.folder.id)

    def snapshots(self) -> dict[Path, dict[str, str]]:
        """The ends of the refs' names and their commits, by git directory; those without any left out."""
        found = {common: held.all() for common, held in self._held()}
        return {common: held for common, held in found.items() if held}

    def is_of_this_loop(self, commits: Collection[str | None]) -> bool:
        """Whether the baseline's ref, if it is there, is this loop's: another home may have used the same id."""
        if self.common is None:
            return True
        first = refs.read(self.common, f"refs/beatctl/{self.folder.id}/0")
        known = {self.state.baseline if self.state is not None else None, *commits}
        return first is None or first in known

    def size_of_snapshots(self, common: Path, go: Collection[str], stay: Collection[str]) -> int:
        """Bytes that git can free once these commits are held no more."""
        if not go:
            return 0
        git = Git(common, {"GIT_DIR": str(common)}, QUIET)
        others = [value for ref, value in refs.all_refs(common).items() if ref.startswith("refs/beatctl/")]
        kept = {value for value in others if value not in go} | set(stay)
        given = "".join(f"{name}\n" for name in go) + "".join(f"^{name}\n" for name in sorted(kept))
        words = ("rev-list", "--objects", "--disk-usage", "--stdin", "--not", "--branches", "--tags", "--remotes")
        try:
            return int(git.run(*words, given=given.encode()))
        except (WorkspaceProblem, ValueError):  # some of it is gone already
            return 0

    def free_snapshots(self, common: Path, held: Mapping[str, str]) -> None:
        """Remove refs that are as they were seen; where the store is beatctl's own, what only they held, too."""
        HeldRefs(common, self.folder.workspace, self.folder.id).remove(held)
        if self.is_private and self.state is not None:
            git = Git(common, {"GIT_DIR": str(common)}, QUIET)
            git.run("prune", "--expire=now", self.state.known.commit, self.state.baseline)

    # Copies that protected the repository

    def copies(self) -> list[Path]:
        """Folders of copies that the loop's end should have freed."""
        guards = self.folder.workspace / "guards"
        found = [guards] if guards.is_dir() else []
        found += [beside for beside in self._beside() if beside.is_dir()]
        return found

    def _beside(self) -> list[Path]:
        """Folders beside repositories, by their names and by what the guards noted."""
        own = beside_repository(self.root, self.folder.id)
        noted = [read_json(file) for file in sorted((self.folder.workspace / "guards").glob("*/links.json"))]
        paths = [Path(path) for path in noted if path]
        return list(dict.fromkeys([own, *(path for path in paths if path.name == own.name)]))

    def free_copies(self) -> None:
        for beside in self._beside():
            remove_tree(os.fsencode(beside))
        remove_tree(os.fsencode(self.folder.workspace / "guards"))

    # The loop's own worktree

    def why_worktree_stays(self, stay: Collection[str], *, must_match_head: bool) -> str | None:
        """Why the loop's own worktree can't go; None: it can. `stay`: the snapshots that remain."""
        assert self.common is not None
        as_known = False
        if self.state is not None and not must_match_head:
            if any(self.state.guards):
                return "has repositories in it"
            as_known = self.state.known.commit in stay
        why = spent_worktree.why_not(self.root, self.common, as_known=as_known)
        if why is None and as_known and (edits := Workspace.load(self.folder).edits()):
            others = f" and {len(edits) - 1} more" if len(edits) > 1 else ""
            why = f"was changed since the loop ended ({edits[0]}{others})"
        return why

    def free_worktree(self) -> None:
        assert self.common is not None
        spent_worktree.remove(self.root, self.common)


def left_in_objects(common: Path) -> list[Path]:
    """Temporary files of beatctl's that were left in a repository's store by operations that were killed."""
    found: list[Path] = []
    for folder in [common / "objects", *(common / "objects").glob("[0-9a-f][0-9a-f]")]:
        try:
            with os.scandir(os.fsencode(folder)) as entries:
                found += [Path(os.fsdecode(entry.path)) for entry in entries if is_left_behind(entry.name)]
        except OSError:
            continue
    return found


def size_of(paths: Iterable[Path]) -> int:
    """Bytes on the disk that removing these frees: what has another name elsewhere counts nothing."""
    return sum(_size(os.fsencode(path)) for path in paths)


def _size(path: bytes) -> int:
    at = lstat(path)
    if at is None:
        return 0
    if not stat.S_ISDIR(at.st_mode):
        return at.st_blocks * 512 if at.st_nlink == 1 else 0
    try:
        with os.scandir(path) as entries:
            return at.st_blocks * 512 + sum(_size(entry.path) for entry in entries)
    except OSError:
        return at.st_blocks * 512
