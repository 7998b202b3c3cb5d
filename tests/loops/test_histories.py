"""Histories of earlier versions replay: loops that wait while beatctl is replaced go on afterwards.

`histories/` holds what earlier versions wrote. A change that fails here needs `workflow.patched`.
"""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from beatctl.worker.data_converter import data_converter
from beatctl.workflows.loop import LoopWorkflow

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json.gz"))


@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: file.name.partition(".")[0])
def test_a_loop_of_an_earlier_version_goes_on(file: Path) -> None:
    history = WorkflowHistory.from_json("beatctl-k3f9", gzip.decompress(file.read_bytes()).decode())
    assert len(history.events) > 40
    replayer = Replayer(workflows=[LoopWorkflow], data_converter=data_converter)
    asyncio.run(replayer.replay_workflow(history))
