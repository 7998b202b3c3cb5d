"""What a loop changed, and putting it back: diff and undo."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from beatctl.cli.arguments import Json, Loop, LoopAndNumber, loop_and_number
from beatctl.cli.loops import Loops, folder_in_use
from beatctl.cli.output import colour, out, out_bytes, out_json, say
from beatctl.cli.problems import Problem, Usage
from beatctl.cli.view import print_status_json, row_of

if TYPE_CHECKING:
    from beatctl.activities.ledger import Status
    from beatctl.activities.workspace import Workspace
    from beatctl.activities.workspace.workspace import Undone

T = TypeVar("T")


def diff(
    words: LoopAndNumber = None,
    stat: Annotated[bool, typer.Option("--stat", help="Only which files, and how much.")] = False,
    as_json: Json = False,
) -> int:
    """Show what the loop changed.

    From the baseline to the best; with N, what experiment N changed.
    """
    loop, number = loop_and_number(words)
    loops = Loops()
    status = loops.find(loop)
    before, after = _ends(loops, status, number)
    workspace = _workspace(loops, status)
    text = _told(lambda: workspace.diff(before, after, stat=stat, color=colour(sys.stdout) and not as_json))
    if as_json:
        paths = _told(lambda: workspace.changed_paths(before, after))
        out_json({"from": before, "to": after, "paths": paths, "diff": text.decode("utf-8", "replace")})
    else:
        out_bytes(text)
    return 0


def _ends(loops: Loops, status: Status, number: int | None) -> tuple[str, str]:
    """The two snapshots to compare. Raises Usage where there is nothing to compare yet."""
    if number is not None:
        row = row_of(loops, status, number)
        parent = loops.ledger.row(status.id, row.parent) if row.parent is not None else None
        if row.iteration == 0:
            raise Usage("Iteration 0 is the baseline, the folder as it was: it changed nothing.")
        if not row.snapshot or parent is None or not parent.snapshot:
            raise Usage(f"Iteration {number} has no snapshot to compare.")
        return parent.snapshot, row.snapshot
    first = status.baseline.snapshot if status.baseline else None
    if first is None:
        raise Usage(f"Loop {status.id} has no baseline yet.")
    if status.best and status.best.snapshot:
        return first, status.best.snapshot
    # A retry that has not passed: the last try is what the folder holds.
    tries = [row.snapshot for row in loops.ledger.rows(status.id, newest_first=True) if row.snapshot]
    return first, tries[0] if tries else first


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

    workspace = _workspace(loops, status)
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


def _workspace(loops: Loops, status: Status) -> Workspace:
    from beatctl.activities.workspace import Workspace

    folder = loops.folder(status.id)
    if not folder.workspace.exists():
        raise Problem(f"Loop {status.id} never took its folder: there is no snapshot to compare or go back to.")
    return _told(lambda: Workspace.load(folder))


def _told(work: Callable[[], T]) -> T:
    from beatctl.activities.workspace import WorkspaceProblem

    try:
        return work()
    except WorkspaceProblem as problem:
        raise Problem(str(problem)) from problem
