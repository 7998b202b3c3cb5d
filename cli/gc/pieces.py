"""What can be freed of a loop that has ended, or of a dry run that was killed; and what stays, and why."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from beatctl.activities.home import Home
from beatctl.activities.workspace.files import remove_tree
from beatctl.activities.workspace.remains import Remains, size_of
from beatctl.activities.workspace.spent_worktree import is_noted
from beatctl.cli import freed
from beatctl.cli.gc import rule
from beatctl.cli.repository import clone_of

if TYPE_CHECKING:
    from beatctl.activities.records import Row, Status

Kind = Literal["outputs", "snapshots", "worktree", "clone", "copies", "state", "leftovers"]


@dataclass(frozen=True)
class Piece:
    """Something that can be freed."""

    kind: Kind
    what: str
    bytes: int
    """On the disk; of snapshots in a repository: what git frees by itself later."""
    free: Callable[[], None]
    later: bool = False

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "what": self.what, "bytes": self.bytes, "freed_by_git_later": self.later}


@dataclass
class Found:
    """What was found of one loop."""

    id: str
    pieces: list[Piece] = field(default_factory=list)
    stays: list[str] = field(default_factory=list)
    """What is left alone, and why, in sentences."""


class Look:
    """Looks through what is kept of one loop. Changes nothing until a piece is freed."""

    def __init__(self, remains: Remains, found: Found, *, everything: bool, in_use: str | None) -> None:
        """`everything`: the snapshots of the result too. `in_use`: a loop that is at work in the same repository."""
        self.remains = remains
        self.folder = remains.folder
        self.found = found
        self.everything = everything
        self.in_use = in_use

    def of_loop(self, status: Status, rows: Mapping[int, Row], spec: str) -> None:
        """What a loop that has ended leaves."""
        outputs = [path for path in (self.folder.runs,) if path.exists()]
        secrets = [self.folder.environment, self.folder.notify]
        secrets += self.folder.root.glob(".[en]*.json-*")
        drafts = [path for path in (*secrets, self.folder.root / "applying") if path.exists()]
        if outputs:
            count = sum(1 for path in self.folder.runs.iterdir() if path.is_dir())
            words = f"prompts and outputs of {_counted(count, 'iteration')}"
            self._add("outputs", words, outputs, lambda: self._free(outputs, outputs=True))
        if drafts:
            self._add("leftovers", "what its end should have removed", drafts, lambda: self._free(drafts))
        if self._waits_for_a_push(status):
            words = f"Of {status.id} nothing else goes until its branch is pushed: beatctl push {status.id}"
            self.found.stays.append(words)
        elif self._may_touch_the_repository({row.snapshot for row in rows.values() if row.iteration == 0}):
            reverts = json.loads(spec or "{}").get("on_fail") == "revert"
            kept = rule.kept_rows(status, rows, reverts=reverts)
            stay = self._snapshots(lambda end: self.everything or rule.may_go(end, kept, rows), "of what was not kept")
            self._worktree(stay)
            self._copies()
            if self.everything:
                self._clone(status)
                self._state()
        if status.origin is not None and status.branch is not None and self.found.pieces:
            self.found.stays.append(f"Branch {status.branch} is yours: it stays.")

    def of_dry_run(self) -> None:
        """What a dry run leaves that was killed, or that put something aside."""
        if not self._may_touch_the_repository(()):
            return
        stay = self._snapshots(lambda end: self.everything or rule.may_go_of_dry_run(end), "of what it measured")
        self._worktree(stay)
        self._copies()
        if stay:
            names = ", ".join(f"refs/beatctl/{self.found.id}/{end}" for end in stay)
            self.found.stays.append(f"A dry run found this changed and put it aside: {names}. --all-refs frees it too.")
        else:
            self._add("state", "what it measured with", [self.folder.root], self._remove_folder)

    def _may_touch_the_repository(self, first: Collection[str | None]) -> bool:
        remains = self.remains
        if self.in_use is not None and not remains.snapshots():
            return False
        if self.in_use is not None:
            self.found.stays.append(
                f"Loop {self.in_use} is at work in the same repository: snapshots stay until it has ended."
            )
            return False
        if remains.is_gone and not self.everything:
            if remains.state is None:
                return False
            where = remains.origin or remains.root
            self.found.stays.append(f"{where} is gone or was moved: what protects it stays. --all-refs frees that too.")
            return False
        if not remains.is_of_this_loop(first):
            self.found.stays.append(
                f"refs/beatctl/{self.found.id} in {remains.common} is not this loop's, but of another beatctl home's."
            )
            return False
        return True

    def _snapshots(self, goes: Callable[[str], bool], which: str) -> dict[str, str]:
        """Adds the snapshots that may go; returns those that stay, all repositories' together."""
        stay: dict[str, str] = {}
        for common, held in self.remains.snapshots().items():
            go = {end: commit for end, commit in held.items() if goes(end)}
            stay |= {end: commit for end, commit in held.items() if end not in go}
            if go:
                size = self.remains.size_of_snapshots(common, list(go.values()), list(stay.values()))
                count = _counted(len(go), "snapshot")
                words = f"all {count}" if self.everything else f"{count} {which}"
                free = self._freeing_snapshots(common, go)
                later = not self.remains.is_private
                self.found.pieces.append(Piece("snapshots", words, size, free, later=later))
        return stay

    def _freeing_snapshots(self, common: Path, go: dict[str, str]) -> Callable[[], None]:
        def free() -> None:
            self._note(snapshots="all" if self.everything else freed.read(self.folder).get("snapshots", "some"))
            self.remains.free_snapshots(common, go)

        return free

    def _worktree(self, stay: Mapping[str, str]) -> None:
        remains = self.remains
        if remains.origin is None or remains.common is None:
            return
        if remains.root.parent.name != "worktrees" or remains.root.parent.parent != self.folder.root.parent.parent:
            return  # moved by its user
        if not remains.root.exists():
            if is_noted(remains.root, remains.common):
                self._add("worktree", "git's note of a worktree that is gone", [], remains.free_worktree)
            return
        if not any(remains.root.iterdir()):
            self._add("worktree", f"an empty folder, {remains.root}", [remains.root], remains.free_worktree)
            return
        why = remains.why_worktree_stays(list(stay.values()), must_match_head=self.everything)
        if why is None:
            self._add("worktree", str(remains.root), [remains.root], remains.free_worktree)
        else:
            remove = (
                f"git -C {shlex.quote(str(remains.origin))} worktree remove --force {shlex.quote(str(remains.root))}"
            )
            self.found.stays.append(f"The worktree {remains.root} {why}. To remove it: {remove}")

    def _waits_for_a_push(self, status: Status) -> bool:
        """Whether what a loop with --repo kept is in its clone alone, and would go with it."""
        failed = status.push is None or status.push.state == "failed"
        return self.everything and self._has_clone(status) and failed

    def _has_clone(self, status: Status) -> bool:
        home, root = Home(self.folder.root.parent.parent), self.remains.root
        return status.repo is not None and root == clone_of(home, status.id) and root.is_dir()

    def _clone(self, status: Status) -> None:
        """The clone of a loop with --repo, which has its snapshots."""
        root = self.remains.root
        if self._has_clone(status):
            self._add("clone", str(root), [root], lambda: self._free([root], snapshots="all"))

    def _copies(self) -> None:
        copies = self.remains.copies()
        if copies:
            words = "copies that protected the repository, " + ", ".join(str(path) for path in copies)
            self._add("copies", words, copies, self.remains.free_copies)

    def _state(self) -> None:
        """The rest of a loop's folder; the note of what was freed stays."""
        counted = {
            self.folder.runs,
            self.folder.environment,
            self.folder.notify,
            self.folder.root / "applying",
            self.folder.freed,
        }
        if not self.folder.root.is_dir():
            return
        left = [path for path in self.folder.root.iterdir() if path not in counted]
        if left:
            paths = sorted(left, key=lambda path: path == self.folder.workspace)  # it says where the refs were
            words = "the private git folder, and the rest"
            self._add("state", words, paths, lambda: self._free(paths, snapshots="all"))

    def _add(self, kind: Kind, what: str, paths: list[Path], free: Callable[[], None]) -> None:
        self.found.pieces.append(Piece(kind, what, size_of(paths), free))

    def _free(self, paths: list[Path], **what: Any) -> None:
        if what:
            self._note(**what)
        for path in paths:
            remove_tree(os.fsencode(path))

    def _note(self, **what: Any) -> None:
        if not self.folder.dry_run.exists():
            freed.note(self.folder, **what)

    def _remove_folder(self) -> None:
        """A dry run's folder: its mark last, so that whoever is killed here can go on."""
        for path in self.folder.root.iterdir():
            if path != self.folder.dry_run:
                remove_tree(os.fsencode(path))
        remove_tree(os.fsencode(self.folder.root))


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
