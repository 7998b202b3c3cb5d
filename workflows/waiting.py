"""What a loop waits for: a person, the end of a cooldown, an agent's limit. Timers are durable: they outlive worker
and server."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from temporalio import workflow

from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.notify.happened import Event
from beatctl.activities.records import Wait, pauses_over, timestamp, with_pause
from beatctl.activities.run_agent import AgentResult
from beatctl.workflows.agent_limits import Limit, is_over_at, is_worth_telling, words
from beatctl.workflows.calls import Behind, Calls, heed_cancel
from beatctl.workflows.spec import LoopSpec
from beatctl.workflows.state import LoopState
from beatctl.workflows.stopping import cooldown_s, reason_to_end, spent

_ON_RECORD = timedelta(milliseconds=1)


class Waiter(Protocol):
    """What waiting needs of the loop."""

    spec: LoopSpec
    state: LoopState
    calls: Calls
    resumed: bool
    """`resume` was asked for since the wait began."""
    limits_changed: bool
    behind: bool
    """The ledger knows more, as the worker says."""

    def changed(self) -> None: ...
    def doing(self, now: str) -> None: ...
    async def pause(self, reason: str, detail: str) -> list[str]: ...
    def time(self) -> float: ...
    def tell(self, event: Event) -> None: ...


class Stopped(Exception):
    """`stop` was asked for while the loop waited."""


async def pause(loop: Waiter, reason: str, detail: str) -> list[str]:
    """Wait until resumed, where no child has run since the work tree was last known.

    Returns what the user has edited meanwhile; raises Stopped.
    """
    await wait_for_resume(loop, reason, detail)
    edits = await loop.calls.find_edits()
    if edits:
        # Local activities are on record only when the workflow task ends. Were these edits taken in within the same one
        # and the worker killed, the look for them would be repeated and find none any more.
        await workflow.sleep(_ON_RECORD)
    return edits


async def wait_for_resume(loop: Waiter, reason: str, detail: str) -> None:
    """Wait until resumed. Raises Stopped."""
    heed_cancel()
    state = loop.state
    state.state, state.reason, state.detail = "paused", reason, detail
    state.pauses = with_pause(state.pauses, reason, state.iteration, timestamp(_clock(loop)))
    if state.asked == "pause":
        state.asked = None
    loop.resumed = False
    loop.changed()
    loop.tell("pause")
    await workflow.wait_condition(lambda: loop.resumed or state.asked == "stop" or loop.behind)
    _heed_ledger(loop)
    state.pauses = pauses_over(state.pauses, timestamp(_clock(loop)))
    if state.asked == "stop":
        raise Stopped
    state.state, state.reason, state.detail = "running", None, ""
    loop.changed()


async def cool_down(loop: Waiter) -> None:
    """The pause between iterations; `pause`, `stop` and changed limits are heard meanwhile."""
    state = loop.state
    start = loop.time()
    while True:
        wait_s = start + cooldown_s(state.limits, state.elapsed(start)) - loop.time()
        if wait_s <= 0:
            state.cooled = True
            return
        loop.doing(f"cooling down for {wait_s:.3g} s")
        loop.limits_changed = False
        try:
            await workflow.wait_condition(
                lambda: loop.limits_changed or state.asked is not None,
                timeout=timedelta(seconds=wait_s),
                timeout_summary="cooldown",
            )
        except TimeoutError:
            continue
        if state.asked is not None:
            return
        over = reason_to_end(state.progress(loop.spec, loop.time()), state.limits) is not None
        if over and workflow.patched("changed-limits-end-a-cooldown"):
            return


async def wait_for_reset(loop: Waiter, agent: AgentSpec, result: AgentResult) -> list[str]:
    """Wait until the limit that ended this agent run is over, or, where the loop has another agent for that time, not
    at all. Nothing of the run lies in the work tree any more.

    `resume` ends the wait, the end of `--for` does, and `pause` becomes one. Returns what the user has edited while the
    loop was paused; raises Stopped.
    """
    spec, state = loop.spec, loop.state
    limit: Limit = "rate-limit" if result.status == "rate-limited" else "overloaded"
    now = _clock(loop)
    tries = state.met_limit(spec, agent)
    until = is_over_at(limit, result.reset_at, now, tries, spec.limit_margin_s)
    why = words(agent.name, limit, result.error or "")
    wait = Wait(
        agent=agent.name,
        reason=limit,
        error=why[:500],
        since=timestamp(now),
        until=timestamp(until),
        cost_usd=result.cost_usd,
        cost_estimated=result.cost_estimated,
        tokens=result.tokens,
    )
    state.take_wait(wait, estimated=result.cost_estimated)
    if spec.fallback is not None:
        if agent is spec.agent:
            state.away_until = until
            loop.changed()
            return []
        until = min(until, state.away_until or until)
    try:
        return await _wait(loop, limit, why, until, tell=is_worth_telling(tries, until - now))
    finally:
        wait.waited_s = round(max(0.0, _clock(loop) - now), 3)


async def _wait(loop: Waiter, limit: Limit, why: str, until: float, *, tell: bool) -> list[str]:
    state = loop.state
    loop.resumed = False
    try:
        while not loop.resumed:
            heed_cancel()
            ends_at = state.ends_at()
            left = min(until, ends_at if ends_at is not None else until) - _clock(loop)
            if left <= 0 or spent(state.progress(loop.spec, loop.time()), state.limits) is not None:
                break
            state.state, state.reason, state.detail = "waiting", limit, why
            state.waiting_until = timestamp(until)
            state.now = f"waiting until {timestamp(until)}"
            loop.limits_changed = False
            loop.changed()
            if tell:
                loop.tell("waiting")
                tell = False
            try:
                await workflow.wait_condition(
                    lambda: loop.resumed or loop.limits_changed or state.asked is not None or loop.behind,
                    timeout=timedelta(seconds=left),
                    timeout_summary=limit,
                )
            except TimeoutError:
                continue
            _heed_ledger(loop)
            if state.asked == "stop":
                raise Stopped
            if state.asked == "pause":
                state.waiting_until = None
                return await loop.pause("asked", "")
    finally:
        state.waiting_until = None
    state.state, state.reason, state.detail = "running", None, ""
    loop.changed()
    return []


def _heed_ledger(loop: Waiter) -> None:
    if loop.behind:
        loop.behind = False
        raise Behind


def _clock(loop: Waiter) -> float:
    """The machine's clock, in which resets are told."""
    return loop.time() - loop.state.set_back_s
