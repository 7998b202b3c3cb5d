"""The agent runs of one iteration: limits waited out, sessions gone on with, each step's work taken as a snapshot."""

from __future__ import annotations

from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.prompt import Standing
from beatctl.activities.records import AgentRow
from beatctl.activities.run_agent import AgentResult
from beatctl.activities.sessions import Session
from beatctl.workflows.calls import heed_cancel
from beatctl.workflows.iteration import Edited, Experiment, Loop, Undecided
from beatctl.workflows.notes import hand_out, take_back
from beatctl.workflows.sessions import keep_session, refuse_session, session_of
from beatctl.workflows.spec import LoopSpec
from beatctl.workflows.state import LoopState
from beatctl.workflows.stopping import spent
from beatctl.workflows.verdict import Judgement, judge_agent
from beatctl.workflows.waiting import wait_for_reset


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
            state.came_through(spec, agent)
            for aside in (keep_session(spec, state, agent.name, told, result), _prompt_words(result)):
                if aside is not None and aside not in it.asides:
                    it.asides.append(aside)
            return agent, result
        take_back(it, new_notes)
        if result.status not in ("unstarted", "edited"):
            state.runs_over[kind] = it.runs[kind]
        if result.status == "unstarted":
            it.not_run(kind)
            state.version = max(state.version, result.known_version)
            heed_cancel()
            raise Undecided
        if result.status == "edited":
            raise Edited(result.edits)
        held = it.snapshot or (state.base.snapshot if state.base else None)
        if held is not None:
            await loop.calls.restore(held, it.left())  # what it did before it failed is not the user's
        if result.status in ("rate-limited", "overloaded"):
            edits = await wait_for_reset(loop, agent, result)
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
        input_tokens=result.input_tokens,
        output_tokens=result.output_tokens,
        duration_s=result.duration_s,
        adopted=result.adopted,
        lost=result.lost,
    )
