"""An agent's own session, with which its next run goes on (`--memory session`)."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel


class Session(BaseModel):
    """What the next run of an agent, in a pipeline of the same step, goes on with."""

    agent: str
    """Its name."""
    step: int = 1
    id: str | None = None
    """None: the next run begins a new one."""
    why: str = ""
    """Where there is none: the reason, for the ledger."""
    iteration: int
    """The last that it took part in."""
    notes: int = 0
    """How many of the user's notes it has been told."""
    notes_taken_back: bool = False
    """The user has cleared notes that it was told."""
    tokens: int = 0
    """Where the agent tells what the whole session took and not each run: what it told last."""
    cost_usd: float = 0.0
    """As `tokens`."""


class Spent(NamedTuple):
    """Of a run, and of its whole session where the agent tells that."""

    cost_usd: float | None
    tokens: int | None
    session_cost_usd: float
    session_tokens: int


def spent_by(resumed: Session | None, cost_usd: float | None, tokens: int | None, *, whole: bool) -> Spent:
    """What a run spent, from what was told. `resumed`: the session it went on with; `whole`: what its agent tells is
    the session's, all runs before included."""
    if not whole:
        return Spent(cost_usd, tokens, 0.0, 0)
    had_cost, had_tokens = (resumed.cost_usd, resumed.tokens) if resumed is not None else (0.0, 0)
    return Spent(
        round(max(0.0, cost_usd - had_cost), 6) if cost_usd is not None else None,
        max(0, tokens - had_tokens) if tokens is not None else None,
        cost_usd if cost_usd is not None else had_cost,
        tokens if tokens is not None else had_tokens,
    )
