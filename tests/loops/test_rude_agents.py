"""Agents that do what no agent should, in a folder that is no repository; in one: tests/cli/test_bad_input.py."""

from __future__ import annotations

import shutil

from tests.loops.conftest import Loops


def test_a_folder_that_is_no_repository_is_protected_the_same(loops: Loops) -> None:
    repo = loops.repository
    shutil.rmtree(repo.folder / ".git")
    repo.write("mine.txt", "mine\n", 0o640)
    (repo.folder / "empty").mkdir()
    agent = repo.agent("[ $i = 1 ] && { rm -r mine.txt empty; echo 90 > n; exit; }; echo 40 > n")
    status = loops.start("lower n", "--eval", "cat n", "--minimize", "-a", agent, "-n", "2", expect=0)
    assert [row["verdict"] for row in loops.rows(status["id"])] == ["baseline", "discard", "keep"]
    assert repo.read("mine.txt") == "mine\n"
    assert (repo.folder / "mine.txt").stat().st_mode & 0o777 == 0o640
    assert (repo.folder / "empty").is_dir()
    assert repo.read("n") == "40\n"
    assert not (repo.folder / ".git").exists()
