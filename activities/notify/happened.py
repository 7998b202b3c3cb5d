"""What a notification tells of: an event of a loop with the figures of that moment."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel

from beatctl.activities.records import Mark, Outcome, State, Status

Event = Literal["finish", "failure", "pause", "waiting", "best"]
"""`finish`: the loop has ended, however; `failure`: it has ended as failed; `waiting`: for a limit's reset."""
EVENTS: tuple[Event, ...] = get_args(Event)

_GOAL = 200
_DETAIL = 800


class Happened(BaseModel):
    """One event, as it travels to the activity: small, since the history keeps it. None of it is secret."""

    event: Event
    loop: str
    goal: str
    """Its first line, cut."""
    strategy: Literal["retry", "optimize"]
    state: State
    outcome: Outcome | None = None
    reason: str | None = None
    detail: str = ""
    iteration: int = 0
    iterations: int = 0
    """Without rows of the user's own edits."""
    kept: int = 0
    baseline: Mark | None = None
    best: Mark | None = None
    direction: Literal["minimize", "maximize"] | None = None
    cost_usd: float = 0.0
    cost_estimated: bool = False
    tokens: int = 0
    elapsed_s: float = 0.0
    waiting_until: str | None = None
    """ISO 8601 in UTC."""
    agent: str = ""
    directory: str = ""
    branch: str | None = None
    ui_url: str | None = None
    host: str | None = None
    """Where it runs."""
    at: str
    """When, ISO 8601 in UTC."""


class NotifyInput(BaseModel):
    """An event to tell of."""

    loop: str
    id: str
    """The same for every try: what got through is not sent again."""
    happened: Happened | None = None
    """None: there is nothing to tell."""
    last: bool = False
    """The loop has ended: where its messages go is forgotten after this one."""


def happened(event: Event, status: Status, at: str) -> Happened:
    """The event of a loop that stands so. Pure."""
    first = status.goal.strip().partition("\n")[0]
    return Happened(
        event="failure" if event == "finish" and status.outcome == "failed" else event,
        loop=status.id,
        goal=_cut(first, _GOAL),
        strategy=status.strategy,
        state=status.state,
        outcome=status.outcome,
        reason=status.reason,
        detail=_cut(status.detail, _DETAIL),
        iteration=status.iteration,
        iterations=status.iteration - status.edit_rows,
        kept=status.kept,
        baseline=status.baseline,
        best=status.best,
        direction=status.direction,
        cost_usd=status.cost_usd,
        cost_estimated=status.cost_estimated,
        tokens=status.tokens,
        elapsed_s=status.elapsed_s,
        waiting_until=status.waiting_until,
        agent=status.agent,
        directory=status.directory,
        branch=status.branch,
        ui_url=status.ui_url,
        host=status.host,
        at=at,
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
