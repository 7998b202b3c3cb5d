"""`apply --branch`: history of the user's own, and nothing else of theirs touched."""

from __future__ import annotations

import pytest

from tests.apply.conftest import HOOK, KEPT, Ended
from tests.workspace import fingerprint

pytestmark = pytest.mark.xdist_group("apply")


def untouched(ended: Ended) -> dict[str, str]:
    """Everything of the user's: files, modes, index, refs, configuration; without the branch that is made."""
    found = fingerprint.of(ended.root)
    gone = ("refs/heads/faster", "logs/refs/heads/faster")
    found = {key: value for key, value in found.items() if not key.endswith(gone)}
    refs = found["git .git refs"].splitlines()
    found["git .git refs"] = "\n".join(line for line in refs if not line.endswith("refs/heads/faster"))
    return found


def test_six_experiments_become_six_commits_and_the_users_folder_is_as_before(ended: Ended) -> None:
    log = ended.hook("pre-commit", HOOK)
    ended.hook("post-commit", HOOK)
    before = untouched(ended)

    done = ended.apply("--branch", "faster")

    assert fingerprint.differences(before, untouched(ended)) == {}
    assert "6 commits on new branch faster, from main" in done.stdout
    assert ended.sh("git worktree list").count("\n") == 0
    commits = ended.sh("git rev-list --reverse main..faster").split()
    assert len(commits) == 6
    assert log.read_text().split("\n")[:-1] == ["pre-commit faster 0", "post-commit faster 0"] * 6
    for commit, number in zip(commits, KEPT, strict=True):
        shown = ended.sh(f"git log -1 --format='%an %ae%n%s%n%b' {commit}")
        assert shown.startswith(f"Ada ada@example.com\nStep {number}: lower n\n")
        trailers = ended.sh(f"git log -1 --format='%(trailers:only)' {commit}").splitlines()
        assert trailers[:4] == [
            f"Beatctl-Loop: {ended.id}",
            f"Beatctl-Iteration: {number}",
            f"Beatctl-Score: {100 - number}.0",
            "Beatctl-Baseline: 100.0",
        ]
    assert ended.sh("git log --format=%p faster").count(" ") == 0

    # Each commit holds what its experiment did, as this user's git stores it, and nothing of the user's own.
    def names(number: int) -> list[str]:
        commit = commits[KEPT.index(number)]
        return ended.sh(f"git -c core.quotePath=false diff-tree -r -M --name-status {commit}^ {commit}").splitlines()

    assert names(1) == ["M\tdos.txt", "M\tn", "M\tshared.py"]
    assert names(2) == ["M\tdata.bin", "M\tn", "R100\tmoved.txt\tnew-name.txt"]
    assert [line.partition("\t")[0] for line in names(4)] == ["A", "D", "A", "M", "M"]
    assert names(5) == ["M\tf.up", "M\tn"]  # line endings of dos.txt are not git's business here
    assert names(7) == ["M\tdos.txt", "M\tn", "M\tshared.py"]
    assert len(names(8)) == 2  # n, and a name that is not UTF-8
    assert ended.sh("git ls-tree faster run.sh link").split()[0::4] == ["120000", "100755"]
    assert ended.sh("git show faster:f.up") == "SMALLER"
    assert "\r" not in ended.sh("git show faster:dos.txt faster:shared.py faster:n")
    assert ended.sh("git show faster:dos.txt | sed -n 20,21p") == "line twenty\nline 21 again"
    assert ended.sh("git show faster:shared.py | sed -n '1p;30p;31p'").split("\n") == [
        "def f1(): pass",
        "def agent(): return 1",
        "def later(): return 2",
    ]
    assert ended.sh("git show faster:staged.txt faster:both.txt faster:removed.txt") == "one\none\none"
    there = ended.sh("git ls-tree -r --name-only faster")
    for name in ("untracked.txt", "added.txt", "x.log", "node_modules", "junk.txt"):
        assert name not in there

    again = ended.apply("--branch", "faster", expect=2)
    assert "There is a branch faster already" in again.stderr


def test_hooks_that_lie_in_an_ignored_folder_run_as_they_do_for_the_user(ended: Ended) -> None:
    log = ended.hook("unused", "")
    ended.sh(
        f"mkdir -p .husky/_; echo '*' > .husky/_/.gitignore; printf '#!/bin/sh\necho ran >> {log}\ngit add -A\n' "
        "> .husky/_/pre-commit; chmod +x .husky/_/pre-commit; echo x > .husky/x;"
        "git add .husky/x; git commit -qm husky -- .husky/x; git config core.hooksPath .husky/_"
    )
    ended.apply("--branch", "faster")
    assert log.read_text() == "ran\n" * 6
    there = ended.sh("git ls-tree -r --name-only faster").splitlines()
    assert "node_modules" not in there
    assert ".husky/_" not in there
