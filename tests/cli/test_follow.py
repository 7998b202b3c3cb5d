"""Staying with a loop: each verdict once, pauses with the way on, and leaving that leaves the loop alone."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Mark, Row, Status, timestamp
from beatctl.worker.run_folder import EMBEDDED, RunFolder
from beatctl.workflows.spec import Limits
from tests.support import Beatctl


class Followed:
    """`beatctl watch` on a loop whose ledger the test writes; server and worker count as shut down by the user."""

    def __init__(self, beatctl: Beatctl, project: Path) -> None:
        home = Home(beatctl.home)
        self.ledger = Ledger(home.ledger)
        self.now = Status(
            id="k3f9",
            goal="lower n",
            strategy="optimize",
            state="running",
            directory=str(project),
            worktree=str(project),
            limits=Limits().model_dump(),
            started_at=timestamp(1_700_000_000),
        )
        self.ledger.add_loop(self.now, "{}", 1.0)
        RunFolder(home.root, EMBEDDED).create().shut_down.touch()
        self.process: subprocess.Popen[str] = beatctl.popen("watch", "k3f9", "--json", cwd=project)

    def write(self, *rows: Row, **changes: object) -> None:
        version = self.now.version + 1
        self.now = self.now.model_copy(update={**changes, "version": version})
        self.ledger.write(self.now, *rows)

    def line(self) -> str:
        """The next line said, but for the reminder that nothing runs."""
        assert self.process.stderr is not None
        while "beatctl was shut down" in (line := self.process.stderr.readline()):
            continue
        return line.rstrip()

    def end(self) -> tuple[int, str, str]:
        printed, said = self.process.communicate(timeout=30)
        return self.process.returncode, printed, said


@pytest.fixture
def followed(beatctl: Beatctl, place: Path) -> Followed:
    project = place / "project"
    project.mkdir()
    return Followed(beatctl, project)


BASELINE = Row(iteration=0, verdict="baseline", score=50.0, started_at=timestamp(0), duration_s=1)
KEEP = Row(iteration=1, verdict="keep", score=40.0, started_at=timestamp(1), duration_s=1, parent=0, summary="less")


def test_each_verdict_is_a_line_and_the_end_is_told_with_its_exit_code(followed: Followed) -> None:
    followed.write(BASELINE, baseline=Mark(iteration=0, score=50.0), best=Mark(iteration=0, score=50.0))
    assert followed.line().split() == ["#0", "baseline", "50"]
    followed.write(KEEP, best=Mark(iteration=1, score=40.0), iteration=1)
    assert followed.line().split() == ["#1", "keep", "40", "-20.0%", "less"]
    followed.write(asked="stop")
    assert followed.line() == "k3f9 stops after this iteration."
    followed.write(state="finished", outcome="improved", reason="stopped", asked=None)
    code, printed, said = followed.end()
    assert code == 0
    assert json.loads(printed)["outcome"] == "improved"
    assert "k3f9 improved (stopped)" in said
    assert "40 #1 (-20.0%)" in said


def test_a_pause_where_nobody_watches_ends_the_command_and_says_how_to_go_on(followed: Followed) -> None:
    followed.write(BASELINE, state="paused", reason="edited", detail="You edited n.")
    assert followed.line().startswith("#0")
    assert followed.line() == "k3f9 is paused: You edited n. Go on with: beatctl resume k3f9"
    code, printed, _ = followed.end()
    assert code == 1
    assert json.loads(printed)["state"] == "paused"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_leaving_says_that_the_loop_goes_on_and_how_to_end_it(followed: Followed, sent: signal.Signals) -> None:
    followed.write(BASELINE)
    followed.line()
    followed.process.send_signal(sent)
    code, printed, said = followed.end()
    assert code == 130
    assert json.loads(printed)["state"] == "running"
    for words in ("goes on, and spends", "beatctl stop k3f9", "beatctl cancel k3f9"):
        assert words in said
    status = followed.ledger.status("k3f9")
    assert status is not None
    assert status.state == "running"


def test_a_loop_cancelled_from_elsewhere_has_its_own_exit_code(followed: Followed) -> None:
    followed.write(state="finished", outcome="cancelled", reason="cancelled")
    assert followed.end()[0] == 4
