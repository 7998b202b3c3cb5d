"""One loop owns a folder at a time, also across restarts and processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from beatctl.activities.home import Home
from beatctl.activities.workspace import FolderInUse, claim, release


def test_a_second_loop_is_refused_on_the_folder_above_and_below(place: Path) -> None:
    home, root = Home(place / "home"), place / "a"
    (root / "b").mkdir(parents=True)
    (place / "ab").mkdir()
    claim(home, root, "one", lambda _: True)
    claim(home, root, "one", lambda _: True)
    for other in (root, root / "b", place):
        with pytest.raises(FolderInUse) as used:
            claim(home, other, "two", lambda _: True)
        assert used.value.loop == "one"
        assert "beatctl watch one" in used.value.text
    claim(home, place / "ab", "two", lambda _: True)
    release(home, root, "two")
    with pytest.raises(FolderInUse):
        claim(home, root, "two", lambda _: True)
    release(home, root, "one")
    release(home, root, "one")
    claim(home, root, "two", lambda _: True)


def test_the_claim_of_a_loop_that_has_ended_is_taken_over(place: Path) -> None:
    home = Home(place / "home")
    claim(home, place, "old", lambda _: True)
    claim(home, place, "new", lambda loop: loop != "old")
    release(home, place, "old")
    with pytest.raises(FolderInUse):
        claim(home, place, "third", lambda _: True)


def test_of_many_loops_at_the_same_moment_one_gets_the_folder(place: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from beatctl.activities.home import Home\n"
        "from beatctl.activities.workspace import claim, FolderInUse\n"
        "try: claim(Home(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3], lambda _: True)\n"
        "except FolderInUse: sys.exit(7)\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script, str(place / "home"), str(place), f"loop{number}"])
        for number in range(6)
    ]
    assert sorted(process.wait() for process in started) == [0, 7, 7, 7, 7, 7]
