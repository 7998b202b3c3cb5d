"""Conclude: the end of an iteration or a loop. Restore, label the snapshot, write the ledger; each safe to repeat."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from pydantic import BaseModel

from beatctl.activities.home import Home, LoopFolder
from beatctl.activities.ledger import Ledger
from beatctl.activities.processes import faults
from beatctl.activities.rebuilding import lost_rows
from beatctl.activities.records import Mark, Row, Status
from beatctl.activities.snapshot_workspace import told_as_problem
from beatctl.activities.tickets import Ticket, last_ticket
from beatctl.activities.workspace import Workspace, WorkspaceProblem, release

_WORTH_A_SYNC_S = 1.0
"""What took less is as quickly made again, or told from what else is kept."""


class ConcludeInput(BaseModel):
    """One iteration's row, and what the work tree is to hold after it."""

    row: Row
    status: Status
    label: str | None = None
    """The ref's name whose commit gets score and verdict as trailers."""
    restore: str | None = None
    """The snapshot to put back; None leaves the work tree alone."""
    keep: str = "left"
    """The ref's name for what that would lose."""
    ticket: Ticket | None = None


class CloseInput(BaseModel):
    """A loop's end."""

    status: Status
    opened: bool = True
    """Whether the workspace was ever taken; if not there is nothing to put back."""
    row: Row | None = None
    """The row of an iteration that was interrupted."""
    interrupted: str | None = None
    """The name of the iteration whose child was ended: what it had done is kept under it before it is undone."""
    restore: str | None = None
    """What the work tree is to hold; edits of the user's, made while no child ran, are left alone all the same."""
    ticket: Ticket | None = None


class Kept(BaseModel):
    """How a loop stands by what is on disk."""

    status: Status | None
    """None: the ledger has no such loop."""
    ticket: int
    """The number of its latest step."""
    taking_in: list[str] = []
    """The user's edits that were being measured."""


def look_up(home: Home, ledger: Ledger, loop: str) -> Kept:
    """How the loop stands by the ledger, for a workflow that knows less."""
    folder, status = home.loop(loop), ledger.status(loop)
    taking_in = edits_under_way(folder, status.iteration + 1) if status is not None else []
    return Kept(status=status, ticket=last_ticket(folder), taking_in=taking_in)


def edits_under_way(loop: LoopFolder, number: int) -> list[str]:
    """The paths of the user's edits that were to be the row of this number, where they were taken as that."""
    try:
        return (Workspace.load(loop).edits_taken(str(number)) or [])[:20]
    except (WorkspaceProblem, OSError):
        return []


def is_given_back(loop: LoopFolder) -> bool:
    """Whether its folder was given back with its end, and not taken again since."""
    try:
        return Workspace.load(loop).is_closed
    except (WorkspaceProblem, OSError):
        return False  # the loop pauses with its words


def conclude_iteration(home: Home, ledger: Ledger, given: ConcludeInput) -> str | None:
    """Undo what the evaluator left, label the snapshot, and write the row with the status it leads to.

    Returns the snapshot's commit, which the label has changed. The row comes last: where it is there, all of it was
    done by an attempt whose answer was lost, and the files may hold what came after it.
    """
    row, status = given.row, given.status
    done = ledger.row(status.id, row.iteration)
    if done is not None:
        return done.snapshot
    with told_as_problem():
        lost: list[Row] = []
        if given.restore is not None or given.label is not None:
            workspace = Workspace.load(home.loop(status.id))
            lost = lost_rows(ledger, home.loop(status.id), workspace, row.iteration)
            if given.restore is not None:
                workspace.restore(given.restore, keep=given.keep)
            if given.label is not None:
                row = row.model_copy(update={"snapshot": workspace.label(given.label, _trailers(row))})
                status = status.model_copy(
                    update={key: _relabelled(getattr(status, key), row) for key in ("baseline", "best", "base")}
                )
        if row.tree is not None and row.repeat_of is None:
            row = row.model_copy(update={"repeat_of": ledger.first_with(status.id, row.tree, before=row.iteration)})
        faults.point("conclude:before-ledger")
        ledger.write(status, *lost, row, lasting=row.duration_s >= _WORTH_A_SYNC_S)
        return row.snapshot


def _relabelled(mark: Mark | None, row: Row) -> Mark | None:
    if mark is None or mark.iteration != row.iteration:
        return mark
    return mark.model_copy(update={"snapshot": row.snapshot})


def _trailers(row: Row) -> dict[str, str]:
    trailers = {"Beatctl-Iteration": str(row.iteration), "Beatctl-Verdict": row.verdict}
    if row.score is not None:
        trailers["Beatctl-Score"] = repr(row.score)
    if row.parent is not None:
        trailers["Beatctl-Parent"] = str(row.parent)
    if row.reason:
        trailers["Beatctl-Reason"] = " ".join(row.reason.split())
    return trailers


def publish_status(ledger: Ledger, status: Status) -> int | None:
    """Make a loop's status readable without the server. Returns the version of the one there where that is newer,
    and no end: that one stays."""
    newer = ledger.write(status)
    return newer if newer is not None and ledger.ended_with(status.id) is None else None


def close_workspace(home: Home, ledger: Ledger, given: CloseInput) -> Status:
    """End a loop's hold on its folder. Whatever fails here is told in the status, and nothing is removed then."""
    loop = home.loop(given.status.id)
    before = ledger.status(given.status.id)
    if before is not None and before.state == "finished":  # done by an attempt whose answer was lost
        _give_back(home, before)
        return before
    status, rows = given.status, [given.row] if given.row is not None else []
    if before is not None and before.version > status.version:  # an end is the last word, whatever was counted
        status = status.model_copy(update={"version": before.version})
    try:
        if given.opened:
            workspace = Workspace.load(loop)
            if given.interrupted is not None and given.restore is not None:
                left = captured_once(workspace, loop, given.interrupted)
                rows = [row.model_copy(update={"snapshot": row.snapshot or left}) for row in rows]
            if given.restore is not None and not workspace.edits():
                workspace.restore(given.restore, keep=None, child_ran=False)
            there = {row.iteration for row in rows}
            lost = lost_rows(ledger, loop, workspace, given.status.iteration + 1)
            rows += [row for row in lost if row.iteration not in there]
            workspace.close()
    except (WorkspaceProblem, OSError) as error:
        words = f"{status.detail} The work tree could not be put back: {error}. Try: beatctl undo {status.id}"
        status = status.model_copy(update={"detail": words.strip()})
    ledger.write(status, *rows, lasting=True)
    _give_back(home, status)
    return status


def captured_once(workspace: Workspace, loop: LoopFolder, name: str) -> str:
    """The snapshot of what an interrupted child left. Asked again after the tree was put back, it must not be taken
    anew: it would be empty, under the same name."""
    note = loop.interrupted
    with contextlib.suppress(FileNotFoundError, ValueError):
        noted = json.loads(note.read_text(encoding="utf-8"))
        if noted["name"] == name:  # else of an end that the server has forgotten
            return str(noted["snapshot"])
    captured = workspace.capture(name, f"beatctl: {loop.id} interrupted")
    draft = note.with_suffix(".part")
    draft.write_text(json.dumps({"name": name, "snapshot": captured.snapshot}), encoding="utf-8")
    draft.replace(note)
    return captured.snapshot


def _give_back(home: Home, status: Status) -> None:
    loop = home.loop(status.id)
    loop.environment.unlink(missing_ok=True)
    loop.now.unlink(missing_ok=True)
    release(home, Path(status.worktree), status.id)
