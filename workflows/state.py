"""A loop's state: what continue-as-new carries from one run of the chain to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel

from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.notify.happened import Event, NotifyInput
from beatctl.activities.records import AgentRow, Mark, Note, Outcome, Pause, Push, Row, State, Status, Wait, timestamp
from beatctl.activities.sessions import Session
from beatctl.workflows.spec import Limits, LoopSpec
from beatctl.workflows.stopping import Progress, Reason


class PutOff(BaseModel):
    """An iteration that was begun and judged by nobody: its limit was waited for, then something else came first."""

    iteration: int
    runs: dict[str, int]
    """How many runs of each kind have begun in it: those that follow have names of their own."""
    lefts: int
    """How many names were given to what was undone."""


class LoopState(BaseModel):
    """Counters, limits, best and pause. Times are unix seconds by the workflow's clock."""

    limits: Limits
    started_at: float
    idle_s: float = 0.0
    """Between an end and going on, in all: no part of the time that the loop took."""
    last_s: float = 0.0
    """The loop's own time when it was last asked for."""
    set_back_s: float = 0.0
    """By how much the machine's clock was set back since the loop began, in all."""
    state: State = "running"
    outcome: Outcome | None = None
    reason: str | None = None
    detail: str = ""
    asked: Literal["pause", "stop", "cancel"] | None = None
    now: str = ""
    opened: bool = False
    reopen: bool = False
    """It had ended and goes on: the folder is to be taken again."""
    caught_up: bool = False
    """It goes on from the ledger, whose status says something else until it is written."""
    taking_in: list[str] = []
    """The user's edits that were being measured when the server forgot it: they are the next row's."""
    runs_over: dict[str, int] = {}
    """Of the iteration under way: how many runs of the agent, by kind, were ended by a limit, a missing login or the
    like. What they told is taken in already."""
    iteration: int = 0
    """The last row's number."""
    edit_rows: int = 0
    """Rows that hold the user's own edits; they don't count as iterations."""
    failures: int = 0
    unchanged: int = 0
    since_keep: int = 0
    passed: bool = False
    baseline: Mark | None = None
    best: Mark | None = None
    base: Mark | None = None
    """What the work tree holds between iterations: where the next one starts."""
    first: str | None = None
    """The untouched workspace's snapshot."""
    last_words: str = ""
    """What the agent said last, for a pause that quotes it."""
    kept: int = 0
    counts: dict[str, int] = {}
    cost_usd: float = 0.0
    cost_estimated: bool = False
    tokens: int = 0
    waits: list[Wait] = []
    """For limits, since the last row that took some. What the runs they interrupted cost is counted."""
    waiting_until: str | None = None
    limited: dict[str, int] = {}
    """How often in a row the loop's agent (`agent`) and its `fallback` have met a limit: they may have one name."""
    away_until: float | None = None
    """When the agent's limit is over, while the fallback works."""
    ended_at: float | None = None
    warnings: list[str] = []
    put_off: PutOff | None = None
    cooled: bool = False
    """The cooldown before the next iteration is over."""
    pauses: list[Pause] = []
    notes: list[Note] = []
    sessions: list[Session] = []
    """With `--memory session`: what each agent's next run, in a pipeline of the same step, goes on with."""
    ticket: int = 0
    """Counts the loop's steps, so that one that was overtaken is known (activities/tickets.py)."""
    notes_kept: bool = True
    """Whether they are written where prompts are made."""
    notify: list[Event] | None = None
    """What the loop tells of from now on; none: what its specification says."""
    tellings: list[NotifyInput] = []
    """What is still to be told, the first under way."""
    best_told_at: float | None = None
    best_untold: bool = False
    """There is a best since then that nobody was told of."""
    push: Push | None = None
    """What became of the loop's branch at an earlier end."""
    version: int = 0

    def count(self, row: Row) -> None:
        """Take a concluded row into the counters."""
        self.iteration = max(self.iteration, row.iteration)
        self.runs_over = {}
        self.counts[row.verdict] = self.counts.get(row.verdict, 0) + 1
        if row.agent is not None:
            counted = sum(wait.cost_usd or 0.0 for wait in row.waits)
            self.cost_usd = round(self.cost_usd + (row.agent.cost_usd or 0.0) - counted, 6)
            self.cost_estimated = self.cost_estimated or row.agent.cost_estimated
            self.tokens += (row.agent.tokens or 0) - sum(wait.tokens or 0 for wait in row.waits)
        if row.waits:
            self.waits = []

    def take_wait(self, wait: Wait, *, estimated: bool) -> None:
        """A run was interrupted by a limit: what it cost is spent at once, and told by the iteration's row."""
        self.waits.append(wait)
        self.cost_usd = round(self.cost_usd + (wait.cost_usd or 0.0), 6)
        self.cost_estimated = self.cost_estimated or estimated
        self.tokens += wait.tokens or 0

    def agent(self, spec: LoopSpec, now: float) -> AgentSpec:
        """Who runs next: the loop's agent, or its fallback while that one's limit lasts. `now` by the machine's
        clock."""
        if spec.fallback is not None and self.away_until is not None and now < self.away_until:
            return spec.fallback
        return spec.agent

    def met_limit(self, spec: LoopSpec, agent: AgentSpec) -> int:
        """One of the loop's agents has met a limit: how often in a row by now."""
        which = _which(spec, agent)
        self.limited[which] = self.limited.get(which, 0) + 1
        return self.limited[which]

    def came_through(self, spec: LoopSpec, agent: AgentSpec) -> None:
        """One of the loop's agents has run without meeting a limit."""
        self.limited.pop(_which(spec, agent), None)
        if agent is spec.agent:
            self.away_until = None

    def time(self, clock: float) -> float:
        """The loop's own time, with the machine's clock at `clock`: where that was set back it goes on from where it
        was, so that no limit lasts longer. A clock that was set ahead cannot be told from time that has passed."""
        now = clock + self.set_back_s
        if now < self.last_s:
            self.set_back_s += self.last_s - now
            now = self.last_s
        self.last_s = now
        return now

    def elapsed(self, now: float) -> float:
        """Seconds that the loop has taken until `now`, waits included."""
        return now - self.started_at - self.idle_s

    def ends_at(self) -> float | None:
        """When `--for` is over, in unix seconds by the machine's clock."""
        return self.started_at + self.idle_s + self.limits.for_s - self.set_back_s if self.limits.for_s else None

    def progress(self, spec: LoopSpec, now: float, runs: Sequence[AgentRow] = ()) -> Progress:
        """What the decision to go on rests on. `runs`: those of the iteration that is under way."""
        return Progress(
            strategy=spec.strategy,
            direction=spec.direction,
            iterations=self.iteration - self.edit_rows,
            failures=self.failures,
            since_keep=self.since_keep,
            passed=self.passed,
            baseline=self.baseline.score if self.baseline else None,
            best=self.best.score if self.best else None,
            elapsed_s=self.elapsed(now),
            cost_usd=round(self.cost_usd + sum(run.cost_usd or 0.0 for run in runs), 6),
            tokens=self.tokens + sum(run.tokens or 0 for run in runs),
        )

    def status(self, spec: LoopSpec, now: float) -> Status:
        """The loop's status object at this moment."""
        agent = self.agent(spec, now - self.set_back_s)
        return Status(
            id=spec.id,
            goal=spec.goal,
            strategy=spec.strategy,
            state=self.state,
            outcome=self.outcome,
            reason=self.reason,
            iteration=self.iteration,
            failures=self.failures,
            baseline=self.baseline,
            best=self.best,
            cost_usd=self.cost_usd,
            tokens=self.tokens,
            elapsed_s=round(self.elapsed(self.ended_at or now), 3),
            ui_url=spec.ui_url,
            directory=spec.directory,
            asked=self.asked,
            detail=self.detail,
            now=self.now,
            waiting_until=self.waiting_until,
            cost_estimated=self.cost_estimated,
            direction=spec.direction,
            agent=agent.name,
            fallback_until=timestamp(self.away_until) if self.away_until and agent is spec.fallback else None,
            limits=self.limits.model_dump(),
            kept=self.kept,
            counts=self.counts,
            started_at=timestamp(self.started_at),
            ended_at=timestamp(self.ended_at) if self.ended_at else None,
            worktree=spec.worktree,
            origin=spec.origin,
            branch=spec.branch,
            repo=spec.repo,
            ref=spec.ref,
            push=self.push,
            connection=spec.connection,
            host=spec.host,
            schedule=spec.schedule,
            base=self.base,
            edit_rows=self.edit_rows,
            idle_s=self.idle_s,
            pauses=self.pauses,
            notes=[note.model_copy() for note in self.notes],
            warnings=self.warnings,
            sessions=[session.model_copy() for session in self.sessions],
            waits=list(self.waits),
            runs_over=dict(self.runs_over),
            version=self.version,
        )

    def end(self, reason: Reason, outcome: Outcome, detail: str, now: float) -> None:
        """The loop has ended."""
        self.state, self.outcome, self.reason, self.detail = "finished", outcome, reason, detail
        self.asked, self.now, self.ended_at = None, "", now


def _which(spec: LoopSpec, agent: AgentSpec) -> str:
    return "agent" if agent is spec.agent else "fallback"


class LoopInput(BaseModel):
    """What a run of the chain is given: the specification, and the state of the run before it."""

    spec: LoopSpec
    state: LoopState | None = None
