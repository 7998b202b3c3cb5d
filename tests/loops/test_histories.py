"""Histories of earlier versions replay: loops that wait while beatctl is replaced go on afterwards.

`histories/N/` holds what one state of the workflow's code wrote (`make histories` records the next). A change that
fails here needs `workflow.patched`; CONTRIBUTING.md says how.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

from beatctl.worker.data_converter import data_converter
from beatctl.workflows.loop import LoopWorkflow
from tests.loops.changed_loops import CARELESS, LooksBehindAPatch
from tests.loops.record_histories import HISTORIES, KINDS

FILES = sorted(HISTORIES.glob("*/*.json.gz"))


def name_of(file: Path) -> str:
    return f"{file.parent.name}-{file.name.removesuffix('.json.gz')}"


@cache
def history(file: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json("beatctl-k3f9", gzip.decompress(file.read_bytes()).decode())


def problem(workflow: type[LoopWorkflow], files: list[Path]) -> dict[str, Exception | None]:
    """What went wrong with the replay of each history, by its name. Outside the sandbox, as loops really run."""
    replayer = Replayer(
        workflows=[workflow], data_converter=data_converter, workflow_runner=UnsandboxedWorkflowRunner()
    )

    async def replay() -> dict[str, Exception | None]:
        done = {}
        for file in files:
            result = await replayer.replay_workflow(history(file), raise_on_replay_failure=False)
            done[name_of(file)] = result.replay_failure
        return done

    return asyncio.run(replay())


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_loop_of_an_earlier_version_goes_on(file: Path) -> None:
    assert len(history(file).events) >= 15
    replayer = Replayer(workflows=[LoopWorkflow], data_converter=data_converter)
    asyncio.run(replayer.replay_workflow(history(file)))


def test_every_kind_of_loop_has_a_history() -> None:
    there = {file.name.removesuffix(".json.gz") for file in FILES}
    assert [kind for kind in KINDS if not {kind, f"{kind}-last"} & there] == []


@pytest.mark.parametrize("careless", CARELESS, ids=lambda careless: careless.__name__)
def test_a_change_that_is_not_behind_a_patch_fails_every_history_that_comes_to_it(careless: type[LoopWorkflow]) -> None:
    found = problem(careless, FILES)
    broken = {name for name, error in found.items() if error is not None}
    assert broken == {name_of(file) for file in FILES if CARELESS[careless](has(file))}
    assert broken
    assert all(is_for_another_sequence(error) for error in found.values() if error is not None), found


def is_for_another_sequence(error: Exception) -> bool:
    """Whether a replay failed since the history has other commands; an answer taken for another activity's has not the
    shape that is read."""
    told = str(error)
    return isinstance(error, NondeterminismError) or "NonDeterministicError" in told or "Failed decoding" in told


def test_the_same_change_behind_a_patch_fails_none() -> None:
    assert {name: error for name, error in problem(LooksBehindAPatch, FILES).items() if error is not None} == {}


def has(file: Path) -> Counter[str]:
    """How often each activity is in a history, and the other points that changed_loops.py names."""
    found: Counter[str] = Counter()
    for event in history(file).events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            found[event.activity_task_scheduled_event_attributes.activity_type.name] += 1
        elif event.HasField("marker_recorded_event_attributes"):
            details = event.marker_recorded_event_attributes.details
            if "data" in details:
                found[json.loads(details["data"].payloads[0].data).get("activity_type", "")] += 1
        elif event.HasField("timer_started_event_attributes"):
            found[json.loads(event.user_metadata.summary.data or b'""')] += 1
        elif event.HasField("workflow_execution_continued_as_new_event_attributes"):
            found["continued"] += 1
    return found
