"""What a loop changed, and putting it back: diff and undo."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from beatctl.cli import freed
from beatctl.cli.arguments import Json, Loop, LoopAndNumber, loop_and_number
from beatctl.cli.lineage import is_edits, lineage, links, result_of
from beatctl.cli.loops import Loops, folder_in_use
from beatctl.cli.output import colour, out, out_json, say
from beatctl.cli.pager import NoPager, paged
from beatctl.cli.problems import Problem, Usage
from beatctl.cli.view import print_status_json, row_of
from beatctl.cli.worktree import check_still_there

if TYPE_CHECKING:
    from beatctl.activities.records import Status
    from beatctl.activities.workspace import Workspace
    from beatctl.activities.workspace.workspace import Undone

T = TypeVar("T")


def diff(
    words: LoopAndNumber = None,
    stat: Annotated[bool, typer.Option("--stat", help="Only which files, and how much.")] = False,
    no_pager: NoPager = False,
    as_json: Json = False,
) -> int:
    """Show what the loop changed.

    From the baseline to the best, without your own edits; with N, what experiment N changed.
    """
    loop, number = loop_and_number(words)
    loops = Loops()
    status = loops.find(loop)
    found = changed(loops, status, number, stat=stat, colours=colour(sys.stdout) and not as_json)
    if as_json:
        text = found.text.decode("utf-8", "replace")
        out_json({"from": found.before, "to": found.after, "paths": found.paths(), "diff": text})
    else:
        paged(found.text, plain=no_pager)
    return 0


@dataclass(frozen=True)
class Changed:
    """What lies between two snapshots, as git shows it."""

    steps: list[tuple[str, str]]
    """More than one where the user's own edits lie between, which are left out."""
    text: bytes
    workspace: Workspace

    @property
    def before(self) -> str:
        return self.steps[0][0]

    @property
    def after(self) -> str:
        return self.steps[-1][1]

    def paths(self) -> list[str]:
        """What was changed, made or removed. Raises Problem where a snapshot is gone."""
        return sorted({path for paths in _told(self._paths) for path in paths})

    def _paths(self) -> list[list[str]]:
        return [self.workspace.changed_paths(*step) for step in self.steps]


def changed(loops: Loops, status: Status, number: int | None, *, stat: bool = False, colours: bool = False) -> Changed:
    """What experiment `number` changed; without one, what the loop did. Raises Usage, Problem."""
    ends = _experiment(loops, status, number) if number is not None else _result(loops, status)
    workspace = _workspace(loops, status, "diff")
    try:
        steps = _told(lambda: _one_step(workspace, ends))
        text = b"".join(_told(lambda: [workspace.diff(*step, stat=stat, color=colours) for step in steps]))
    except _Gone as gone:
        raise Problem(f"{gone.text} {freed.words(loops, status.id, 'snapshots')}".rstrip()) from gone
    return Changed(steps, text, workspace)


def _experiment(loops: Loops, status: Status, number: int) -> list[tuple[str, str]]:
    """The snapshots before and after an experiment. Raises Usage where there are none."""
    row = row_of(loops, status, number)
    parent = loops.ledger.row(status.id, row.parent) if row.parent is not None else None
    if row.iteration == 0:
        raise Usage("Iteration 0 is the baseline, the folder as it was: it changed nothing.")
    if not row.snapshot or parent is None or not parent.snapshot:
        raise Usage(f"Iteration {number} has no snapshot to compare.")
    return [(parent.snapshot, row.snapshot)]


def _result(loops: Loops, status: Status) -> list[tuple[str, str]]:
    """The steps that lead to the loop's result, each from a snapshot to another, the user's edits left out.

    Raises Usage where there is no baseline yet.
    """
    first = status.baseline.snapshot if status.baseline else None
    if first is None:
        raise Usage(f"Loop {status.id} has no baseline yet.")
    rows = loops.rows_by_number(status.id)
    spec = json.loads(loops.ledger.spec(status.id) or "{}")
    way = lineage(rows, result_of(status, rows, reverts=spec.get("on_fail") == "revert"))
    steps: list[tuple[str, str]] = []
    joined = False
    for row in way:
        step = links(rows, [row])
        if not step or is_edits(row):
            joined = False
            continue
        _, before, after = step[0]
        steps = [*steps[:-1], (steps[-1][0], after)] if joined else [*steps, (before, after)]
        joined = True
    return steps or [(first, first)]


def _one_step(workspace: Workspace, steps: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Steps that the user's own edits lie between, as one where they can do without those."""
    if len(steps) < 2:
        return steps
    whole = workspace.composed(steps)
    return [(steps[0][0], whole)] if whole is not None else steps


def undo(loop: Loop = None, as_json: Json = False) -> int:
    """Put the folder back as it was.

    As before the loop. What is there now is kept under refs/beatctl, and commits stay.
    """
    loops = Loops()
    status = loops.find(loop)
    if status.state != "finished":
        raise Usage(
            f"Loop {status.id} is not over ({status.state}): it would go on from its own best. "
            f"End it first: beatctl cancel {status.id}"
        )
    root = Path(status.worktree or status.directory)
    undone = _undone(loops, status, root)
    stays = _commits_that_stay(loops, status, root) if undone.kept else ""
    if as_json:
        print_status_json(status)
    elif undone.kept:
        out(f"{root} is as it was before {status.id}. What was there is kept as {undone.kept}.")
    else:
        out(f"{root} is as it was before {status.id}: nothing had to be put back.")
    if stays:
        say(stays)
    return 0


def _undone(loops: Loops, status: Status, root: Path) -> Undone:
    """Put the folder back while no loop can take it. Raises Usage when one has it."""
    from beatctl.activities.workspace import FolderInUse, hold

    workspace = _workspace(loops, status, "go back to")
    try:
        with hold(loops.home, root, status.id, loops.is_live):
            return _told(workspace.undo)
    except FolderInUse as used:
        raise (Usage(used.text) if used.busy else folder_in_use(used.loop)) from used


def _commits_that_stay(loops: Loops, status: Status, root: Path) -> str:
    """A word on what `apply --commit` has made: undo takes no commit back."""
    from beatctl.activities.workspace.apply import applied, is_head

    start = status.baseline.snapshot if status.baseline else None
    commits = list(dict.fromkeys(applied(root, status.id, [f"{start}^@"] if start else []).values()))
    if not commits:
        return ""
    count = "1 commit" if len(commits) == 1 else f"{len(commits)} commits"
    oldest, newest = commits[-1][:9], commits[0][:9]
    words = f"{count} of {status.id} stay in HEAD ({oldest} to {newest}), so git status shows the difference. "
    if is_head(root, commits[0]):
        return words + f"To take them off the branch, your files as they are now: git reset {oldest}~1"
    return words + f"Once that is committed or stashed, git revert {oldest}~1..{newest} takes them back."


def _workspace(loops: Loops, status: Status, verb: str) -> Workspace:
    from beatctl.activities.workspace import Workspace

    folder = loops.folder(status.id)
    freed.check_snapshots(loops, status, verb)
    if not folder.workspace.exists():
        raise Problem(f"Loop {status.id} never took its folder: there is no snapshot to compare or go back to.")
    check_still_there(status)
    return _told(lambda: Workspace.load(folder))


class _Gone(Problem):
    """A snapshot is not there any more."""


def _told(work: Callable[[], T]) -> T:
    from beatctl.activities.workspace import SnapshotGone, WorkspaceProblem

    try:
        return work()
    except SnapshotGone as gone:
        raise _Gone(gone.text) from gone
    except WorkspaceProblem as problem:
        raise Problem(str(problem)) from problem
