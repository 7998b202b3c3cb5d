"""Which of the agents' own sessions goes on (`--memory session`): one for each agent, in a pipeline for each step.

Pure, but for what it remembers in the state.
"""

from __future__ import annotations

from beatctl.activities.prompt import Standing
from beatctl.activities.run_agent import AgentResult
from beatctl.activities.sessions import Session
from beatctl.workflows.spec import LoopSpec
from beatctl.workflows.state import LoopState


def session_of(spec: LoopSpec, state: LoopState, agent: str, step: int) -> Session | None:
    """What is known of the session that this agent's next run goes on with; None before its first."""
    if spec.memory != "session":
        return None
    return next((one for one in state.sessions if (one.agent, one.step) == (agent, step)), None)


def refuse_session(session: Session, result: AgentResult) -> None:
    """The agent could not go on with it: the run is repeated with a new one."""
    session.id, session.why = None, (result.error or "the last one could not be resumed")[:200]


def keep_session(spec: LoopSpec, state: LoopState, agent: str, told: Standing, result: AgentResult) -> str | None:
    """Remember the session of a run that came through. Where it had to be a new one: why, for the ledger."""
    if spec.memory != "session":
        return None
    before = session_of(spec, state, agent, told.step)
    words = None
    if told.resumes is None and state.iteration > state.edit_rows:
        why = before.why if before is not None else f"{agent} had none in this loop"
        words = f"{f'step {told.step}: ' if spec.steps else ''}a new session was begun: {why}"
    found, why = result.session_id or (before.id if before is not None else None), ""
    if result.status == "failed":
        found, why = None, "the last one ended in a failure"  # one that can't be mended would fail for ever
    elif found is None:
        why = f"{agent} did not tell its last one"
    kept = Session(
        agent=agent,
        step=told.step,
        id=found,
        why=why,
        iteration=told.iteration,
        notes=told.notes,
        tokens=result.session_tokens,
        cost_usd=result.session_cost_usd,
    )
    state.sessions = [*(one for one in state.sessions if one is not before), kept]
    return words
