"""Which session an agent's next run goes on with."""

from __future__ import annotations

from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.records import Mark, Status
from beatctl.activities.run_agent import AgentResult
from beatctl.activities.sessions import Session, Spent, spent_by
from beatctl.workflows import notes
from beatctl.workflows.agent_runs import standing
from beatctl.workflows.going_on import caught_up
from beatctl.workflows.sessions import keep_session, refuse_session, session_of
from beatctl.workflows.spec import Limits, LoopSpec
from beatctl.workflows.state import LoopState

SPEC = LoopSpec(
    id="k3f9",
    goal="lower n",
    strategy="optimize",
    evaluator="cat n",
    memory="session",
    agent=AgentSpec(kind="claude", name="claude", argv=["claude"]),
    fallback=AgentSpec(kind="codex", name="codex", argv=["codex"]),
    directory="/w",
    worktree="/w",
)


class Night:
    """A loop's agent runs, one an iteration."""

    def __init__(self, spec: LoopSpec = SPEC) -> None:
        self.spec = spec
        self.state = LoopState(limits=Limits(), started_at=0.0, baseline=Mark(iteration=0, score=50.0))
        self.asides: list[str | None] = []

    def run(self, agent: str = "claude", session_id: str | None = "s-1", status: str = "done") -> int | None:
        """The iteration whose session it went on with."""
        number = self.state.iteration + 1
        told = standing(self.spec, self.state, number, 1, session_of(self.spec, self.state, agent, 1))
        result = AgentResult.model_validate({"status": status, "session_id": session_id})
        self.asides.append(keep_session(self.spec, self.state, agent, told, result))
        self.state.iteration = number
        return told.resumes


def test_a_run_goes_on_with_the_last_one_of_the_same_agent_whoever_stood_in_for_it() -> None:
    night = Night()
    assert [night.run(), night.run(), night.run("codex", "c-1"), night.run(), night.run("codex", "c-1")] == [
        *(None, 1, None, 2, 3)
    ]
    assert night.asides == [None, None, "a new session was begun: codex had none in this loop", None, None]


def test_what_failed_or_told_no_session_is_begun_anew_and_the_ledger_says_why() -> None:
    night = Night()
    night.run(status="failed")
    assert night.run(session_id=None) is None
    assert night.run() is None
    assert night.run(status="timeout", session_id=None) == 3
    assert night.run() == 4
    assert night.asides == [
        None,
        "a new session was begun: the last one ended in a failure",
        "a new session was begun: claude did not tell its last one",
        None,
        None,
    ]


def test_a_refused_session_is_replaced_by_a_new_one() -> None:
    night = Night()
    night.run()
    session = session_of(SPEC, night.state, "claude", 1)
    assert session is not None
    refuse_session(session, AgentResult(status="session-refused", error="claude knows no s-1"))
    assert night.run(session_id="s-2") is None
    assert night.asides[1] == "a new session was begun: claude knows no s-1"
    assert night.run() == 2


def test_other_memories_have_no_session() -> None:
    night = Night(SPEC.model_copy(update={"memory": "ledger"}))
    assert [night.run(), night.run()] == [None, None]
    assert (night.state.sessions, night.asides) == ([], [None, None])


def test_a_session_is_told_each_note_once_and_of_those_that_were_taken_back() -> None:
    night = Night()
    notes.add(night.state, "try x", 1.0)
    night.run()
    notes.add(night.state, "try y", 2.0)
    told = standing(SPEC, night.state, 2, 1, session_of(SPEC, night.state, "claude", 1))
    assert (told.notes, told.notes_told, told.notes_taken_back) == (2, 1, False)
    notes.clear(night.state)
    notes.add(night.state, "try z", 3.0)
    told = standing(SPEC, night.state, 2, 1, session_of(SPEC, night.state, "claude", 1))
    assert (told.notes, told.notes_told, told.notes_taken_back) == (1, 0, True)


def test_what_an_agent_tells_of_a_whole_session_is_counted_once() -> None:
    first = spent_by(None, 0.5, 240, whole=True)
    assert first == Spent(0.5, 240, 0.5, 240)
    session = Session(
        agent="codex", id="c-1", iteration=1, tokens=first.session_tokens, cost_usd=first.session_cost_usd
    )
    assert spent_by(session, 0.75, 360, whole=True) == Spent(0.25, 120, 0.75, 360)
    assert spent_by(session, None, None, whole=True) == Spent(None, None, 0.5, 240)
    assert spent_by(session, 0.25, 120, whole=False) == Spent(0.25, 120, 0.0, 0)


def test_sessions_outlive_the_server() -> None:
    night = Night()
    night.run()
    status: Status = night.state.status(SPEC, 5.0)
    again = caught_up(Status.model_validate_json(status.model_dump_json()), 9.0, 3)
    assert again.sessions == [Session(agent="claude", id="s-1", iteration=1)]
