"""Going on with a loop that has ended: a new chain of workflow runs, which begins where the ledger says."""

from __future__ import annotations

from datetime import datetime

from beatctl.activities.records import Mark, Status, pauses_over, timestamp
from beatctl.workflows.edits import take_in
from beatctl.workflows.iteration import Loop
from beatctl.workflows.spec import Limits
from beatctl.workflows.state import LoopState


def state_after(status: Status, limits: Limits, now: float, ticket: int) -> LoopState:
    """The state a finished loop goes on with: what it has come to is kept, what is counted in a row begins anew.

    Pure. `status` as the loop ended with it; `now` in unix seconds; `ticket` the number of its last step.
    """
    started = _seconds(status.started_at, now)
    ended = _seconds(status.ended_at, now)
    return LoopState(
        limits=limits,
        started_at=started,
        idle_s=status.idle_s + max(0.0, now - ended),
        now="taking the folder again",
        opened=True,
        reopen=True,
        cooled=True,
        iteration=status.iteration,
        edit_rows=status.edit_rows,
        baseline=status.baseline,
        best=status.best,
        base=status.best if status.strategy == "optimize" else (status.base or status.baseline),
        first=status.baseline.snapshot if status.baseline else None,
        kept=status.kept,
        counts=dict(status.counts),
        cost_usd=status.cost_usd,
        tokens=status.tokens,
        warnings=list(status.warnings),
        sessions=[session.model_copy() for session in status.sessions],
        pauses=pauses_over(status.pauses, timestamp(now)),
        notes=[note.model_copy() for note in status.notes],
        notes_kept=not status.notes,
        push=status.push,
        version=status.version + 1,
        ticket=ticket,
    )


def caught_up(status: Status, now: float, ticket: int, *, opened: bool = True) -> LoopState:
    """The state of a loop that had not ended, from its ledger: what the server has of it is gone, or older.

    `opened`: the ledger has its baseline. Pure; as `state_after`, but nothing begins anew. How many iterations in a row
    changed nothing is not known any more.
    """
    state = state_after(status, Limits.model_validate(status.limits), now, ticket)
    state.reopen, state.caught_up, state.opened = False, True, opened
    if not opened:
        state.baseline = state.best = state.base = state.first = None
        state.cooled = False
    state.waits, state.runs_over = list(status.waits), dict(status.runs_over)
    state.idle_s, state.now = status.idle_s, "going on from the ledger"
    state.failures = status.failures
    if status.strategy == "retry":
        state.passed = status.best is not None
    elif status.best is not None:
        state.since_keep = status.iteration - status.best.iteration
    if status.asked in ("pause", "stop"):
        state.asked = status.asked
    elif status.state == "paused" and status.reason == "asked":
        state.asked = "pause"
    return state


def _seconds(timestamp: str | None, otherwise: float) -> float:
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else otherwise


async def reopen(loop: Loop) -> None:
    """Take the folder again: with the best in it, or, for a retry, as it is. Edits become a row of their own."""
    state = loop.state
    loop.changed()
    loop.doing("taking the folder again")
    wanted = state.base.snapshot if state.base is not None and loop.spec.strategy == "optimize" else None
    found = await loop.calls.reopen(wanted, state.iteration, f"{state.iteration}-found{state.version}")
    state.warnings += [warning for warning in found.warnings if warning not in state.warnings]
    if wanted is None:
        state.base = _mark_of(found.known, state)
    state.reopen = False
    if found.edits:
        await take_in(loop, found.edits)


def _mark_of(snapshot: str, state: LoopState) -> Mark:
    """Which row the folder holds: the last try, or after an undo the baseline."""
    for mark in (state.base, state.baseline):
        if mark is not None and mark.snapshot == snapshot:
            return mark
    return Mark(iteration=state.iteration, snapshot=snapshot)
