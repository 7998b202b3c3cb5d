"""What the ledger holds of a loop: its rows, one an iteration, and its latest status.

These models are what `show --json` and `status --json` print. How their fields may change is told in ledger.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel

from beatctl.activities.sessions import Session

Verdict = Literal["baseline", "pass", "fail", "keep", "discard", "inconclusive", "crash", "timeout", "tampered"]
State = Literal["running", "paused", "waiting", "finished"]
Outcome = Literal["reached", "improved", "unchanged", "failed", "cancelled"]


def timestamp(seconds: float) -> str:
    """ISO 8601 in UTC with milliseconds, as every time in JSON output."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class AgentRow(BaseModel):
    """What an iteration's agent run (in a pipeline: all of them together) was and cost."""

    name: str
    version: str | None = None
    model: str | None = None
    exit_code: int | None = None
    session_id: str | None = None
    cost_usd: float | None = None
    cost_estimated: bool = False
    """Some of the cost is the tokens' by the price table, not the agent's own figure."""
    tokens: int | None = None
    input_tokens: int | None = None
    """What was sent, cached or not, by runs that no limit interrupted; null where the agent does not tell it apart."""
    output_tokens: int | None = None
    duration_s: float = 0.0
    adopted: bool = False
    lost: int = 0
    """Tries that died with their shim before this one; the workspace was restored before each new try."""
    steps: list[AgentRow] | None = None
    """A pipeline's runs, one a step; null elsewhere."""


class Wait(BaseModel):
    """A wait for a limit's reset, which is no iteration: the agent is run again after it."""

    agent: str
    reason: Literal["rate-limit", "overloaded"]
    error: str = ""
    """What the agent said of the limit."""
    since: str
    until: str
    """When it was to end."""
    waited_s: float = 0.0
    """How long it was: less than planned where the user ended it, 0 where another agent took over."""
    cost_usd: float | None = None
    """Of the run that the limit interrupted; in its iteration's cost, too."""
    cost_estimated: bool = False
    tokens: int | None = None


class EvaluatorRow(BaseModel):
    exit_code: int | None = None
    duration_s: float = 0.0


class Row(BaseModel):
    """One iteration in the ledger, as `show --json` prints it."""

    iteration: int
    verdict: Verdict
    score: float | None = None
    samples: list[float] = []
    started_at: str
    duration_s: float
    agent: AgentRow | None = None
    evaluator: EvaluatorRow | None = None
    snapshot: str | None = None
    tree: str | None = None
    """What git calls the snapshot's content: the same for the same files."""
    repeat_of: int | None = None
    """The earliest experiment (0: the baseline) with the same files; where it changed nothing, its parent."""
    parent: int | None = None
    summary: str = ""
    reason: str | None = None
    logs: str | None = None
    metrics: dict[str, float] = {}
    waits: list[Wait] = []
    """For limits, before its agent runs came through."""
    notes: list[str] = []
    """The user's notes that this iteration's prompt was the first to carry."""


def sum_of_steps(runs: list[AgentRow], *, pipeline: bool) -> AgentRow | None:
    """An iteration's agent row: its one run, or a pipeline's runs added up, with the steps."""
    if not runs:
        return None
    if not pipeline:
        return runs[0]
    costs = [run.cost_usd for run in runs if run.cost_usd is not None]
    tokens = [run.tokens for run in runs if run.tokens is not None]
    return AgentRow(
        name=", ".join(dict.fromkeys(run.name for run in runs)),
        version=runs[-1].version,
        model=runs[-1].model,
        exit_code=runs[-1].exit_code,
        session_id=runs[-1].session_id,
        cost_usd=round(sum(costs), 6) if costs else None,
        cost_estimated=any(run.cost_estimated for run in runs),
        tokens=sum(tokens) if tokens else None,
        input_tokens=_sum_of_all([run.input_tokens for run in runs]),
        output_tokens=_sum_of_all([run.output_tokens for run in runs]),
        duration_s=round(sum(run.duration_s for run in runs), 3),
        adopted=any(run.adopted for run in runs),
        lost=sum(run.lost for run in runs),
        steps=runs,
    )


def _sum_of_all(told: list[int | None]) -> int | None:
    """None where one is not told: half a sum would mislead."""
    known = [one for one in told if one is not None]
    return sum(known) if len(known) == len(told) else None


def with_interrupted(agent: AgentRow, waits: list[Wait]) -> AgentRow:
    """An iteration's agent row with what the runs cost that a limit interrupted before."""
    costs = [wait.cost_usd for wait in waits if wait.cost_usd is not None]
    tokens = [wait.tokens for wait in waits if wait.tokens is not None]
    changes: dict[str, Any] = {}
    if costs:
        changes["cost_usd"] = round((agent.cost_usd or 0.0) + sum(costs), 6)
        changes["cost_estimated"] = agent.cost_estimated or any(wait.cost_estimated for wait in waits)
    if tokens:
        changes["tokens"] = (agent.tokens or 0) + sum(tokens)
    return agent.model_copy(update=changes)


class Experiment(BaseModel):
    """What a prompt tells of a row."""

    iteration: int
    verdict: str
    score: float | None = None
    summary: str = ""
    reason: str | None = None
    parent: int | None = None
    repeat_of: int | None = None


class Note(BaseModel):
    """What the user told the agent on the way."""

    text: str
    at: str
    """When it was given."""
    iteration: int | None = None
    """The first whose prompt carries it; null: the next will."""


class Pause(BaseModel):
    """A pause, for whoever looks back."""

    reason: str
    after: int
    """The latest iteration then."""
    since: str
    until: str | None = None
    """null: it lasts, or the loop ended in it."""


MOST_PAUSES = 50
"""The newest are kept."""


def with_pause(pauses: Sequence[Pause], reason: str, after: int, since: str) -> list[Pause]:
    """`pauses` and one more that begins; what was open gives way to it."""
    return [*pauses_over(pauses, since), Pause(reason=reason, after=after, since=since)][-MOST_PAUSES:]


def pauses_over(pauses: Sequence[Pause], at: str) -> list[Pause]:
    """`pauses` once the loop goes on."""
    return [one if one.until else one.model_copy(update={"until": at}) for one in pauses]


class Mark(BaseModel):
    """An iteration that counts: the baseline, or the best."""

    iteration: int
    score: float | None = None
    snapshot: str | None = None


class Push(BaseModel):
    """How a loop's branch was pushed to the repository that it was started from."""

    state: Literal["pushed", "failed", "nothing"]
    """`nothing`: there was nothing to push."""
    branch: str | None = None
    commit: str | None = None
    kept: int = 0
    """Experiments that were kept by then."""
    detail: str = ""
    """Why it was not pushed, git's words included."""
    at: str


class Status(BaseModel):
    """A loop's status object, as `status --json` prints it."""

    id: str
    goal: str
    strategy: Literal["retry", "optimize"]
    state: State
    outcome: Outcome | None = None
    reason: str | None = None
    iteration: int = 0
    failures: int = 0
    baseline: Mark | None = None
    best: Mark | None = None
    cost_usd: float = 0.0
    tokens: int = 0
    elapsed_s: float = 0.0
    ui_url: str | None = None
    directory: str
    # Beyond the promised fields.
    asked: Literal["pause", "stop", "cancel"] | None = None
    """Asked for, and not yet done."""
    detail: str = ""
    """The pause's or the end's reason in a sentence."""
    now: str = ""
    """What the loop is doing at this moment."""
    waiting_until: str | None = None
    """When the wait for a limit's reset ends."""
    fallback_until: str | None = None
    """While the fallback works: when the loop's own agent is back."""
    cost_estimated: bool = False
    """Some of the cost is the tokens' by the price table."""
    direction: Literal["minimize", "maximize"] | None = None
    agent: str = ""
    limits: dict[str, Any] = {}
    kept: int = 0
    counts: dict[str, int] = {}
    """Rows by verdict."""
    started_at: str | None = None
    ended_at: str | None = None
    worktree: str = ""
    """The workspace's root: the repository's top level, or the folder itself."""
    origin: str | None = None
    """Where `worktree` is a git worktree made for the loop: the top level of the folder it was made from."""
    branch: str | None = None
    """That worktree's branch; for a loop in the user's folder the one `apply` makes."""
    repo: str | None = None
    """The URL of the repository that `worktree` is a clone of, made for the loop."""
    ref: str | None = None
    """The branch, tag or commit of it that the loop began with."""
    push: Push | None = None
    """What became of its branch there; null before the end, and until it was tried."""
    connection: str = "embedded"
    """`embedded`, or `address/namespace` of a shared Temporal server."""
    host: str | None = None
    """The host that its files are on, and its worker."""
    schedule: str | None = None
    """The schedule that started it."""
    waiting_for: str | None = None
    """What it lacks to go on, as commands find it: `no worker on build-2 since 03:12`."""
    away_since: str | None = None
    """Since when no worker of its host asks for work, as far as the server can tell."""
    queued: bool = False
    """Its host is to start it and has not yet."""
    partial: bool = False
    """Known from the Temporal server alone, its host being away: its counters and scores are not."""
    base: Mark | None = None
    """What the folder holds between iterations: where the next one starts."""
    edit_rows: int = 0
    """Rows that hold the user's own edits; they don't count as iterations."""
    idle_s: float = 0.0
    """Between an end and going on, in all: no part of `elapsed_s`."""
    notes: list[Note] = []
    """What the user told the agent, oldest first: every prompt carries them."""
    pauses: list[Pause] = []
    """Oldest first."""
    warnings: list[str] = []
    """What of the folder could not be protected, in sentences."""
    sessions: list[Session] = []
    """With `--memory session`: those that the agents' next runs go on with."""
    waits: list[Wait] = []
    """For limits, since the last row."""
    runs_over: dict[str, int] = {}
    """Of the iteration under way: agent runs, by kind, that a limit, a missing login or the like has ended."""
    notify_problems: list[str] = []
    """Where its latest message could not be sent to; `status` adds it, it is not in the ledger."""
    version: int = 0
    """Grows with each change; an older status never replaces a newer one."""
