"""Reopen workspace: take the folder of a loop that had ended again, to go on from where that loop stands.

Days may have passed: the user may have worked on in the folder, undone the loop, or moved on to another branch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from beatctl.activities.home import Home, LoopFolder
from beatctl.activities.prompt import Task
from beatctl.activities.snapshot_workspace import told, told_as_problem
from beatctl.activities.tickets import Ticket
from beatctl.activities.workspace import Workspace


class ReopenInput(BaseModel):
    """A loop that goes on."""

    loop: str
    worktree: str
    allow_large: bool = False
    task: Task
    base: str | None = None
    """The snapshot to go on from; None: from what the folder holds."""
    after: int
    """The last row's number: runs of an iteration that never got a row are put aside."""
    keep: str
    """The ref's name for what is in the folder, where putting the base back would lose it."""
    ticket: Ticket | None = None


class Reopened(BaseModel):
    known: str
    """The snapshot that the folder now holds, apart from the edits."""
    edits: list[str] = []
    """Paths the user has changed since the loop ended, to be taken in; 20 at most."""
    warnings: list[str] = []


@dataclass(frozen=True)
class Found:
    """What a folder holds after a loop's end.

    `base`: what the loop goes on from. `edited`: that, with the user's edits. `before`: the files from before the loop.
    `other`: none of these, such as edits made after an undo.
    """

    holds: Literal["base", "edited", "before", "other"]
    edits: list[str] = field(default_factory=list)
    known: str = ""


def look(workspace: Workspace, base: str | None) -> Found:
    """What the folder holds, as far as going on from `base` is concerned. Changes nothing of the user's.

    Raises WorkspaceProblem, also where the base's snapshot is not there any more.
    """
    edits, known = workspace.edits(), workspace.known
    if base is None:
        return Found("edited" if edits else "base", edits, known)
    if not workspace.changed_paths(known, base):
        if edits and workspace.changed_paths(base, workspace.baseline) and workspace.holds(workspace.baseline):
            return Found("before", edits, known)
        return Found("edited" if edits else "base", edits, known)
    if edits and workspace.holds(base):
        return Found("base", edits, known)
    if (not edits and not workspace.changed_paths(known, workspace.baseline)) or workspace.holds(workspace.baseline):
        return Found("before", edits, known)
    return Found("other", edits, known)


def reopen_workspace(home: Home, given: ReopenInput) -> Reopened:
    """Guard the folder again, and see to it that it holds the base, or the base with the user's edits. Safe to repeat.

    What else is there (the command has told of it, and refused what it could not put back) is kept as a ref.
    """
    loop = home.loop(given.loop)
    with told_as_problem():
        _put_runs_aside(loop, given.after)
        loop.interrupted.unlink(missing_ok=True)
        loop.task.write_text(given.task.model_dump_json(), encoding="utf-8")
        workspace = Workspace.open(loop, Path(given.worktree), allow_large=given.allow_large)
        found = look(workspace, given.base)
        if found.holds != "edited" and given.base is not None:
            workspace.restore(given.base, keep=given.keep, child_ran=False)
        edits = found.edits if found.holds == "edited" else []
        return Reopened(known=workspace.known, edits=edits[:20], warnings=told(workspace.warnings))


def _put_runs_aside(loop: LoopFolder, after: int) -> None:
    """An interrupted iteration without a row gives its number to the next one, which must not find its results."""
    for folder in loop.runs.glob("*"):
        if folder.name.isdigit() and int(folder.name) > after:
            number = 1
            while (aside := folder.with_name(f"{folder.name}.ended-{number}")).exists():
                number += 1
            folder.rename(aside)
