"""The machine's clock is moved: what the product does with the wall clock, asked directly."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.home import Home
from beatctl.activities.records import Status
from beatctl.activities.workspace import Workspace
from beatctl.activities.workspace.files import write_note
from beatctl.activities.workspace.state import State
from beatctl.cli.loops import as_of_now
from beatctl.workflows.spec import Limits, LoopSpec
from beatctl.workflows.state import LoopState
from beatctl.workflows.stopping import reason_to_end

START = 1_800_000_000.0


def a_loop(**limits: float) -> LoopState:
    return LoopState(limits=Limits.model_validate({"max_iterations": 0, **limits}), started_at=START)


def test_a_clock_that_is_set_back_gives_a_night_no_more_time() -> None:
    state = a_loop(for_s=3600.0)
    assert state.elapsed(state.time(START + 1800)) == 1800
    # Set back by two hours, twice; the time between counts on.
    assert state.elapsed(state.time(START - 5400)) == 1800
    assert state.elapsed(state.time(START - 4800)) == 2400
    assert state.elapsed(state.time(START - 12000)) == 2400
    now = state.time(START - 10800)
    assert state.elapsed(now) == 3600
    assert state.ends_at() == START - 10800  # by the clock as it is set now
    again = LoopState.model_validate_json(state.model_dump_json())  # as continue-as-new carries it
    assert again.elapsed(again.time(START - 10700)) == 3700


def test_a_time_limit_ends_the_loop_also_after_the_clock_was_set_back() -> None:
    state, agent = a_loop(for_s=3600.0), AgentSpec(kind="command", name="true", argv=["true"])
    words = {"goal": "g", "strategy": "retry", "evaluator": "true", "directory": "/d", "worktree": "/d"}
    spec = LoopSpec.model_validate({"id": "k3f9", **words, "agent": agent, "limits": state.limits})
    assert reason_to_end(state.progress(spec, state.time(START + 3599)), state.limits) is None
    assert reason_to_end(state.progress(spec, state.time(START - 86400)), state.limits) is None
    assert reason_to_end(state.progress(spec, state.time(START - 86398)), state.limits) == "max-duration"


def test_a_loop_that_runs_is_never_shown_younger_than_it_was() -> None:
    ahead = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + 7200))
    fields = {"id": "k3f9", "goal": "g", "strategy": "retry", "state": "running", "directory": "/d"}
    status = Status.model_validate({**fields, "started_at": ahead, "elapsed_s": 90.0})
    assert as_of_now(status).elapsed_s == 90.0


def test_an_edit_is_seen_although_the_clock_was_set_back_since_the_last_restore(place: Path) -> None:
    folder, root = Home(place / "home").create().loop("k3f9"), place / "work"
    root.mkdir()
    (root / "n").write_text("50\n")
    workspace = Workspace.open(folder, root)
    (root / "n").write_text("40\n")
    workspace.restore(workspace.baseline, None)
    state = State.read(folder.workspace)
    assert state is not None
    for ahead in (3600.0, 86400.0):
        state.number, state.restored_at = state.number + 1, time.time() + ahead
        write_note(folder.workspace / f"state-{state.number % 2}", asdict(state))
        (root / "n").write_text(f"{ahead}\n")
        assert Workspace.load(folder).edits(restored_s=0.1) == ["n"]
