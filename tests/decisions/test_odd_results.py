"""Results nobody hoped for: a child that never started, an end that is written down twice, text no encoder takes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from beatctl.activities.conclude import CloseInput, close_workspace
from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Row, Status
from beatctl.activities.run_evaluator import EvaluatorResult
from beatctl.activities.snapshot_workspace import SnapshotInput, snapshot_workspace
from beatctl.activities.text import clean
from beatctl.activities.workspace import Workspace
from beatctl.workflows.verdict import judge_retry


def test_an_evaluator_whose_folder_is_gone_says_so_and_is_no_red_test() -> None:
    run = EvaluatorResult(ended_by="not-started", line="The folder /there/sub cannot be entered")
    judged = judge_retry([run], 1)
    assert judged is not None
    assert (judged.verdict, judged.reason, judged.failure) == ("crash", "The folder /there/sub cannot be entered", True)


def test_text_that_no_encoder_takes_is_shown_as_far_as_it_can_be() -> None:
    assert clean("half \ud83d an emoji, caf\udce9, whole \N{ROCKET}") == "half ? an emoji, caf?, whole \N{ROCKET}"


class Interrupted(Ledger):
    """A ledger on a disk that is full."""

    def write(self, status: Status, *rows: Row, lasting: bool = False) -> None:
        raise sqlite3.OperationalError("database or disk is full")


def test_what_an_interrupted_agent_left_outlives_an_end_that_had_to_be_tried_twice(place: Path) -> None:
    home, root = Home(place / "state").create(), place / "work"
    root.mkdir()
    (root / "n").write_text("50\n")
    home.loop("k3f9").root.mkdir(parents=True)
    workspace = Workspace.open(home.loop("k3f9"), root)
    ledger = Ledger(home.ledger)
    status = Status(id="k3f9", goal="g", strategy="optimize", state="running", directory=str(root), worktree=str(root))
    ledger.add_loop(status, "{}", 0.0)
    (root / "n").write_text("half done\n")
    row = Row(iteration=1, verdict="crash", started_at="", duration_s=1.0)
    ended = status.model_copy(update={"state": "finished", "version": 3})
    given = CloseInput(status=ended, row=row, interrupted="1", restore=workspace.baseline)
    with pytest.raises(sqlite3.OperationalError):
        close_workspace(home, Interrupted(home.ledger), given)
    close_workspace(home, ledger, given)
    close_workspace(home, ledger, given)
    assert (root / "n").read_text() == "50\n"
    kept = ledger.row("k3f9", 1)
    assert kept is not None
    assert kept.snapshot is not None
    assert Workspace.load(home.loop("k3f9")).changed_paths(workspace.baseline, kept.snapshot) == ["n"]


def test_ten_thousand_tags_of_an_agents_do_not_fill_the_history(place: Path) -> None:
    home, root = Home(place / "state").create(), place / "work"
    root.mkdir()
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    home.loop("k3f9").root.mkdir(parents=True)
    Workspace.open(home.loop("k3f9"), root)
    tags = "".join(f"create refs/tags/t{number} HEAD\n" for number in range(300))
    subprocess.run(["git", "update-ref", "--stdin"], cwd=root, check=True, text=True, input=tags)
    taken = snapshot_workspace(home, SnapshotInput(loop="k3f9", name="1", message="m"))
    assert taken.repaired[-1] == "280 more"
    assert len(taken.repaired) == 21


def test_a_goal_reaches_its_agent_whatever_the_locale() -> None:
    """`open_workspace` and `run_agent` write the loop's texts: with the locale's encoding, an emoji stops the loop."""
    program = (
        "import sys, tempfile, pathlib\n"
        "from beatctl.activities.home import Home\n"
        "from beatctl.activities.prompt import Task\n"
        "from beatctl.activities.snapshot_workspace import OpenInput, open_workspace\n"
        "with tempfile.TemporaryDirectory() as place:\n"
        "    home = Home(pathlib.Path(place, 'state')); root = pathlib.Path(place, 'work'); root.mkdir()\n"
        "    home.loop('k').root.mkdir(parents=True)\n"
        "    task = Task(goal='faster \\N{ROCKET}', strategy='retry', evaluator='true')\n"
        "    open_workspace(home, OpenInput(loop='k', worktree=str(root), task=task))\n"
        "    assert Task.model_validate_json(home.loop('k').task.read_bytes()) == task\n"
    )
    command = [sys.executable, "-X", "utf8=0", "-c", program]
    done = subprocess.run(command, env={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
