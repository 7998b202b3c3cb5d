"""`apply` with no more than the loop's name, where `start --branch` has said where to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.apply.conftest import Ended, sh
from tests.support import Beatctl

pytestmark = pytest.mark.xdist_group("apply")


def test_a_loop_with_a_branch_of_its_own_needs_no_more_to_be_applied(shared_beatctl: Beatctl, place: Path) -> None:
    root = place / "repo"
    root.mkdir()
    sh(
        root,
        "git init -q -b main; echo 9 > s; git add -A; git commit -qm first; echo own > own",
        shared_beatctl.environ,
    )
    agent = place / "agent.sh"
    agent.write_text("#!/bin/sh\necho $((9 - BEATCTL_ITERATION)) > s; echo lower\n")
    agent.chmod(0o755)

    def start(*words: str) -> tuple[Ended, Path]:
        given = ("lower s", "--eval", "cat s", "--minimize", "-a", str(agent), "-n", "2", "--json", *words)
        status = shared_beatctl("start", *given, cwd=root, expect=0).json
        return Ended(shared_beatctl, str(status["id"]), root), Path(status["worktree"])

    loop, tree = start("--worktree", "--branch", "try/own")
    assert "2 commits on try/own" in loop.apply().stdout
    assert loop.sh("git log --format=%s main..try/own") == "lower\nlower"
    assert sh(tree, "git status --porcelain", shared_beatctl.environ) == ""
    assert loop.sh("git status --porcelain; git rev-list --count main") == "?? own\n1"

    loop, tree = start("--worktree")
    assert "HEAD is detached" in loop.apply("--commit", expect=2).stderr
    assert "Where to?" in loop.apply(expect=2).stderr
    loop.apply("--branch", "named")
    assert loop.sh("git show named:s; git ls-tree --name-only named") == "7\ns"
    shutil.rmtree(tree)
    assert "was removed; its experiments are still in" in loop.apply("--branch", "again", expect=2).stderr

    loop, _ = start("--branch", "later")
    assert "2 commits on new branch later, from main" in loop.apply().stdout
    assert loop.sh("git log --format=%s main..later; git status --porcelain") == "lower\nlower\n M s\n?? own"
