"""`beatctl demo` through the real command, as the first thing a person tries."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import Beatctl


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def temporary(place: Path) -> dict[str, str]:
    """Where the demo puts its folder."""
    folder = place / "tmp"
    folder.mkdir()
    return {"TMPDIR": str(folder)}


def test_a_demo_that_shows_no_gain_or_leaves_the_wrong_version_in_the_folder(
    shared_beatctl: Beatctl, place: Path, temporary: dict[str, str]
) -> None:
    demo = shared_beatctl("demo", cwd=place, env=temporary, expect=0)
    (project,) = Path(temporary["TMPDIR"]).glob("beatctl-demo-*/project")

    smaller, fixed = (
        next(loop for loop in shared_beatctl("list", "--json", cwd=project).json if loop["goal"].startswith(goal))
        for goal in ("make the dashboard", "make the price")
    )
    assert smaller["outcome"] == "improved"
    assert fixed["outcome"] == "reached"
    verdicts = [row["verdict"] for row in shared_beatctl("show", smaller["id"], "--json", cwd=project).json]
    assert verdicts == ["baseline", "keep", "discard", "keep", "discard", "crash", "keep", "keep"]
    verdicts = [row["verdict"] for row in shared_beatctl("show", fixed["id"], "--json", cwd=project).json]
    assert verdicts == ["baseline", "fail", "pass"]

    size = subprocess.run(["python3", "tools/bundle_size.py"], cwd=project, check=True, capture_output=True, text=True)
    assert int(size.stdout) == smaller["best"]["score"] < smaller["baseline"]["score"]
    subprocess.run(["python3", "tests/test_prices.py"], cwd=project, check=True, capture_output=True)
    assert git(project, "log", "--oneline").count("\n") == 1, "the demo's history has nothing of the loops"
    refs = git(project, "for-each-ref", "--format=%(refname)", "refs/beatctl").split()
    assert f"refs/beatctl/{smaller['id']}/2" in refs, "the discarded experiment can be looked at"

    # What to type next works as printed.
    assert f"beatctl show {smaller['id']}" in demo.stdout
    shared_beatctl("diff", smaller["id"], cwd=project, expect=0)
    shared_beatctl("undo", fixed["id"], cwd=project, expect=0)


def test_a_demo_that_overwrites_a_folder_someone_has(shared_beatctl: Beatctl, place: Path) -> None:
    (place / "mine").mkdir()
    (place / "mine" / "thesis.txt").write_text("years of work")
    done = shared_beatctl("demo", "--keep", "mine", cwd=place, expect=2)
    assert "not empty" in done.stderr
    assert [path.name for path in (place / "mine").iterdir()] == ["thesis.txt"]


def test_a_demo_that_fails_without_words_where_the_agent_or_git_is_missing(
    shared_beatctl: Beatctl, place: Path, temporary: dict[str, str]
) -> None:
    done = shared_beatctl("demo", "--agent", "no-such-agent", "--json", cwd=place, env=temporary, expect=3)
    assert "no-such-agent" in done.stderr
    assert done.stdout == ""
    assert not list(Path(temporary["TMPDIR"]).glob("beatctl-demo-*")), "nothing started: nothing to keep"
    done = shared_beatctl("demo", cwd=place, env={**temporary, "PATH": str(place)}, expect=3)
    assert "git is not on PATH" in done.stderr


def test_a_demo_that_starts_its_second_loop_in_the_way_of_the_first(
    shared_beatctl: Beatctl, place: Path, temporary: dict[str, str]
) -> None:
    """An agent that may not do anything: the first loop pauses, and keeps the folder for itself."""
    done = shared_beatctl("demo", "--agent", "true", "--json", cwd=place, env=temporary, expect=1)
    (loop,) = done.json["loops"]
    assert (loop["state"], loop["reason"]) == ("paused", "unchanged")
    assert f"beatctl resume {loop['id']}" in done.stderr
    assert Path(done.json["directory"]).is_dir()
    shared_beatctl("cancel", loop["id"], cwd=place, expect=(0, 4))
