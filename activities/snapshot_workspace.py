"""Snapshot workspace: take the workspace's content as a commit, compare it, put it back.

All of it runs in the worker that runs the workflow, as local activities: the files are on this host.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from temporalio import activity
from temporalio.exceptions import ApplicationError

from beatctl.activities.home import Home, LoopFolder
from beatctl.activities.processes import StartFailed, every_try
from beatctl.activities.prompt import Task
from beatctl.activities.text import clean
from beatctl.activities.tickets import Ticket
from beatctl.activities.workspace import Workspace, WorkspaceProblem

_MOST_REPAIRED = 20
_PATIENCE = 4
"""Attempts at what the system refuses, until the loop pauses for it."""


class OpenInput(BaseModel):
    """The workspace of a loop that begins, and the loop's texts."""

    loop: str
    worktree: str
    allow_large: bool = False
    own_worktree: bool = False
    """It is a linked worktree that was made for the loop."""
    task: Task
    ticket: Ticket | None = None


class Opened(BaseModel):
    baseline: str
    """The commit that holds the untouched workspace."""
    warnings: list[str] = []
    """What could not be protected, in sentences."""
    tree: str | None = None
    """Its content, see Row."""
    waited_s: float = 0.0
    """Until it was the loop's turn to have its baseline measured."""


class SnapshotInput(BaseModel):
    loop: str
    name: str
    """`12`, or `12-step1`: the name under refs/beatctl/<loop>/."""
    message: str
    child_ran: bool = True
    """False: the changes are the user's own, and so is what they did to the repository."""
    run: str | None = None
    """What tells the child's run from every other: its work is taken once."""
    again: bool = False
    """The user's edits were taken before the server forgot it: what their measuring leaves is no part of them."""
    ticket: Ticket | None = None


class Snapshot(BaseModel):
    snapshot: str
    tree: str | None = None
    """Its content, see Row."""
    changed: bool
    repaired: list[str] = []
    """What of the repository itself had to be put back."""


class RestoreInput(BaseModel):
    loop: str
    snapshot: str
    keep: str
    """The ref's name for what the restore would lose, where it would lose anything."""
    ticket: Ticket | None = None


class EditsInput(BaseModel):
    loop: str
    ticket: Ticket | None = None


@contextlib.contextmanager
def told_as_problem() -> Iterator[None]:
    """What is wrong with the workspace, as an error whose type is the reason a loop pauses for."""
    try:
        yield
    except WorkspaceProblem as problem:
        raise ApplicationError(clean(problem.text), type=problem.reason, non_retryable=True) from problem
    except (OSError, StartFailed) as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = getattr(error, "filename", None) or "the workspace"
            raise ApplicationError(clean(f"No space left for {where}"), type="no-space", non_retryable=True) from error
        if activity.in_activity() and activity.info().attempt >= _PATIENCE:
            raise ApplicationError(clean(str(error)), type="workspace", non_retryable=True) from error
        raise


def open_workspace(home: Home, given: OpenInput) -> Opened:
    """Take the baseline and the copies that protect it."""
    loop = home.loop(given.loop)
    with told_as_problem():
        loop.task.write_text(given.task.model_dump_json(), encoding="utf-8")
        workspace = Workspace.open(
            loop, Path(given.worktree), allow_large=given.allow_large, own_worktree=given.own_worktree
        )
        return Opened(baseline=workspace.baseline, tree=workspace.known_tree, warnings=told(workspace.warnings))


def snapshot_workspace(home: Home, given: SnapshotInput) -> Snapshot:
    """Undo what a child did to the repository, and take the files as a snapshot."""
    with told_as_problem():
        loop = home.loop(given.loop)
        workspace = Workspace.load(loop)
        capture = workspace.capture(
            given.name,
            given.message,
            child_ran=given.child_ran,
            run=given.run,
            put_back=not (given.again or (given.run is not None and _is_worked_on(loop, given.name))),
        )
        return Snapshot(
            snapshot=capture.snapshot, tree=capture.tree, changed=capture.changed, repaired=told(capture.repaired)
        )


def _is_worked_on(loop: LoopFolder, name: str) -> bool:
    """Whether what comes after this snapshot works on the files already: a run that the server has forgotten, too."""
    number, _, step = name.partition("-step")
    for one in every_try(loop.iteration(int(number))):
        later = step and (of := re.match(r"agent-step(\d+)", one.run.name)) and int(of[1]) > int(step)
        if later or one.state() == "running":
            return True
    return False


def told(repaired: list[str]) -> list[str]:
    """What was put back, as much of it as belongs in a history: an agent can make ten thousand tags."""
    words = [clean(word)[:400] for word in repaired[:_MOST_REPAIRED]]
    others = len(repaired) - len(words)
    return [*words, f"{others} more"] if others else words


def restore_workspace(home: Home, given: RestoreInput) -> list[str]:
    """Make the work tree a snapshot again. Returns the paths that changed, 20 at most."""
    with told_as_problem():
        return Workspace.load(home.loop(given.loop)).restore(given.snapshot, keep=given.keep)[:20]


def find_edits(home: Home, given: EditsInput) -> list[str]:
    """Paths the user has changed since the last snapshot or restore, 20 at most."""
    with told_as_problem():
        return Workspace.load(home.loop(given.loop)).edits()[:20]
