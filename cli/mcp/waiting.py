"""wait_for_loop: until something happens to a loop, for as long as clients let a call last."""

from __future__ import annotations

import time
from typing import Literal

from pydantic import Field

from beatctl.activities.records import Status
from beatctl.cli import render
from beatctl.cli.follow import Watch, paused_words
from beatctl.cli.mcp.bounds import bounded
from beatctl.cli.mcp.tool import Call, OfLoop, Result, Tool
from beatctl.cli.view import doing, why_idle

_POLL_S = 0.2
_PROGRESS_S = 5.0
_LINES = 20

Event = Literal["end", "pause", "limit", "best", "iteration"]


class WaitArguments(OfLoop):
    """What to wait for, and how long."""

    until: list[Event] = Field(
        ["end", "pause", "limit"],
        description="What to wait for: end; pause (it goes on after resume_loop alone); limit (it waits for an agent's "
        "rate limit to be over, then goes on by itself); best (a better score, or the pass); iteration (any verdict). "
        "The end is always waited for, and so is a pause, since nothing comes after it. Default: end, pause, limit.",
    )
    since: int | None = Field(
        None,
        ge=0,
        description="For best and iteration: what came after this iteration's number counts, also before the call. "
        "Default: the newest iteration now. Pass `loop.iteration` of the answer before to miss nothing.",
    )
    timeout_s: float = Field(
        50.0,
        ge=0,
        le=3600,
        description="Seconds to wait at most. Many clients end a call after 60: then call again instead.",
    )


class Waited(Result):
    """What came."""

    happened: Literal["end", "pause", "limit", "best", "iteration", "timeout"] = Field(
        description="What ended the waiting. timeout: nothing of that yet, the loop goes on: call again."
    )
    loop: Status = Field(description="The loop's status now.")
    experiments: list[str] = Field(description=f"A line for each iteration since, the newest {_LINES}, oldest first.")
    next: str = Field(description="What to do now.")


def wait_for_loop(call: Call, given: WaitArguments) -> Waited:
    """Wait until a loop ends, pauses, waits for a rate limit, has a better score or finishes an iteration, as `until`
    says; at most `timeout_s` seconds (default 50).

    Loops take minutes to hours. When `happened` is "timeout" the loop is still running: call this again. Waiting costs
    nothing, and the loop goes on whether anyone waits or not. Progress notifications tell the iteration and the best.
    """
    status = call.loops.find(given.loop, call.here)
    loop, since = status.id, status.iteration if given.since is None else given.since
    watch, progress = Watch(call.loops), _Progress(call)
    end = time.monotonic() + given.timeout_s
    while True:
        happened = _happened(status, given.until, since)
        if happened is not None or time.monotonic() > end or call.signals.came is not None:
            return _told(call, happened or "timeout", status, since)
        progress.tell(status)
        watch.look(status)
        time.sleep(_POLL_S)
        status = call.loops.status(loop)


def _happened(status: Status, until: list[Event], since: int) -> Event | None:
    """What of `until` is so. Pure."""
    if status.state == "finished":
        return "end"
    if status.state == "paused":
        return "pause"
    if "limit" in until and status.waiting_until:
        return "limit"
    if "best" in until and status.best is not None and status.best.iteration > since:
        return "best"
    return "iteration" if "iteration" in until and status.iteration > since else None


class _Progress:
    """Tells the client the iteration and the best, when they change and now and then."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._iteration = -1
        self._since = 0.0
        self._words = ""
        self._next = 0.0

    def tell(self, status: Status) -> None:
        now = time.monotonic()
        if status.iteration != self._iteration:
            self._iteration, self._since = status.iteration, now
        words = f"{render.state_word(status)}, iteration {_of_most(status)}, {render.best_words(status)}"
        if words == self._words and now < self._next:
            return
        self._words, self._next = words, now + _PROGRESS_S
        running = now - self._since
        # It has to grow with every notification: within an iteration by ever less.
        done = max(0, status.iteration) + running / (running + 60.0)
        most = render.last_allowed(status)
        what = doing(self._call.loops, status)
        self._call.progress(done, float(most) if most else None, f"{words}{f'; {what}' if what else ''}")


def _of_most(status: Status) -> str:
    most = render.last_allowed(status)
    return f"{status.iteration} of {most}" if most else str(status.iteration)


def _told(call: Call, happened: Literal[Event, "timeout"], status: Status, since: int) -> Waited:
    rows = call.loops.ledger.rows(status.id, after=since, newest_first=True, limit=_LINES)
    scores = {number: score for number, _, score in call.loops.ledger.course(status.id)}
    return Waited(
        happened=happened,
        loop=bounded(status),
        experiments=[render.row_line(row, render.parent_score(row, scores), columns=200) for row in reversed(rows)],
        next=_next(happened, status, why_idle(call.loops, status)),
    )


def _next(happened: str, status: Status, idle: str) -> str:
    """`idle`: why nothing goes on although it could, if so."""
    if happened == "end":
        head = render.ending_lines(status)[0]
        gained = status.outcome in ("reached", "improved") and status.iteration
        then = f" apply_loop {status.id} makes commits of it." if gained else ""
        return f"{head}. loop_report tells more, loop_diff what was changed.{then}"
    if happened == "pause":
        return paused_words(status)
    if happened == "limit":
        return f"{render.wait_words(status, time.time())}. It goes on by itself: call wait_for_loop again."
    if happened == "timeout" and idle:
        return f"{status.id} does not go on at the moment. {idle}"
    if happened == "timeout":
        return f"{status.id} is still {render.state_word(status)}: call wait_for_loop again."
    return f"{status.id} goes on: {render.best_words(status)}. Call wait_for_loop again for what comes next."


TOOLS = [Tool("Wait for a loop", WaitArguments, Waited, wait_for_loop, "reads")]
