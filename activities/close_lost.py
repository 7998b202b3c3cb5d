"""Close lost: the end of a loop that the server does not know, from what is on disk."""

from __future__ import annotations

import json
from pathlib import Path

from beatctl.activities.conclude import captured_once, edits_under_way
from beatctl.activities.home import Home, LoopFolder
from beatctl.activities.ledger import Ledger
from beatctl.activities.processes import every_try
from beatctl.activities.rebuilding import row_of
from beatctl.activities.records import Row, Status, timestamp, with_interrupted
from beatctl.activities.workspace import Workspace, WorkspaceProblem, release


def close_lost(home: Home, ledger: Ledger, status: Status, now: float) -> Status:
    """Write the loop's end and give its folder back, as its workflow would have done. None of its processes is left.

    What an interrupted child did is kept under the iteration's name and undone, in the repository too; its iteration
    gets a row, with what it cost. `now`: unix seconds. Whatever fails is told in the status. Blocks.
    """
    loop = home.loop(status.id)
    detail, row = "Closed without the Temporal server, which does not know it.", None
    try:
        if loop.workspace.exists():
            workspace = Workspace.load(loop)
            if not workspace.is_closed:
                row = _undo_what_ran(ledger, loop, workspace, status)
                workspace.close()
    except (WorkspaceProblem, OSError) as problem:
        detail += f" The folder could not be put back: {problem}. Try: beatctl undo {status.id}"
    if row is not None:
        status = _counted(status, row)
    ended = status.model_copy(
        update={
            "state": "finished",
            "outcome": "cancelled",
            "reason": "cancelled",
            "asked": None,
            "detail": detail,
            "now": "",
            "waiting_until": None,
            "waits": [],
            "runs_over": {},
            "ended_at": timestamp(now),
            "version": status.version + 1,
        }
    )
    ledger.write(ended, *([row] if row is not None else []), lasting=True)
    loop.forget_secrets()
    release(home, Path(status.worktree or status.directory), status.id)
    return ended


def _undo_what_ran(ledger: Ledger, loop: LoopFolder, workspace: Workspace, status: Status) -> Row | None:
    """Put the files back to where the iteration under way began. Its row, where an agent or the baseline's evaluator
    ran in it."""
    number = ledger.newest(status.id) + 1
    over = frozenset(
        kind if run == 1 else f"{kind}-{run}" for kind, runs in status.runs_over.items() for run in range(1, runs + 1)
    )
    ran = {one.run.name for one in every_try(loop.iteration(number))} - over - {"setup"}
    if not ran:
        return None
    held = status.best if status.strategy == "optimize" else (status.base or status.baseline)
    base = held.snapshot if held is not None and held.snapshot else workspace.baseline
    taken = workspace.trailers(str(number))
    edits = number > 0 and bool(edits_under_way(loop, number))
    if edits and taken is not None:
        base = taken[0]  # what the user did stays
    captured_once(workspace, loop, f"{number}-left" if taken is not None else str(number))
    workspace.restore(base, keep=None, child_ran=False)
    spec = json.loads(ledger.spec(status.id) or "{}")
    if edits or "agent" not in spec or (number and not any(name.startswith("agent") for name in ran)):
        return None
    row = row_of(loop, workspace, spec, number, without=over)
    told = {
        "verdict": "crash" if number else "baseline",
        "reason": "cancelled before it was judged",
        "parent": held.iteration if held is not None and number else None,
        "agent": with_interrupted(row.agent, status.waits) if row.agent is not None else None,
        "waits": status.waits if row.agent is not None else [],
    }
    return row.model_copy(update=told)


def _counted(status: Status, row: Row) -> Status:
    """With the row in its counters. Pure."""
    counts = {**status.counts, row.verdict: status.counts.get(row.verdict, 0) + 1}
    cost, tokens = status.cost_usd, status.tokens
    if row.agent is not None:
        cost += (row.agent.cost_usd or 0.0) - sum(wait.cost_usd or 0.0 for wait in row.waits)
        tokens += (row.agent.tokens or 0) - sum(wait.tokens or 0 for wait in row.waits)
    counted = {"iteration": row.iteration, "counts": counts, "cost_usd": round(cost, 6), "tokens": tokens}
    return status.model_copy(update=counted)
