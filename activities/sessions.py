"""An agent's own session, with which its next run goes on (`--memory session`)."""

from __future__ import annotations

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
