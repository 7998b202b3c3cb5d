"""Apply, the first half: what commits a loop's experiments come to on top of HEAD, before anything is written.

A link of the loop's chain leads from one snapshot to the next. Only what it changed is taken, as the user's git would
store it, and merged onto the commit before: so the user's own edits, which both snapshots hold, stay out.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .cleaning import Cleaner
from .files import lstat, remove_tree, shown
from .git import Git, GitFailed
from .manifest import Manifest
from .places import Repository
from .private_git import PrivateGit
from .problems import WorkspaceProblem
from .user_git import Change, Entry, UserGit, changes, merged, named, tree_with


@dataclass(frozen=True)
class Link:
    """One experiment's step from a snapshot to its own; both are commits."""

    number: int
    before: str
    after: str


@dataclass(frozen=True)
class Wanted:
    """One commit to be made."""

    numbers: list[int]
    links: list[Link]
    message: str


@dataclass(frozen=True)
class Step:
    """One commit, worked out: its tree is HEAD's with what the experiments up to it changed."""

    wanted: Wanted
    tree: str


@dataclass
class Plan:
    head: str
    steps: list[Step]
    empty: list[int] = field(default_factory=list)
    """Experiments of which nothing is left to commit."""

    @property
    def tree(self) -> str:
        return self.steps[-1].tree


class Conflict(WorkspaceProblem):
    """An experiment's changes do not fit onto HEAD. Nothing was written."""

    LEFT_OUT = "which is left out"
    SINCE = "changed in commits since the loop began"
    OWN = "your own uncommitted edits are in the same place"
    STAGED = "what you have staged is in the same place"

    def __init__(self, number: int, paths: Mapping[str, str]) -> None:
        lines = "".join(f"\n  {path}: {why}" for path, why in paths.items())
        super().__init__(f"What #{number} changed does not fit onto HEAD; nothing was written.{lines}")
        self.number = number
        self.paths = dict(paths)


class Planner:
    """Works out commits in a scratch folder; of the user's it adds to the object store, and to nothing else."""

    def __init__(self, private: PrivateGit, repository: Repository, manifests: Path, baseline: str, git: UserGit):
        self._private = private
        self._repository = repository
        self._manifests = manifests
        self._baseline = baseline
        self._git = git
        self._zero = private.zero

    def plan(self, head: str, wanted: Sequence[Wanted], left_out: Sequence[Link], scratch: Path) -> Plan:
        """The commits that lead from `head` to all that is wanted. `left_out` are the chain's other experiments.

        Raises `Conflict`; `WorkspaceProblem` for what cannot be committed at all.
        """
        remove_tree(os.fsencode(scratch))
        scratch.mkdir(parents=True)
        try:
            cleaner = Cleaner(self._private, self._repository, scratch)
            plan, tip = Plan(head, []), self._tree_of(head)
            for one in wanted:
                tree = tip
                for link in one.links:
                    tree = self._onto(tree, link, cleaner, scratch / "onto-index", head, left_out)
                if tree == tip:
                    plan.empty += one.numbers
                else:
                    plan.steps.append(Step(one, tree))
                tip = tree
            return plan
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _tree_of(self, commit: str) -> str:
        return self._git.line("rev-parse", f"{commit}^{{tree}}")

    def raw_changes(self, link: Link) -> dict[bytes, Change]:
        """What a link changed on disk, byte for byte."""
        before, after = (self._private.read_commit(name) for name in (link.before, link.after))
        return changes(self._private.git, before.tree, after.tree)

    def _onto(self, tip: str, link: Link, cleaner: Cleaner, index: Path, head: str, left_out: Sequence[Link]) -> str:
        """The tip's tree with what a link changed."""
        raw = self.raw_changes(link)
        self._refuse_nested(link, raw)
        new = [path for path, change in raw.items() if change.after is not None]
        ignored = cleaner.ignored(tip, {path: raw[path].after for path in raw}, self._absent(tip, new))
        for path in ignored:
            del raw[path]
        if not raw:
            return tip
        before = cleaner.tree(tip, {path: change.before for path, change in raw.items()})
        after = cleaner.tree(tip, {path: change.after for path, change in raw.items()})
        wanted = changes(self._git, before, after)
        if not wanted:
            return tip  # only what git does not keep: line endings, say
        otherwise = changes(self._git, tip, before)
        # The very bytes that lay on disk, though git would store them in another form now.
        as_it_was = {path: c.before for path, c in otherwise.items() if path in raw and c.before == raw[path].before}
        other = otherwise.keys() - as_it_was.keys()
        strange = sorted(wanted.keys() - raw.keys())
        if strange:
            raise self._conflict(link, strange, tip, head, left_out)
        if not other & wanted.keys():
            return tree_with(self._git, tip, {path: c.after for path, c in wanted.items()}, index, self._zero)
        base = tree_with(self._git, before, as_it_was, index, self._zero)
        tree, conflicts = merge_trees(self._git, self._private, base, tip, after)
        if conflicts:
            raise self._conflict(link, conflicts, tip, head, left_out)
        return tree

    def _absent(self, tip: str, paths: list[bytes]) -> list[bytes]:
        """Those of some paths that a tree does not have."""
        if not paths:
            return []
        given = b"".join(b"%s:%s\n" % (tip.encode(), path) for path in paths if b"\n" not in path)
        lines = self._git.run("cat-file", "--batch-check", given=given).splitlines()
        asked = [path for path in paths if b"\n" not in path]
        return [path for path, line in zip(asked, lines, strict=True) if line.endswith(b" missing")]

    def _refuse_nested(self, link: Link, raw: Mapping[bytes, Change]) -> None:
        inside: set[bytes] = set()
        for commit in (link.before, link.after):
            name = self._private.read_commit(commit).trailer("Beatctl-Manifest")
            if name is not None:
                inside.update(Manifest.read(self._manifests, name).repositories)
        found = [folder for folder in inside if any(path.startswith(folder + b"/") for path in raw)]
        found += [
            path for path, c in raw.items() if "160000" in ((c.before or c.after or ("",))[0], (c.after or ("",))[0])
        ]
        if found:
            raise WorkspaceProblem(
                f"#{link.number} changed files in a repository of its own, which no commit here can hold: "
                f"{named(sorted(found))}. Commit there by hand (beatctl diff {link.number} shows them), "
                "or leave it out with --only."
            )

    def _conflict(self, link: Link, paths: Iterable[bytes], tip: str, head: str, left_out: Sequence[Link]) -> Conflict:
        """Tell, for each path, whose changes are in the way."""
        others: dict[bytes, list[int]] = {}
        for other in left_out:
            if other.number < link.number:
                for path in self.raw_changes(other):
                    others.setdefault(path, []).append(other.number)
        moved = self._moved(head)
        told = {}
        for path in paths:
            if path in others:
                why = "rests on " + ", ".join(f"#{number}" for number in others[path]) + f", {Conflict.LEFT_OUT}"
            elif path in moved:
                why = Conflict.SINCE
            else:
                why = Conflict.OWN
            told[shown(path)] = why
        return Conflict(link.number, told)

    def _moved(self, head: str) -> set[bytes]:
        """Paths that commits have changed since the baseline was taken."""
        parents = self._private.read_commit(self._baseline).parents
        if not parents:
            return set()
        try:
            return set(changes(self._git, self._tree_of(parents[0]), self._tree_of(head)))
        except GitFailed:
            return set()


def merge_trees(git: Git, private: PrivateGit, base: str, ours: str, theirs: str) -> tuple[str, list[bytes]]:
    """Three trees merged, and the paths where `ours` and `theirs` contradict each other."""
    if base == ours or ours == theirs:
        return theirs, []
    if base == theirs:
        return ours, []
    root = private.write_commit(base, [], "beatctl: merge base")
    sides = (
        private.write_commit(tree, [root], f"beatctl: {name}") for tree, name in ((ours, "ours"), (theirs, "theirs"))
    )
    return merged(git, root, *sides)


def gone_back(private: PrivateGit, root: Path, baseline: str, best: str, paths: Iterable[bytes]) -> list[bytes]:
    """Those of some paths that lie on disk as before the loop, although the loop's best has them otherwise."""
    trees = (private.read_commit(name).tree for name in (baseline, best))
    whole = changes(private.git, *trees)
    return [path for path in paths if path in whole and _on_disk(private, root, path) == whole[path].before]


def _on_disk(private: PrivateGit, root: Path, path: bytes) -> Entry | None:
    absolute = os.path.join(os.fsencode(root), path)
    at = lstat(absolute)
    if at is None or stat.S_ISDIR(at.st_mode):
        return None
    if stat.S_ISLNK(at.st_mode):
        return "120000", private.hash(b"blob", os.readlink(absolute))
    with open(absolute, "rb") as file:
        return ("100755" if at.st_mode & 0o100 else "100644"), private.hash(b"blob", file.read())
