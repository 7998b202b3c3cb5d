"""One iteration: what has run in it so far, and its row (agent_runs.py and evaluating.py run it)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from beatctl.activities.records import AgentRow, EvaluatorRow, Mark, Row, sum_of_steps, timestamp, with_interrupted
from beatctl.activities.run_evaluator import EvaluatorResult
from beatctl.workflows.state import PutOff
from beatctl.workflows.verdict import Judgement
from beatctl.workflows.waiting import Waiter


class Loop(Waiter, Protocol):
    """What an iteration needs of the loop that it is part of."""

    current: Experiment | None
    """The one that runs."""

    async def write(self, it: Experiment, parent: int | None, restore: str | None) -> None: ...


class Edited(Exception):
    """The user's files changed while no child ran: nothing was started.

    `accepted`: they were found after a `resume`, which takes them in. `when`: for the ledger.
    """

    def __init__(self, paths: list[str], *, accepted: bool = False, when: str = "between its steps") -> None:
        self.paths = paths
        self.accepted = accepted
        self.when = when


class Undecided(Exception):
    """While the agent waited for its turn, or for its limit's reset, something was asked for, or time or money ran out:
    nothing was started."""


@dataclass
class Experiment:
    """What has run in one iteration so far, and what it came to."""

    number: int
    started_at: float
    """By the machine's clock, for the row."""
    began: float | None = None
    """The same by the loop's own time, once an agent has run."""
    agents: list[AgentRow] = field(default_factory=list)
    evaluations: list[EvaluatorResult] = field(default_factory=list)
    summary: str = ""
    snapshot: str | None = None
    ref: str | None = None
    """The name the snapshot has below refs/beatctl: the iteration's number, or `12-step1`."""
    edits: bool = False
    """It holds the user's own edits, which nothing takes out of the work tree again."""
    running: bool = False
    """A child runs or is about to; while the loop is paused none has come to it."""
    touched: bool = False
    """A child has run since the work tree was last taken or put back."""
    written: Row | None = None
    """Its row, once it was judged and counted."""
    tree: str | None = None
    """That snapshot's content, see Row."""
    asides: list[str] = field(default_factory=list)
    """What the row says beside its verdict's reason."""
    changed: bool = False
    repaired: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Of the user's, those that were never sent before."""
    judgement: Judgement = field(default_factory=lambda: Judgement("crash", "interrupted", failure=True))
    runs: dict[str, int] = field(default_factory=dict)
    lefts: int = 0
    waited_s: float = 0.0
    """For turns, since it started: no part of how long it took."""

    def run_name(self, kind: str) -> str:
        """The next run's folder: `evaluator`, `evaluator-2`, …"""
        self.runs[kind] = self.runs.get(kind, 0) + 1
        return kind if self.runs[kind] == 1 else f"{kind}-{self.runs[kind]}"

    @property
    def name(self) -> str:
        return str(self.number)

    def not_run(self, kind: str) -> None:
        """Nothing has begun under the last name of this kind: the next run has it again."""
        self.runs[kind] -= 1

    def put_off(self) -> PutOff:
        return PutOff(iteration=self.number, runs={kind: n for kind, n in self.runs.items() if n}, lefts=self.lefts)

    def left(self) -> str:
        """A ref's name for what the next restore would lose, each its own: `12-left`, `12-left2`, …"""
        self.lefts += 1
        return f"{self.name}-left{self.lefts if self.lefts > 1 else ''}"

    def take(self, snapshot: str, ref: str, tree: str | None) -> None:
        """The work tree has been taken as this snapshot."""
        self.snapshot, self.ref, self.tree, self.touched = snapshot, ref, tree, False

    def row(self, loop: Loop, parent: int | None) -> Row:
        """The iteration as the ledger keeps it."""
        spec, judgement = loop.spec, self.judgement
        reasons = [judgement.reason] if judgement.reason else []
        if self.repaired:
            reasons.append(f"put back: {', '.join(self.repaired)}")
        reasons += self.asides
        evaluator = None
        if self.evaluations:
            last = self.evaluations[-1]
            code = last.exit_code if last.signal is None else -last.signal
            total = sum(run.duration_s for run in self.evaluations)
            evaluator = EvaluatorRow(exit_code=code, duration_s=round(total, 3))
        agent = sum_of_steps(self.agents, pipeline=bool(spec.steps))
        waits = loop.state.waits if agent is not None else []
        return Row(
            iteration=self.number,
            verdict=judgement.verdict,
            score=judgement.score,
            samples=[run.score for run in self.evaluations if run.score is not None],
            started_at=timestamp(self.started_at),
            duration_s=round(max(0.0, loop.time() - (self.began or self.started_at) - self.waited_s), 3),
            agent=with_interrupted(agent, waits) if agent is not None else None,
            evaluator=evaluator,
            snapshot=self.snapshot,
            tree=self.tree,
            repeat_of=parent if self.snapshot is not None and not self.changed else None,
            parent=parent,
            summary=self.summary[:2000],
            reason="; ".join(reasons)[:1000] or None,
            logs=f"runs/{self.number}",
            metrics=self.evaluations[-1].metrics if self.evaluations else {},
            waits=list(waits),
            notes=self.notes,
        )


def begun(loop: Loop) -> Experiment:
    """The next iteration, or again the one that was put off: what has run in it is not taken for what is to run."""
    state = loop.state
    it = Experiment(state.iteration + 1, loop.time(), runs=dict(state.runs_over))
    before, state.put_off = state.put_off, None
    if before is not None and before.iteration == it.number:
        it.runs, it.lefts = before.runs | state.runs_over, before.lefts
    return it


def mark(it: Experiment) -> Mark:
    """The experiment as something to go on from."""
    return Mark(iteration=it.number, score=it.judgement.score, snapshot=it.snapshot)
