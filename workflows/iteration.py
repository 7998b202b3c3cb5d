"""One iteration: agent runs, snapshot, check, evaluator, verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.ledger import AgentRow, EvaluatorRow, Mark, Row, sum_of_steps, timestamp, with_interrupted
from beatctl.activities.prompt import Standing
from beatctl.activities.run_agent import AgentResult
from beatctl.activities.run_evaluator import EvaluatorResult
from beatctl.activities.sessions import Session
from beatctl.workflows.calls import heed_cancel
from beatctl.workflows.notes import hand_out, take_back
from beatctl.workflows.sessions import keep_session, refuse_session, session_of
from beatctl.workflows.spec import LoopSpec
from beatctl.workflows.state import LoopState
from beatctl.workflows.stopping import spent
from beatctl.workflows.verdict import (
    Judgement,
    judge_agent,
    judge_check,
    judge_optimize,
    judge_retry,
    judge_unscored,
    score_of,
)
from beatctl.workflows.waiting import Waiter, wait_for_reset


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


async def run_agents(loop: Loop, it: Experiment) -> Judgement | None:
    """Run the agent (each step of a pipeline) and take its work as a snapshot. A verdict where it failed.

    Raises Edited when the user has changed files that nothing of the loop's was writing, Undecided.
    """
    spec = loop.spec
    steps = max(1, len(spec.steps))
    for step in range(1, steps + 1):
        if step > 1 and (ended := _spent(loop, it)) is not None:
            return _too_late(spec, ended, step)
        try:
            agent, result = await _run_agent(loop, it, step)
        except Undecided:
            if step == 1:
                raise
            return _too_late(spec, _spent(loop, it) or "max-duration", step)
        if step == 1:
            it.started_at = result.started_at or it.started_at
            it.began = loop.time() - result.duration_s
        else:
            it.waited_s += result.waited_s
        it.agents.append(_agent_row(agent, result))
        it.summary = result.summary or it.summary
        loop.doing(f"snapshot of #{it.number}")
        last = step == steps or result.status != "done"
        ref = it.name if last else f"{it.name}-step{step}"
        taken = await loop.calls.snapshot(ref, run=repr(result.started_at) if result.started_at else None)
        it.take(taken.snapshot, ref, taken.tree)
        it.changed = it.changed or taken.changed
        it.repaired += [what for what in taken.repaired if what not in it.repaired]
        failed = judge_agent(result)
        if failed is not None:
            return failed
    return None


def _spent(loop: Loop, it: Experiment) -> str | None:
    return spent(loop.state.progress(loop.spec, loop.time(), it.agents), loop.state.limits)


def _too_late(spec: LoopSpec, ended: str, step: int) -> Judgement:
    flag = "--for" if ended == "max-duration" else f"--{ended}"
    return Judgement("inconclusive" if spec.strategy == "optimize" else "fail", f"{flag} ended before step {step}")


async def _run_agent(loop: Loop, it: Experiment, step: int) -> tuple[AgentSpec, AgentResult]:
    """The step's run that came through, however many limits were waited out before it, and the agent that did it."""
    spec, state = loop.spec, loop.state
    while True:
        agent = state.agent(spec, loop.time() - state.set_back_s)
        words = f"{agent.name} step {step} of {len(spec.steps)}" if spec.steps else agent.name
        loop.doing(f"#{it.number} {words}")
        new_notes = await hand_out(loop, it)
        kind = "agent" if step == 1 else f"agent-step{step}"
        it.running = True
        session = session_of(spec, state, agent.name, step)
        told = standing(spec, state, it.number, step, session)
        result = await loop.calls.run_agent(
            agent,
            it.run_name(kind),
            state.limits.agent_timeout_s,
            told,
            session=session,
            as_of=state.version if step == 1 else None,  # a pipeline that has begun goes on
            not_after=state.ends_at(),
        )
        it.running = False
        if result.status in ("done", "failed", "timeout"):
            it.touched = True
            state.came_through(spec, agent.name)
            for aside in (keep_session(spec, state, agent.name, told, result), _prompt_words(result)):
                if aside is not None and aside not in it.asides:
                    it.asides.append(aside)
            return agent, result
        take_back(it, new_notes)
        if result.status == "unstarted":
            heed_cancel()
            raise Undecided
        if result.status == "edited":
            raise Edited(result.edits)
        held = it.snapshot or (state.base.snapshot if state.base else None)
        if held is not None:
            await loop.calls.restore(held, it.left())  # what it did before it failed is not the user's
        if result.status in ("rate-limited", "overloaded"):
            edits = await wait_for_reset(loop, agent.name, result)
            if it.agents:
                it.waited_s += state.waits[-1].waited_s
        elif result.status == "session-refused":
            assert session is not None
            refuse_session(session, result)
            edits = []
        else:
            reason = "agent-gone" if result.status == "missing" else "authentication"
            edits = await loop.pause(reason, result.error or f"{agent.name} could not be run")
        if edits:
            raise Edited(edits, accepted=True)
        if _spent(loop, it) is not None:
            raise Undecided


def _prompt_words(result: AgentResult) -> str | None:
    return f"{result.prompt_problem}: beatctl's own prompt was sent" if result.prompt_problem else None


def standing(spec: LoopSpec, state: LoopState, number: int, step: int, session: Session | None = None) -> Standing:
    """What the agent of iteration `number` is told of where the loop stands."""
    resumed = session if session is not None and session.id is not None else None
    return Standing(
        iteration=number,
        max_iterations=state.limits.max_iterations + state.edit_rows if state.limits.max_iterations else 0,
        step=step,
        baseline=state.baseline.score if state.baseline else None,
        best=state.best.score if state.best else None,
        best_iteration=state.best.iteration if state.best else None,
        target=state.limits.target,
        samples=spec.samples,
        notes=len(state.notes),
        resumes=resumed.iteration if resumed else None,
        notes_told=resumed.notes if resumed else 0,
        notes_taken_back=resumed.notes_taken_back if resumed else False,
    )


def _agent_row(agent: AgentSpec, result: AgentResult) -> AgentRow:
    return AgentRow(
        name=agent.name,
        version=result.version or agent.version,
        model=result.model or agent.model,
        exit_code=result.exit_code,
        session_id=result.session_id,
        cost_usd=result.cost_usd,
        cost_estimated=result.cost_estimated,
        tokens=result.tokens,
        duration_s=result.duration_s,
        adopted=result.adopted,
        lost=result.lost,
    )


async def run_check(loop: Loop, it: Experiment) -> Judgement | None:
    """Run `--check` on what lies in the work tree; a verdict where it refuses it."""
    if loop.spec.check is None:
        return None
    loop.doing(f"#{it.number} check")
    result = await _run_evaluator(loop, it, "check", loop.spec.check, scored=False)
    return judge_check(result, loop.spec.strategy)


async def measure(loop: Loop, it: Experiment, kind: str = "evaluator") -> list[EvaluatorResult]:
    """Run the evaluator as many times as samples are wanted, and no more once one has decided."""
    spec = loop.spec
    runs: list[EvaluatorResult] = []
    for sample in range(1, spec.samples + 1):
        of = f" {sample} of {spec.samples}" if spec.samples > 1 else ""
        loop.doing(f"#{it.number} {kind}{of}")
        scored = spec.strategy == "optimize"
        runs.append(await _run_evaluator(loop, it, kind, spec.evaluator, scored=scored))
        if scored and runs[-1].score is None:
            break
        if not scored and judge_retry(runs, spec.samples) is not None:
            break
    return runs


async def _run_evaluator(loop: Loop, it: Experiment, kind: str, command: str, *, scored: bool) -> EvaluatorResult:
    """Raises Edited when the user has changed files while it waited for its turn."""
    limit = loop.state.limits.eval_timeout_s
    untouched = not it.touched and it.number > 0  # the baseline is taken when its turn has come
    it.running = True
    result = await loop.calls.run_evaluator(
        command, it.number, it.run_name(kind), limit, scored=scored, untouched=untouched
    )
    it.running = False
    it.waited_s += result.waited_s
    if not result.started:
        heed_cancel()
        raise Edited(result.edits, when="while it waited for its turn to be measured")
    it.touched = True
    return result


async def evaluate(loop: Loop, it: Experiment) -> Judgement:
    """Measure the snapshot in the work tree and judge it."""
    refused = await run_check(loop, it)
    if refused is not None:
        return refused
    if loop.spec.strategy == "retry":
        it.evaluations = await measure(loop, it)
        judged = judge_retry(it.evaluations, loop.spec.samples)
        assert judged is not None
        return judged
    return await _evaluate_score(loop, it)


async def _evaluate_score(loop: Loop, it: Experiment) -> Judgement:
    """Keep or discard by score. A candidate without one is told from a broken environment by scoring the best again."""
    spec, best = loop.spec, loop.state.best
    assert best is not None
    assert best.score is not None
    assert best.snapshot is not None
    assert spec.direction is not None
    while True:
        it.evaluations = await measure(loop, it)
        score = score_of(it.evaluations, spec.samples)
        if score is not None:
            return judge_optimize(score, best.score, spec.direction, changed=it.changed)
        unscored = judge_unscored(it.evaluations[-1])
        if not it.changed:
            again = it.evaluations
        else:
            await _put_back(loop, it, best.snapshot)
            again = await measure(loop, it, "best")
        if it.changed and score_of(again, spec.samples) is not None:
            return unscored
        await _put_back(loop, it, best.snapshot)
        detail = f"The evaluator gives the best version no score either ({again[-1].words()})."
        edits = await loop.pause("evaluator-broken", f"{detail} Mend it, then: beatctl resume {spec.id}")
        if edits:
            words = f"not judged, the evaluator was broken: {again[-1].words()}"
            return Judgement("inconclusive", words, edited=True)
        assert it.snapshot is not None
        await _put_back(loop, it, it.snapshot)


async def _put_back(loop: Loop, it: Experiment, snapshot: str) -> None:
    await loop.calls.restore(snapshot, it.left())
    it.touched = False


def mark(it: Experiment) -> Mark:
    """The experiment as something to go on from."""
    return Mark(iteration=it.number, score=it.judgement.score, snapshot=it.snapshot)
