"""Agents that do to the repository what no agent should: each has its verdict, and everything comes back."""

from __future__ import annotations

import pytest

from tests.loops.conftest import Loops

RUDE = {
    "deletes .git": "rm -rf .git",
    "commits its work": "git add -A; git -c user.name=a -c user.email=a@b commit -qm mine",
    "switches the branch": "git checkout -qb other; git commit -q --allow-empty -m on-other",
    "empties .gitignore": ": > .gitignore",
    "changes the index": "git add -A; git rm -q --cached n",
    "installs a hook": "printf '#!/bin/sh\\ntouch hooked' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit",
    "edits the config": "git config user.name Evil; git config core.bare true",
    "resets and drops the stash": "git stash drop -q; git reset -q --hard",
    "rewrites the branch": "git commit -q --amend -m rewritten; git tag evil; git gc -q --prune=now",
    "deletes files and leaves a daemon": "rm -f mine.txt; (setsid sleep 327 >/dev/null 2>&1 &)",
}


@pytest.mark.parametrize("rude", RUDE.values(), ids=RUDE.keys())
def test_the_repository_is_as_before_and_the_loop_goes_on(loops: Loops, rude: str) -> None:
    repo = loops.repository
    repo.write("stashed.txt", "x\n")
    repo.git("stash", "-u", "-q")
    repo.write("mine.txt", "mine\n")
    repo.write("ignored/dep.js", "dependency\n")
    looks = [["log", "--oneline", "--branches", "--tags"], ["status", "-s", "--ignored"], ["stash", "list"]]
    looks += [["config", "-l", "--local"], ["branch", "-a"], ["tag"], ["reflog"]]
    before = [repo.git(*words) for words in looks]
    hooks = sorted(p.name for p in (repo.folder / ".git/hooks").iterdir())
    agent = repo.agent(f"[ $i = 1 ] && {{ {rude}; echo 60 > n; exit 0; }}; echo 40 > n")
    status = loops.start("lower n", "--eval", "cat n", "--minimize", "-a", agent, "-n", "2", expect=0)
    rows = loops.rows(status["id"])
    assert [row["verdict"] for row in rows] == ["baseline", "discard", "keep"]
    assert repo.read("n") == "40\n"
    assert repo.read("mine.txt") == "mine\n"
    assert repo.read("ignored/dep.js") == "dependency\n"
    assert repo.read(".gitignore") == "ignored/\n*.log\n"
    assert sorted(p.name for p in (repo.folder / ".git/hooks").iterdir()) == hooks
    loops.do("undo", status["id"])
    assert [repo.git(*words) for words in looks] == before


def test_fifty_megabytes_of_output_are_kept_and_harm_nobody(loops: Loops) -> None:
    agent = loops.repository.agent("head -c 50000000 /dev/zero | tr '\\0' 'x'; echo; echo 40 > n; echo the end")
    status = loops.start("lower n", "--eval", "cat n", "--minimize", "-a", agent, "-n", "1", expect=0)
    row = loops.rows(status["id"])[1]
    assert row["verdict"] == "keep"
    assert "the end" in row["summary"]


def test_a_folder_that_is_no_repository_is_protected_the_same(loops: Loops) -> None:
    repo = loops.repository
    repo.git("status")
    import shutil

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
