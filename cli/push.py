"""`push`: what a loop kept, as a branch in the repository that it was started from. The worker types it at the end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from beatctl.cli.arguments import Json, NamedLoop
from beatctl.cli.loops import Loops
from beatctl.cli.output import out
from beatctl.cli.problems import Problem, Unavailable, Usage
from beatctl.cli.view import print_status_json

if TYPE_CHECKING:
    from beatctl.activities.records import Push, Status


def push(loop: NamedLoop = None, as_json: Json = False) -> int:
    """Push a loop's branch to the repository it was started from.

    For a loop with --repo. It is done by itself at the end; this tries again. Never by force.
    """
    loops = Loops()
    status = push_loop(loops, loops.named(loop, "push"))
    if as_json:
        print_status_json(status)
        return 0
    done = status.push
    assert done is not None
    if done.state == "pushed":
        out(f"{status.id}: pushed {done.branch}, commit {(done.commit or '')[:10]}, to {status.repo}")
    else:
        out(f"{status.id}: {done.detail}")
    return 0


def push_loop(loops: Loops, status: Status) -> Status:
    """Make the branch where it is not made yet, and push it. Returns the status with what came of it, which is in the
    ledger then, also where this raises Problem (rejected), Unavailable (unreachable) or Usage."""
    from beatctl.activities.records import Push, timestamp

    if status.repo is None:
        raise Usage(f"Loop {status.id} was not started with --repo: beatctl apply {status.id} makes commits of it.")
    if status.state != "finished":
        raise Usage(f"Loop {status.id} is not over ({status.state}): its branch is pushed after its end.")
    at = timestamp(time.time())
    if not status.best or not status.best.iteration:
        return _noted(loops, status, Push(state="nothing", detail="It kept nothing: nothing was pushed.", at=at))
    branch = _branch(status)
    try:
        commit = _pushed(loops, status, branch)
    except Problem as problem:
        _noted(loops, status, Push(state="failed", branch=branch, kept=status.kept, detail=problem.text, at=at))
        raise
    return _noted(loops, status, Push(state="pushed", branch=branch, commit=commit, kept=status.kept, at=at))


def _branch(status: Status) -> str:
    """The branch's name; another for what was kept since an earlier one was made of it."""
    name, before = status.branch or f"beatctl/{status.id}", status.push
    if before is None or before.branch is None:
        return name
    if before.kept == status.kept:
        return before.branch
    return f"{name}-{status.kept}"


def _pushed(loops: Loops, status: Status, branch: str) -> str:
    """Raises Problem, Unavailable, Usage."""
    from beatctl.activities import repositories
    from beatctl.cli.apply import apply_loop

    clone = Path(status.worktree)
    if not clone.is_dir():
        raise Usage(f"{clone} is gone, where the branch of {status.id} was made.")
    if not repositories.has_branch(clone, branch):
        apply_loop(loops, status, branch=branch)
    try:
        return repositories.push(clone, status.repo or "", branch)
    except repositories.Rejected as said:
        raise Problem(f"{status.repo} did not take the branch {branch}: {said}. It is kept in {clone}.") from None
    except repositories.Unreachable as said:
        raise Unavailable(f"{status.repo} can't be reached: {said}. The branch {branch} is kept in {clone}.") from None


def _noted(loops: Loops, status: Status, done: Push) -> Status:
    """Write down what came of it; a loop that goes on meanwhile is left as it is."""
    told = status.model_copy(update={"push": done, "version": status.version + 1})
    loops.ledger.write(told)
    return told
