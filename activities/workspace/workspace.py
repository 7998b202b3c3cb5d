"""A loop's workspace: snapshots of the user's files, and everything back as it was.

Each public method holds the workspace's lock, may be killed at any moment and called again, and leaves its result on
disk, where another worker process finds it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from beatctl.activities.home import LoopFolder

from .applying import merge_trees
from .baseline import take_baseline
from .files import locked, shown
from .guarding import Guarding
from .held_refs import HeldRefs
from .manifest import Manifest
from .many_diffs import Diff, Pair, many_diffs
from .private_git import PrivateGit, with_trailers
from .problems import WorkspaceProblem, WorkTreeChanging, explained
from .state import Known, Named, State, index_signature
from .work_tree import Look, WorkTree

T = TypeVar("T")
SHOWN_PATHS = 20
_RUN = "Beatctl-Run"
_STATE = "Beatctl-State"
"""The number of the state that a restore began from, in what it kept."""


class Capture(BaseModel):
    """One snapshot, as it was taken."""

    snapshot: str
    """Its commit."""
    tree: str
    changed: bool
    """Whether content, modes or folders differ from the state known before."""
    paths: list[str] = []
    """Up to 20 of the paths that changed."""
    paths_total: int = 0
    repaired: list[str] = []
    """What of the repository had to be put back: "HEAD", "branch main", "index", "config", ".git", …"""
    kept_refs: list[str] = []
    """Refs that hold what the agent had committed."""


class Undone(BaseModel):
    """What an undo did."""

    paths: list[str]
    """What changed in the folder."""
    kept: str | None
    """The ref that holds what was there; None when nothing had to be put back."""


class Workspace:
    def __init__(self, folder: LoopFolder, state: State) -> None:
        self.folder = folder
        self.root = Path(state.root)
        self._place = folder.workspace
        self._state = state
        common = Path(state.common) if state.common else None
        self._guarding = Guarding(self._place, self.root, state.loop, own_worktree=state.own_worktree)
        self._private = PrivateGit(self._place, self.root, common and common / "objects", state.object_format)
        self._refs = HeldRefs(common or self._private.dir, self._place, state.loop)
        self._tree = self._work_tree()

    # Opening

    @classmethod
    def open(
        cls, folder: LoopFolder, root: Path, *, allow_large: bool = False, own_worktree: bool = False
    ) -> Workspace:
        """Take the baseline and the copies that protect the repository; the second time, arm the guard again.

        `own_worktree`: `root` is a linked worktree made for the loop, and the user works in the same repository.

        Raises `WorkspaceRefused` for content that is too large or cannot be read.
        """
        folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.workspace.mkdir(exist_ok=True, mode=0o700)
        with locked(folder.workspace / "lock"), explained(str(folder.workspace)):
            state = State.read(folder.workspace)
            if state is None:
                state = take_baseline(folder, root.resolve(), allow_large=allow_large, own_worktree=own_worktree)
            workspace = cls(folder, state)
            if state.closed:
                workspace._arm_again()
        return workspace

    @classmethod
    def load(cls, folder: LoopFolder) -> Workspace:
        """The workspace as the last operation left it, in whatever process that was."""
        with explained(str(folder.workspace)):
            state = State.read(folder.workspace)
        if state is None:
            raise WorkspaceProblem(f"Loop {folder.id} has no workspace yet ({folder.workspace}).")
        return cls(folder, state)

    @property
    def baseline(self) -> str:
        """The commit that holds the untouched workspace."""
        return self._state.baseline

    @property
    def known(self) -> str:
        """The commit of the last known state: what the last capture or restore left."""
        return self._state.known.commit

    @property
    def known_tree(self) -> str:
        """That state's tree: the same for the same files."""
        return self._state.known.tree

    @property
    def is_closed(self) -> bool:
        """Whether the folder was given back: nothing guards it."""
        return self._state.closed

    def edits_taken(self, name: str) -> list[str] | None:
        """The paths of the snapshot refs/beatctl/<loop>/<name>, where it holds the user's own edits; else None."""
        held = self._refs.read(name)
        try:
            commit = self._private.read_commit(held) if held is not None else None
            if held is None or commit is None or commit.trailer(_RUN) is not None:
                return None
            return self.changed_paths(commit.parents[0], held)
        except (WorkspaceProblem, IndexError):
            return None

    @property
    def warnings(self) -> list[str]:
        """What could not be protected, in sentences for the user."""
        return self._state.warnings

    def _arm_again(self) -> None:
        """What is there now is the truth, the refs included: some may have been removed since."""
        self._refs.take_anew()
        self._state.warnings = self._guarding.arm(self._state.guards)
        self._state.closed = False
        self._state.save(self._place, lasting=True)

    # Operations

    def edits(self, *, restored_s: float = 0.0) -> list[str]:
        """Paths that differ from the last known state: the user's edits, when no child ran since.

        What the user did to the repository itself (commits, branches, index, configuration) becomes the new truth.
        A restore that began less than `restored_s` ago has looked already: nothing is looked at again.
        """
        with self._operation():
            if 0 <= time.time() - self._state.restored_at < restored_s:
                return []
            self._accept()
            return [shown(path) for path in self._tree.differences(self._tree.look())]

    def holds(self, snapshot: str) -> bool:
        """Whether the work tree is that snapshot at this moment, whatever state was known before."""
        with self._operation():
            _ = self._accept()
            wanted = self._snapshot(snapshot)
            _, _, tree, manifest = self._twice(self._taken)
            return (tree, manifest) == (wanted.tree, wanted.manifest)

    def capture(
        self, name: str, message: str, *, child_ran: bool = True, run: str | None = None, put_back: bool = True
    ) -> Capture:
        """Undo what a child did to the repository, and keep the files as refs/beatctl/<loop>/<name>.

        Repeated with the same name it gives the same answer. `child_ran=False`: the changes are the user's own, and
        what they did to the repository stays. `run`: whose work it is; taken once and asked for again, whatever has
        been done to the files since, it is put back and given anew. Without `put_back` what was taken under this name
        is given, and the files are left alone.
        """
        with self._operation():
            before_that = self._captured(name, run, put_back)
            if before_that is not None:
                return before_that
            message = with_trailers(message, {_RUN: run}) if run is not None else message
            repaired, kept = self._guard(name) if child_ran else self._accept()
            state = self._state
            before = state.last.before if state.last and state.last.name == name else state.known
            look, paths, tree, manifest = self._twice(self._taken)
            changed = (tree, manifest) != (before.tree, before.manifest)
            if changed and before != state.known:
                paths = self._tree.between(before, Known("", tree, manifest))
            known = self._commit(name, message, tree, manifest, before.commit)
            state.last = Named(name, before)
            self._settle(known, look)
            return Capture(
                snapshot=known.commit,
                tree=tree,
                changed=changed,
                paths=[shown(path) for path in paths[:SHOWN_PATHS]] if changed else [],
                paths_total=len(paths) if changed else 0,
                repaired=repaired,
                kept_refs=kept,
            )

    def restore(self, snapshot: str, keep: str | None, *, child_ran: bool = True) -> list[str]:
        """Make the work tree exactly that snapshot. Returns the paths that changed.

        Where anything differs from the known state it is kept first as refs/beatctl/<loop>/<keep>, if given; after a
        child ran, new files are kept only up to 1 MiB each and 16 MiB together.
        """
        with self._operation():
            began, name = time.time(), keep or "restore"
            _ = self._guard(name) if child_ran else self._accept()
            target = self._snapshot(snapshot)
            return self._twice(lambda: self._put_back(target, keep, child_ran, began))

    def undo(self) -> Undone:
        """The folder as before the loop; what is there now is kept, and so is what an earlier undo kept."""
        number = 1
        while self._refs.read(name := f"undone{number if number > 1 else ''}") is not None:
            number += 1
        held = self.known
        changed = self.restore(self.baseline, keep=name, child_ran=False)
        if changed and self._refs.read(name) is None:
            with self._operation():
                self._refs.write(name, held)
        return Undone(paths=changed, kept=self._refs.name(name) if changed else None)

    def label(self, name: str, trailers: dict[str, str]) -> str:
        """Set trailers on the snapshot refs/beatctl/<loop>/<name>. Returns its new commit."""
        with self._operation():
            old = self._refs.read(name)
            if old is None:
                raise WorkspaceProblem(f"There is no snapshot {self._refs.name(name)} to label.")
            commit = self._private.read_commit(old)
            message = with_trailers(commit.message, trailers)
            new = self._private.write_commit(commit.tree, commit.parents, message)
            self._refs.write(name, new)
            self._guarding.add_object(self._private.objects, new)
            if self._state.known.commit == old:
                self._state.known.commit = new
            if self._state.baseline == old:
                self._state.baseline = new
            self._state.save(self._place)
            return new

    def trailers(self, name: str) -> tuple[str, dict[str, str]] | None:
        """The snapshot refs/beatctl/<loop>/<name> and what it was labelled with; None where there is none."""
        held = self._refs.read(name)
        if held is None:
            return None
        try:
            lines = self._private.read_commit(held).message.splitlines()
        except WorkspaceProblem:
            return None
        return held, dict(line.split(": ", 1) for line in lines if line.startswith("Beatctl-") and ": " in line)

    def diff(
        self, a: str, b: str, *, stat: bool = False, paths: Sequence[str] | None = None, color: bool = False
    ) -> bytes:
        """What changed from snapshot `a` to `b`, as a unified diff or a summary."""
        words = ["diff", "--no-ext-diff", "--no-textconv", "-M", f"--color={'always' if color else 'never'}"]
        words += ["--stat"] if stat else []
        return self._private.git.run(
            *words, self._private.read_commit(a).tree, self._private.read_commit(b).tree, "--", *(paths or [])
        )

    def diffs(self, pairs: Sequence[Pair], *, most: int) -> dict[Pair, Diff]:
        """As `diff`, of many pairs at once and up to `most` bytes of each; without those that are not there any more.

        The folder itself may be gone.
        """
        return many_diffs(self._private, pairs, most)

    def composed(self, links: Sequence[tuple[str, str]]) -> str | None:
        """A snapshot of what some steps (from one snapshot to another) come to on top of the first of all.

        None where one of them cannot do without what came between it and the one before.
        """
        first = self._private.read_commit(links[0][0])
        tree = first.tree
        for before, after in links:
            base, theirs = (self._private.read_commit(name).tree for name in (before, after))
            try:
                tree, conflicts = merge_trees(self._private.git, self._private, base, tree, theirs)
            except WorkspaceProblem:
                return None
            if conflicts:
                return None
        return self._private.write_commit(tree, [links[0][0]], first.message)

    def changed_paths(self, a: str, b: str) -> list[str]:
        """Paths that differ between two snapshots, in content, mode or folders."""
        return [shown(path) for path in self._tree.between(self._snapshot(a), self._snapshot(b))]

    def close(self) -> None:
        """The loop has ended: free the copies that protected the repository. Snapshots and their refs stay."""
        with self._operation():
            if not self._state.closed:
                self._state.closed = True
                self._state.save(self._place, lasting=True)
            self._guarding.disarm()
            self._refs.forget()

    def forget(self, but: Collection[str] = ()) -> None:
        """Let go of the snapshots of a workspace that was closed, those of the names in `but` excepted."""
        with self._operation():
            self._refs.remove_all(but)

    # Parts of operations

    @contextmanager
    def _operation(self) -> Iterator[None]:
        if not self.root.is_dir():
            raise WorkspaceProblem(f"{self.root} is gone. Put it back, then beatctl resume.", "folder-gone")
        with locked(self._place / "lock"), explained(str(self.root)):
            self._state = State.read(self._place) or self._state
            self._private.unlock()
            self._tree = self._work_tree()
            try:
                yield
            finally:
                self._tree.close_again()

    def _work_tree(self) -> WorkTree:
        put_back = partial(self._guarding.put_back, label="restore", refs=self._refs)
        return WorkTree(self._place, self._private, self._state, self._guarding.put_away, put_back)

    def _twice(self, action: Callable[[], T]) -> T:
        """Try once more when files changed while they were read; something in the folder may just have ended."""
        try:
            return action()
        except WorkTreeChanging:
            return action()

    def _taken(self) -> tuple[Look, list[bytes], str, str]:
        """The work tree as it is: what differs from the known state, its tree and its manifest."""
        look = self._tree.look()
        paths = self._tree.differences(look)
        return look, paths, *self._tree.record(look, [*look.scan.dirty, *look.scan.added])

    def _put_back(self, target: Known, keep: str | None, child_ran: bool, began: float) -> list[str]:
        changes = self._private.start_changes(self._state.known.tree, target.tree)
        look = self._tree.look()
        differences = self._tree.differences(look) if keep is not None else []
        if keep is not None and differences and not self._keeps_first(keep):
            kept = self._tree.small_enough(look.scan.added) if child_ran else look.scan.added
            tree, manifest = self._tree.record(look, [*look.scan.dirty, *kept])
            message = f"beatctl: kept before restoring {target.commit[:12]}"
            self._commit(keep, with_trailers(message, {_STATE: str(self._state.number)}), tree, manifest, self.known)
            look = self._tree.look(look)
        changed = self._tree.write(target, look, changes)
        self._state.last = None
        self._settle(target, look, restored_at=began)
        return sorted({*changed, *(shown(path) for path in differences)})

    def _captured(self, name: str, run: str | None, put_back: bool) -> Capture | None:
        """The snapshot of this run where it was taken before: the server had forgotten that it was."""
        held = self._refs.read(name) if run is not None or not put_back else None
        if held is None:
            return None
        try:
            commit = self._private.read_commit(held)
            target, before = self._snapshot(held), self._snapshot(commit.parents[0])
        except (WorkspaceProblem, IndexError):
            return None
        if commit.trailer(_RUN) != run:
            return None
        repaired, kept = self._guard(name) if put_back else ([], [])
        if put_back:
            self._twice(lambda: self._put_back(target, None, True, 0.0))
        paths = self._tree.between(before, target)
        return Capture(
            snapshot=held,
            tree=target.tree,
            changed=(target.tree, target.manifest) != (before.tree, before.manifest),
            paths=[shown(path) for path in paths[:SHOWN_PATHS]],
            paths_total=len(paths),
            repaired=repaired,
            kept_refs=kept,
        )

    def _keeps_first(self, keep: str) -> bool:
        """Whether a restore that was killed half-way has kept what was there: what is left of it now is less."""
        held = self._refs.read(keep)
        try:
            return held is not None and self._private.read_commit(held).trailer(_STATE) == str(self._state.number)
        except WorkspaceProblem:
            return False

    def _guard(self, name: str) -> tuple[list[str], list[str]]:
        if self._state.closed:
            return [], []
        done = self._guarding.roll_back(self._state.guards, name, self._refs)
        if self._refs.mend():
            done.what.append("refs/beatctl")
        return done.what, done.kept

    def _accept(self) -> tuple[list[str], list[str]]:
        if not self._state.closed:
            self._guarding.take_in(self._state.guards, self._refs)
        return [], []

    def _commit(self, name: str, message: str, tree: str, manifest: str, parent: str) -> Known:
        message = with_trailers(message, {"Beatctl-Manifest": manifest})
        commit = self._private.write_commit(tree, [parent], message)
        self._refs.write(name, commit)
        if tree == self._state.known.tree:
            self._guarding.add_object(self._private.objects, commit)
        else:
            self._guarding.sync_objects()
        return Known(commit, tree, manifest)

    def _settle(self, known: Known, look: Look, *, restored_at: float = 0.0) -> None:
        """Write down what is known now, the state last: until then the operation has not happened."""
        state = self._state
        state.guards = self._guards(known)
        if look.scan.folders != look.folders:
            look.scan.folders.save(self._place)
        state.known = known
        state.restored_at = restored_at
        state.index = index_signature(self._place)
        state.save(self._place)

    def _guards(self, known: Known) -> list[str]:
        """Which repositories are guarded from now on: the root's and those nested in the known state."""
        if self._state.closed or known.manifest == self._state.known.manifest:
            return self._state.guards
        repositories = Manifest.read(self._place / "manifests", known.manifest).repositories
        return self._guarding.follow(self._state.guards, [os.fsdecode(path) for path in repositories])

    def _snapshot(self, commit: str) -> Known:
        found = self._private.read_commit(commit)
        manifest = found.trailer("Beatctl-Manifest")
        if manifest is None:
            raise WorkspaceProblem(f"{commit[:12]} is no snapshot of beatctl's.")
        return Known(commit, found.tree, manifest)
