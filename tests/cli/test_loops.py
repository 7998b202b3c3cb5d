"""Which loop a command means: never another one than the user would say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from beatctl.activities.ledger import Ledger
from beatctl.activities.records import State, Status, timestamp
from beatctl.cli.arguments import loop_and_number
from beatctl.cli.loops import Loops, as_of_now, find, in_folder, in_the_way, new_id
from beatctl.cli.problems import Usage


def loop(name: str, folder: Path | str = "/work", state: State = "finished", goal: str = "do it") -> Status:
    return Status(id=name, goal=goal, strategy="retry", state=state, directory=str(folder), worktree=str(folder))


def test_an_id_or_its_beginning_names_a_loop() -> None:
    loops = [loop("k3f9"), loop("k3fa"), loop("m222")]
    assert find(loops, "k3f9", Path("/")).id == "k3f9"
    assert find(loops, "m", Path("/")).id == "m222"
    assert find(loops, "M2", Path("/")).id == "m222"
    with pytest.raises(Usage, match="could be any of") as many:
        find(loops, "k3", Path("/"))
    assert "k3f9" in many.value.text
    assert "k3fa" in many.value.text
    assert "m222" not in many.value.text
    with pytest.raises(Usage, match='No loop "zz"'):
        find(loops, "zz", Path("/"))
    with pytest.raises(Usage, match='No loop ""'):
        find(loops, "", Path("/"))


def test_a_whole_id_wins_over_longer_ones_that_begin_with_it() -> None:
    assert find([loop("k3f9a"), loop("k3f9")], "k3f9", Path("/")).id == "k3f9"


def test_left_out_it_is_the_folders_unfinished_loop_else_its_newest(tmp_path: Path) -> None:
    loops = [loop("new2", tmp_path), loop("live", tmp_path, "paused"), loop("old2", tmp_path), loop("else", "/else")]
    assert find(loops, None, tmp_path).id == "live"
    (tmp_path / "src").mkdir()
    assert find(loops, None, tmp_path / "src").id == "live"
    assert find([loops[0], loops[2]], None, tmp_path).id == "new2"


def test_the_inner_folders_loops_come_before_the_outer_ones(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    loops = [loop("outr", tmp_path, "running"), loop("innr", inner)]
    assert [found.id for found in in_folder(loops, inner)] == ["innr"]
    assert find(loops, None, tmp_path).id == "outr"


def test_a_link_to_the_folder_is_the_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    os.symlink("real", tmp_path / "link")
    assert find([loop("live", tmp_path / "real", "running")], None, tmp_path / "link").id == "live"


def test_another_folders_loop_is_never_meant(tmp_path: Path) -> None:
    with pytest.raises(Usage, match=r"No loop in .*Name one:\n  else"):
        find([loop("else", "/else", "running")], None, tmp_path)
    with pytest.raises(Usage, match="No loops yet"):
        find([], None, tmp_path)


def test_a_folder_is_in_the_way_from_above_and_below_but_not_once_its_loop_ended(tmp_path: Path) -> None:
    live = [loop("live", tmp_path / "repo", "waiting"), loop("done", tmp_path / "other")]
    for folder in (tmp_path / "repo", tmp_path / "repo/src", tmp_path):
        found = in_the_way(live, folder)
        assert found is not None
        assert found.id == "live"
    assert in_the_way(live, tmp_path / "repository") is None
    assert in_the_way(live, tmp_path / "other") is None


def test_new_ids_are_short_and_can_be_read_aloud() -> None:
    taken: set[str] = set()
    for _ in range(500):
        found = new_id(taken)
        assert found not in taken
        assert len(found) == 4
        assert found[0].isalpha()
        assert not set(found) & set("lio01u")
        taken.add(found)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (None, (None, None)),
        (["12"], (None, 12)),
        (["#12"], (None, 12)),
        (["k3f9"], ("k3f9", None)),
        (["k3f9", "12"], ("k3f9", 12)),
        (["12", "k3f9"], ("k3f9", 12)),
        (["0"], (None, 0)),
    ],
)
def test_a_number_is_an_iteration_and_a_word_a_loop(
    words: list[str] | None, meant: tuple[str | None, int | None]
) -> None:
    assert loop_and_number(words) == meant


@pytest.mark.parametrize("words", [["1", "2"], ["ab", "cd"]])
def test_two_of_a_kind_are_refused(words: list[str]) -> None:
    with pytest.raises(Usage, match="Two"):
        loop_and_number(words)


def test_time_runs_on_for_a_loop_that_has_not_ended() -> None:
    begun = loop("live", state="paused").model_copy(update={"started_at": timestamp(0), "elapsed_s": 5.0})
    assert as_of_now(begun).elapsed_s > 1e9
    assert as_of_now(begun.model_copy(update={"state": "finished"})).elapsed_s == 5.0


def test_looking_creates_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    loops = Loops({"BEATCTL_HOME": str(home)})
    assert loops.all() == []
    with pytest.raises(Usage):
        loops.find(None, tmp_path)
    with pytest.raises(Usage, match="no loop to cancel"):
        loops.named(None, "cancel", tmp_path)
    assert not home.exists()


def test_what_must_not_be_guessed_lists_the_candidates(tmp_path: Path) -> None:
    home = tmp_path / "home"
    Ledger(home / "ledger.db").add_loop(loop("live", tmp_path, "running", goal="lower n"), "{}", 1.0)
    Ledger(home / "ledger.db").add_loop(loop("done", tmp_path), "{}", 2.0)
    with pytest.raises(Usage, match="never guesses: beatctl cancel live") as asked:
        Loops({"BEATCTL_HOME": str(home)}).named(None, "cancel", tmp_path)
    assert "lower n" in asked.value.text
    assert "done" not in asked.value.text
