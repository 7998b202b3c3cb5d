"""Bare `beatctl`: what happened since the user last looked, whatever becomes of the note about that."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Mark, Row, Status, timestamp
from beatctl.cli import looked
from beatctl.workflows.spec import Limits
from tests.support import Beatctl, Done


class Night:
    """A home whose loop k3f9 a test moves on, and a second loop that stays as it is."""

    def __init__(self, beatctl: Beatctl, place: Path) -> None:
        self.beatctl, self.place = beatctl, place
        self.ledger = Ledger(beatctl.home / "ledger.db")
        self.version = 0
        now = time.time()
        given: dict[str, Any] = {
            "strategy": "optimize",
            "state": "running",
            "directory": str(place),
            "worktree": str(place),
            "limits": Limits().model_dump(),
            "baseline": Mark(iteration=0, score=100.0),
            "best": Mark(iteration=0, score=100.0),
        }
        self.loop = Status(id="k3f9", goal="lower n", started_at=timestamp(now - 7200), **given)
        self.ledger.add_loop(self.loop, "{}", now - 7200)
        other = Status(id="m222", goal="lower m", started_at=timestamp(now - 9000), **given)
        ended = other.model_copy(update={"state": "finished", "outcome": "unchanged", "reason": "plateau"})
        self.ledger.add_loop(ended.model_copy(update={"ended_at": timestamp(now - 8000)}), "{}", now - 9000)

    def moves_on(self, *rows: Row, **changes: Any) -> None:
        self.version += 1
        last = max((row.iteration for row in rows), default=self.loop.iteration)
        self.loop = self.loop.model_copy(update={"iteration": last, **changes, "version": self.version})
        self.ledger.write(self.loop, *rows)

    def look(self) -> Done:
        done = self.beatctl(cwd=self.place, expect=0)
        assert "\x1b" not in done.stdout
        return done


@pytest.fixture
def night(beatctl: Beatctl, place: Path) -> Night:
    return Night(beatctl, place)


def row(iteration: int, verdict: Any, score: float | None = None, summary: str = "") -> Row:
    return Row(
        iteration=iteration, verdict=verdict, score=score, started_at=timestamp(0), duration_s=1, summary=summary
    )


def test_each_look_tells_what_is_new_since_the_last(night: Night) -> None:
    first = night.look().stdout
    assert "k3f9  running for 2h" in first
    assert "m222  unchanged (plateau)" in first
    assert "Since you last looked" not in first

    night.moves_on(row(1, "keep", 90.0, "replaced moment with date-fns"), best=Mark(iteration=1, score=90.0))
    night.moves_on(row(2, "crash"))
    second = night.look().stdout.splitlines()
    assert second[0].startswith("Since you last looked (")
    assert second[2].startswith("k3f9  running for 2h  lower n")
    assert "  new       2 iterations: 1 keep, 1 crash" in second
    assert "  best      90 #1 (-10.0%), baseline 100" in second
    assert "            #1  90  replaced moment with date-fns" in second
    assert not any("m222" in line for line in second)

    night.moves_on(row(3, "keep", 80.0, "shorter names"), best=Mark(iteration=3, score=80.0))
    night.moves_on(state="paused", reason="edited", detail="You edited n while k3f9 waited: paused.")
    third = night.look().stdout.splitlines()
    assert any(line.startswith("k3f9  paused (edited)") for line in third)
    assert "  best      80 #3 (-20.0%), baseline 100; it was 90 #1" in third
    assert "  why       You edited n while k3f9 waited: paused." in third
    assert any("beatctl resume k3f9" in line for line in third)

    quiet = night.look()
    assert quiet.stdout.splitlines()[0].startswith("Nothing new since you last looked (")
    assert quiet.stdout.splitlines()[1:] == ["k3f9  paused  edited: beatctl resume k3f9"]

    night.moves_on(state="finished", outcome="improved", reason="stopped", ended_at=timestamp(time.time()))
    assert "k3f9  improved (stopped) just now  lower n" in night.look().stdout
    assert night.look().stdout.splitlines()[1].startswith("k3f9  improved  ")


def test_with_no_worker_it_says_so_and_starts_none(night: Night) -> None:
    assert night.look().stderr == "No worker is running, so k3f9 does not go on: beatctl up -d\n"
    assert not (night.beatctl.home / "run").exists()


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"at": 1}', '{"at": 1, "loops": {"k3f9": [1]}}', "\xff"])
def test_a_note_that_is_gone_or_torn_means_nothing_was_seen(night: Night, text: str | None) -> None:
    night.look()
    note = night.beatctl.home / "looked.json"
    if text is None:
        note.unlink()
    else:
        note.write_bytes(text.encode("latin-1"))
    assert "k3f9  running" in night.look().stdout
    assert looked.read(Home(night.beatctl.home)).loops["k3f9"].state == "running"


def test_two_who_look_at_once_leave_a_whole_note(night: Night) -> None:
    both = [night.beatctl.popen(cwd=night.place) for _ in range(2)]
    for process in both:
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "k3f9" in said
    assert set(looked.read(Home(night.beatctl.home)).loops) == {"k3f9", "m222"}
    assert [path.name for path in night.beatctl.home.glob(".looked*")] == []
