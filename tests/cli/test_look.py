"""Looking at loops with no server at all: list, status, show, logs; words for people, JSON for scripts."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.activities.records import AgentRow, EvaluatorRow, Mark, Row, Status, timestamp
from beatctl.activities.run_files import TryFiles, beside
from beatctl.worker.run_folder import EMBEDDED, RunFolder
from beatctl.workflows.spec import Limits
from tests.support import Beatctl, wait_until

PROMISED = {"id", "goal", "strategy", "state", "outcome", "reason", "iteration", "failures", "baseline", "best"}
PROMISED |= {"cost_usd", "tokens", "elapsed_s", "ui_url", "directory"}
PROMISED_OF_A_ROW = {"iteration", "verdict", "score", "samples", "started_at", "duration_s", "agent", "evaluator"}
PROMISED_OF_A_ROW |= {"snapshot", "parent", "summary", "reason", "logs"}


class Kept:
    """A home with two loops in its ledger: k3f9, which ended, and m222, which runs."""

    def __init__(self, beatctl: Beatctl, project: Path) -> None:
        self.beatctl = beatctl
        self.runs = 0
        self.project = project
        self.home = Home(beatctl.home)
        self.ledger = Ledger(self.home.ledger)
        self.add(
            "k3f9",
            project,
            state="finished",
            outcome="improved",
            reason="max-iterations",
            iteration=3,
            elapsed_s=75.5,
            baseline=Mark(iteration=0, score=50.0, snapshot="aaa"),
            best=Mark(iteration=1, score=40.0, snapshot="bbb"),
            counts={"baseline": 1, "keep": 1, "discard": 1, "crash": 1},
        )
        self.add("m222", project / "other", state="running", goal="lower m")
        agent = AgentRow(name="claude", version="2.1.0", exit_code=0, cost_usd=0.25, tokens=1200, duration_s=12.0)
        for row in (
            Row(iteration=0, verdict="baseline", score=50.0, samples=[50.0], started_at=timestamp(0), duration_s=1),
            Row(
                iteration=1,
                verdict="keep",
                score=40.0,
                samples=[40.0],
                started_at=timestamp(1),
                duration_s=13.5,
                agent=agent,
                evaluator=EvaluatorRow(exit_code=0, duration_s=1.5),
                parent=0,
                summary="replaced moment with date-fns",
            ),
            Row(iteration=2, verdict="discard", score=44.0, started_at=timestamp(2), duration_s=1, parent=1),
            Row(iteration=3, verdict="crash", started_at=timestamp(3), duration_s=1, parent=1, reason="exit code 7"),
        ):
            self.ledger.write(self.status("k3f9"), row)

    def add(self, name: str, folder: Path, **more: object) -> None:
        given: dict[str, object] = {
            "id": name,
            "goal": "lower n",
            "strategy": "optimize",
            "state": "running",
            "directory": str(folder),
            "worktree": str(folder),
            "limits": Limits().model_dump(),
            "started_at": timestamp(1_700_000_000),
        }
        self.ledger.add_loop(Status.model_validate({**given, **more}), "{}", 1.0 if name == "k3f9" else 2.0)

    def status(self, name: str) -> Status:
        status = self.ledger.status(name)
        assert status is not None
        return status

    def run(self, iteration: int, kind: str, stdout: str, stderr: str = "") -> TryFiles:
        self.runs += 1
        files = TryFiles(self.home.loop("k3f9").iteration(iteration) / kind, 1)
        files.run.parent.mkdir(parents=True, exist_ok=True)
        files.journal.write_text(f'{{"id": "x"}}\n{{"at": {self.runs}}}\n')
        files.stdout.write_text(stdout)
        files.stderr.write_text(stderr)
        return files

    def __call__(self, *words: str, expect: int = 0) -> str:
        return self.beatctl(*words, cwd=self.project, expect=expect).stdout


@pytest.fixture
def kept(beatctl: Beatctl, place: Path) -> Kept:
    project = place / "project"
    (project / "other").mkdir(parents=True)
    return Kept(beatctl, project)


def test_status_objects_hold_what_scripts_were_promised(kept: Kept) -> None:
    status = json.loads(kept("status", "k3f9", "--json"))
    assert set(status) >= PROMISED
    assert status["best"] == {"iteration": 1, "score": 40.0, "snapshot": "bbb"}
    assert status["elapsed_s"] == 75.5
    listed = json.loads(kept("list", "--json"))
    assert [loop["id"] for loop in listed] == ["m222", "k3f9"]
    assert all(set(loop) >= PROMISED for loop in listed)
    assert listed[0]["outcome"] is None
    assert listed[0]["elapsed_s"] > 1000


def test_rows_hold_what_scripts_were_promised(kept: Kept) -> None:
    rows = json.loads(kept("show", "--json", "k3f9"))
    assert [row["iteration"] for row in rows] == [0, 1, 2, 3]
    assert all(set(row) >= PROMISED_OF_A_ROW for row in rows)
    assert rows[0]["agent"] is None
    assert rows[1]["agent"]["cost_usd"] == 0.25
    assert json.loads(kept("show", "k3f9", "1", "--json")) == rows[1]
    assert rows[1]["started_at"] == "1970-01-01T00:00:01.000Z"


def test_people_see_the_ledger_with_the_best_marked(kept: Kept) -> None:
    lines = kept("show", "k3f9").splitlines()
    assert lines[1].startswith("* #1    keep")
    assert "-20.0%" in lines[1]
    assert "+10.0%" in lines[2]
    assert lines[3].endswith("exit code 7")


def test_an_experiment_is_shown_whole(kept: Kept) -> None:
    kept.run(1, "evaluator", "".join(f"line {n}\n" for n in range(100)))
    agent = kept.run(1, "agent", "thinking\n")
    prompt = beside(agent.run, "prompt.md")
    prompt.write_text("lower n")
    shown = kept("show", "k3f9", "1")
    for part in ("keep", "40 (-20.0% against #0)", "claude 2.1.0, exit code 0, 12s, $0.25, 1,200 tokens", "date-fns"):
        assert part in shown
    assert str(prompt) in shown
    assert "line 99" in shown
    assert "line 5\n" not in shown


def test_a_number_that_is_not_there_is_told_with_those_that_are(kept: Kept) -> None:
    done = kept.beatctl("show", "k3f9", "9", cwd=kept.project, expect=2)
    assert done.stderr == "Loop k3f9 has no iteration 9. There are 0 to 3.\n"


def test_an_unfinished_loop_without_a_worker_says_so(kept: Kept) -> None:
    assert "No worker is running" in kept("status", "m222")
    assert "No worker" not in kept("status", "k3f9")


def test_the_folder_decides_which_loop_is_meant(kept: Kept) -> None:
    assert json.loads(kept("status", "--json"))["id"] == "k3f9"
    inner = kept.beatctl("status", "--json", cwd=kept.project / "other", expect=0)
    assert inner.json["id"] == "m222"
    assert json.loads(kept("status", "m", "--json"))["id"] == "m222"


def test_the_list_shows_every_loop_and_says_why_one_does_not_go_on(kept: Kept) -> None:
    done = kept.beatctl("list", cwd=kept.project, expect=0)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ID", "m222", "k3f9"]
    assert "40 -20.0%" in done.stdout
    assert "lower m" in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stderr == "No worker is running, so m222 does not go on: beatctl up -d\n"


def test_logs_are_printed_whole_with_what_ran(kept: Kept) -> None:
    assert "has run nothing yet" in kept.beatctl("logs", "k3f9", cwd=kept.project, expect=2).stderr
    kept.run(0, "evaluator", "50\n")
    kept.run(1, "agent", "thinking\n", "warning\n")
    kept.run(1, "evaluator", "40\n")
    text = kept("logs", "k3f9")
    assert text.index("==> #1 agent <==") < text.index("thinking") < text.index("warning")
    assert text.index("==> #1 evaluator <==") < text.index("40\n")
    assert "50" not in text
    assert kept("logs", "k3f9", "0") == "==> #0 evaluator <==\n50\n"
    runs = json.loads(kept("logs", "k3f9", "--json"))
    assert [(run["iteration"], run["run"], run["try"]) for run in runs] == [(1, "agent", 1), (1, "evaluator", 1)]
    assert Path(runs[0]["stdout"]).read_text() == "thinking\n"
    assert "no logs of an iteration 7" in kept.beatctl("logs", "k3f9", "7", cwd=kept.project, expect=2).stderr


def test_bytes_an_agent_prints_come_out_as_they_are(kept: Kept) -> None:
    kept.run(2, "agent", "").stdout.write_bytes(b"\xff\xfe\x00 bytes\n")
    import subprocess

    done = subprocess.run(
        [kept.beatctl.program, "logs", "k3f9"], cwd=kept.project, env=kept.beatctl.environ, capture_output=True
    )
    assert b"\xff\xfe\x00 bytes\n" in done.stdout


def test_following_logs_prints_what_comes_and_ends_with_the_loop(kept: Kept) -> None:
    ended = kept.status("k3f9")
    kept.ledger.write(ended.model_copy(update={"state": "running", "outcome": None, "version": 1}))
    agent = kept.run(4, "agent", "one\n")
    process = kept.beatctl.popen("logs", "-f", "k3f9", cwd=kept.project)
    assert process.stdout is not None
    assert process.stdout.readline() == "==> #4 agent <==\n"
    assert process.stdout.readline() == "one\n"
    with agent.stdout.open("a") as file:
        file.write("two\n")
    assert process.stdout.readline() == "two\n"
    kept.run(4, "evaluator", "3\n")
    kept.ledger.write(ended.model_copy(update={"version": 2}))
    rest, said = process.communicate(timeout=30)
    assert rest == "==> #4 evaluator <==\n3\n"
    assert (process.returncode, said) == (0, "")


def test_following_logs_of_a_loop_that_does_not_go_on_says_why(kept: Kept) -> None:
    ended = kept.status("k3f9")
    running = {"state": "running", "outcome": None}
    down = RunFolder(kept.beatctl.home, EMBEDDED).create().shut_down
    down.touch()
    kept.ledger.write(ended.model_copy(update={**running, "version": 1}))
    process = kept.beatctl.popen("logs", "-f", "k3f9", cwd=kept.project)
    assert process.stderr is not None
    assert process.stderr.readline() == "beatctl was shut down: k3f9 waits. Go on with: beatctl up -d\n"
    kept.ledger.write(ended.model_copy(update={"state": "paused", "outcome": None, "reason": "asked", "version": 2}))
    assert process.stderr.readline() == "k3f9 is paused: as asked Go on with: beatctl resume k3f9\n"
    kept.ledger.write(ended.model_copy(update={"version": 3}))
    assert process.communicate(timeout=30)[1] == ""
    down.unlink()


def test_leaving_the_logs_leaves_the_loop(kept: Kept) -> None:
    kept.ledger.write(kept.status("k3f9").model_copy(update={"state": "running", "version": 1}))
    kept.run(4, "agent", "one\n")
    process = kept.beatctl.popen("logs", "-f", "k3f9", cwd=kept.project)
    assert process.stdout is not None
    wait_until(process.stdout.readline, "the first line")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130


@pytest.mark.parametrize("command", ["pause", "stop", "set"])
def test_an_ended_loop_is_not_acted_on(kept: Kept, command: str) -> None:
    more = ("-n", "3") if command == "set" else ()
    done = kept.beatctl(command, "k3f9", *more, cwd=kept.project, expect=2)
    assert done.stderr == (
        f"Loop k3f9 has ended (improved): there is nothing to {command}. To go on with it: beatctl resume k3f9 -n +10\n"
    )


def test_cancelling_an_ended_loop_is_no_error(kept: Kept) -> None:
    assert kept("cancel", "k3f9") == "k3f9 has ended already: improved (max-iterations).\n"
    assert json.loads(kept("cancel", "k3f9", "--json"))["outcome"] == "improved"


def test_cancel_without_a_name_is_never_a_guess(kept: Kept) -> None:
    done = kept.beatctl("cancel", cwd=kept.project / "other", expect=2)
    assert "beatctl cancel m222" in done.stderr
    assert kept.status("m222").state == "running"


def test_doctor_tells_what_scripts_were_promised(kept: Kept) -> None:
    told = json.loads(kept("doctor", "--json"))
    assert (told["server"], told["worker"], told["home"]) == (None, None, str(kept.home.root))
    assert isinstance(told["agents"], list)
    assert any("m222" in warning for warning in told["warnings"])
    assert "not running" in kept("doctor")


def test_down_with_nothing_running_says_so(kept: Kept) -> None:
    assert "Nothing was running." in kept("down")
