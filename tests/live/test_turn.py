"""A loop that waits for its turn says so wherever people look, as long as its note says so."""

from __future__ import annotations

from pathlib import Path

from beatctl.activities.doing import tell
from beatctl.cli.live.frame import Look, frame
from beatctl.cli.live.seen import Watched
from beatctl.cli.loops import Loops
from beatctl.cli.view import doing
from tests.live.conftest import WrittenLoop, row
from tests.support import Beatctl

REASON = "waiting for its turn: 4 agents run here (--max-concurrent-agents 4)"


def test_the_view_says_for_whom_a_loop_waits_and_that_it_runs_once_it_does(idle_beatctl: Beatctl, place: Path) -> None:
    loop = WrittenLoop(idle_beatctl, place, "w8t9")
    note = loop.home.loop("w8t9").now
    run = loop.home.loop("w8t9").iteration(1) / "agent"
    run.parent.mkdir(parents=True)
    tell(note, "claude", 1, run, waiting=REASON)
    watched = Watched(Loops(idle_beatctl.environ), "w8t9", place)
    seen = watched.look()
    lines = [line.plain for line in frame(seen, Look(columns=100), 1_700_000_100.0)]
    assert f" now   #1 claude: {REASON}" in lines
    assert "waiting" in lines[0]
    assert seen.running is None
    words = idle_beatctl("status", "w8t9", cwd=place, expect=0).stdout
    assert "waiting" in words.splitlines()[0]
    assert REASON in " ".join(words.split())
    tell(note, "claude", 1, run)
    assert watched.look().status.state == "running"
    assert watched.look().running is not None


def test_status_names_no_run_that_is_over(idle_beatctl: Beatctl, place: Path) -> None:
    loop = WrittenLoop(idle_beatctl, place, "w8s4")
    agent = loop.runs(1)
    loop.write(now="#1 claude")

    def now() -> str:
        return doing(Loops(idle_beatctl.environ), loop.ledger.status("w8s4") or loop.now)

    def said() -> str:
        return idle_beatctl("status", "w8s4", cwd=place, expect=0).stdout

    assert now().startswith("#1 claude ")
    assert "  now       #1 claude " in said()  # it outlives the worker
    with agent.journal.open("a") as journal:
        journal.write('{"result": {}}\n')
    assert now() == "taking a snapshot of #1"
    assert "  now  " not in said()
    assert "beatctl was shut down (beatctl down): the loop waits" in said()
    loop.write(row(1, "discard", 51.0), iteration=1, counts={"baseline": 1, "discard": 1}, now="#1 evaluator")
    assert now() == "getting #2 ready"


def test_a_loop_that_pauses_or_ends_is_not_called_waiting_whatever_its_note_says(
    idle_beatctl: Beatctl, place: Path
) -> None:
    loop = WrittenLoop(idle_beatctl, place, "w8p2")
    folder = loop.home.loop("w8p2")
    folder.root.mkdir(parents=True, exist_ok=True)
    tell(folder.now, "claude", 1, folder.iteration(1) / "agent", waiting=REASON)
    loop.write(state="paused", reason="asked")
    assert Loops(idle_beatctl.environ).status("w8p2").state == "paused"
