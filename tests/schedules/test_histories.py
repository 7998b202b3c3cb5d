"""Launches that an earlier version has begun go on: their histories replay. CONTRIBUTING.md says what to do if not."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from beatctl.activities.records import Status
from beatctl.worker.data_converter import data_converter
from beatctl.workflows.launch import LaunchInput, LaunchWorkflow
from tests.schedules.record_histories import HISTORIES, KINDS

FILES = sorted(HISTORIES.glob("*/*.json.gz"))


def replayed(defined: type, file: Path) -> Exception | None:
    history = WorkflowHistory.from_json("launch", gzip.decompress(file.read_bytes()).decode())
    replayer = Replayer(workflows=[defined], data_converter=data_converter)
    return asyncio.run(replayer.replay_workflow(history, raise_on_replay_failure=False)).replay_failure


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.name.partition('.')[0]}")
def test_a_launch_of_an_earlier_version_goes_on(file: Path) -> None:
    assert replayed(LaunchWorkflow, file) is None


def test_every_kind_of_launch_has_a_history() -> None:
    assert {file.name.partition(".")[0] for file in FILES} == set(KINDS)


@workflow.defn(name="Launch")
class Careless(LaunchWorkflow):
    """Tidies up before it waits, which no history does."""

    @workflow.run
    async def run(self, given: LaunchInput) -> Status:
        await self._forget()
        return await super().run(given)


def test_a_careless_change_is_caught_by_every_history() -> None:
    assert all(replayed(Careless, file) is not None for file in FILES)
