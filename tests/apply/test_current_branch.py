"""`apply --commit`: the branch moves, the user's own edits and what they staged stay what they were."""

from __future__ import annotations

import json

import pytest

from tests.apply.conftest import KEPT, Ended
from tests.workspace import fingerprint

OWN = {
    "M  staged.txt",
    "MM both.txt",
    " M shared.py",
    " D removed.txt",
    "A  added.txt",
    "?? untracked.txt",
}

pytestmark = pytest.mark.xdist_group("apply")


def status_of(ended: Ended) -> set[str]:
    return set(ended.sh("git status --porcelain").splitlines())


def test_committed_experiments_leave_the_users_edits_as_they_were(ended: Ended) -> None:
    ended.sh("echo 'since the end' >> run.sh; git add data.bin new-name.txt")
    files = fingerprint.files(ended.root)
    assert status_of(ended) > {" M n", "A  new-name.txt", " M run.sh"}

    done = ended.apply("--commit", "--json")

    told = json.loads(done.stdout)
    assert told["id"] == ended.id
    assert [one["iterations"] for one in told["applied"]["commits"]] == [[number] for number in KEPT]
    assert ended.sh("git rev-list --reverse v1..main").split() == [one["commit"] for one in told["applied"]["commits"]]
    assert fingerprint.differences(files, fingerprint.files(ended.root)) == {}
    assert status_of(ended) == {*OWN, " M run.sh"}
    assert ended.sh("git diff run.sh | grep '^[+-][^+-]'") == "+since the end"
    assert ended.sh("git diff shared.py | grep '^[+-][^+-]'") == "-def f1(): pass\n+mine = 1"
    assert ended.sh("git show :both.txt; git diff --cached --name-only") == "staged\nadded.txt\nboth.txt\nstaged.txt"
    assert ended.sh("git log --format=%gs -g main").splitlines()[0] == f"beatctl apply {ended.id}: 6 commits"

    again = ended.apply("--commit", expect=2)
    assert "is applied already (#1 " in again.stderr
    assert "applied already" in ended.apply("--branch", "other", expect=2).stderr

    # undo takes no commit back, and says so.
    head = ended.sh("git rev-parse HEAD")
    undone = ended("undo", ended.id)
    assert "6 commits" in undone.stderr
    assert ended.sh("git rev-parse HEAD") == head
    assert (ended.root / "n").read_text() == "100\n"
    kept = f"refs/beatctl/{ended.id}/undone"
    assert kept in undone.stdout
    assert ended.sh(f"git show {kept}:run.sh | tail -1") == "since the end"
    (ended.root / "n").write_text("mine again\n")
    assert f"{kept}2" in ended("undo", ended.id).stdout
    assert ended.sh(f"git show {kept}:n; git show {kept}2:n") == "92\nmine again"
    ended.sh(undone.stderr.rpartition(": ")[2])
    assert ended.sh("git rev-parse HEAD") == ended.sh("git rev-parse v1")


def test_one_commit_holds_them_all(ended: Ended) -> None:
    ended.apply("--commit", "--squash", "-m", "perf: lower n to {score}")
    assert ended.sh("git log --format=%s v1..main") == "perf: lower n to 92"
    assert ended.sh("git log -1 --format='%(trailers:key=Beatctl-Iteration,valueonly,separator=%x2C)'") == "1,2,4,5,7,8"
    assert "- #4 (96) Step 4: lower n" in ended.sh("git log -1 --format=%b")
    assert ended.sh("git show main:n") == "92"
    assert status_of(ended) == OWN
    assert "#7" in ended.apply("--branch", "x", "--only", "7", expect=2).stderr


def test_single_experiments_can_be_taken_and_the_others_later(ended: Ended) -> None:
    ended.apply("--commit", "--only", "1,2", "-m", "{n}: {summary}")
    assert ended.sh("git log --format=%s --reverse v1..main") == "1: Step 1: lower n\n2: Step 2: lower n"
    assert status_of(ended) > {*OWN, " M n", " D gone.txt", "?? link"}
    rest = ended.apply("--branch", "rest")
    assert "In HEAD before: #1, #2." in rest.stderr
    assert ended.sh("git rev-list main..rest").count("\n") == 3
    ended.apply("--commit")
    assert status_of(ended) == OWN
    assert ended.sh("git diff main rest") == ""


def test_what_a_hook_changes_is_committed_and_comes_to_the_folder(ended: Ended) -> None:
    ended.hook("pre-commit", '#!/bin/sh\nsed -i "s/line twenty/line 20/" dos.txt; echo x >> LOG; git add -u')
    ended.apply("--commit")
    assert ended.sh("git show main:dos.txt | sed -n 20,21p") == "line 20\nline 21 again"
    assert "line 20" in (ended.root / "dos.txt").read_text()
    assert status_of(ended) == OWN


def test_the_users_identity_and_the_environments_are_used(ended: Ended) -> None:
    lost = ended.root.parent / "lost"
    env = {
        "GIT_AUTHOR_NAME": "Grace",
        "GIT_COMMITTER_EMAIL": "c@x.org",
        "GIT_INDEX_FILE": str(lost),
        "GIT_DIR": "/none",
    }
    ended.apply("--commit", "--only", "1", env=env)
    assert ended.sh("git log -1 --format='%an %ae %cn %ce'") == "Grace ada@example.com Ada c@x.org"
    assert not lost.exists()
