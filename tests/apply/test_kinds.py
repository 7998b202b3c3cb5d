"""Every kind of working copy: what the agent changed is committed or refused with a sentence, the rest stays exact."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from beatctl.activities.home import Home
from beatctl.activities.workspace import Workspace, WorkspaceProblem
from beatctl.activities.workspace.apply import Apply
from beatctl.activities.workspace.applying import Link, Wanted
from tests.workspace import fingerprint
from tests.workspace.copies import KINDS, sh

REFUSED = {
    "no_repository": "is not a git repository",
    "no_commit_yet": "has no commit yet",
    "merge_in_progress": "A merge is in progress",
    "rebase_in_progress": "A rebase is in progress",
    "cherry_pick_in_progress": "A cherry-pick is in progress",
    "bisect_in_progress": "A bisect is in progress",
    "failing_hooks": "was refused; nothing was left behind",
    "signed_commits": "was refused; nothing was left behind",
}


def without_branch(root: Path) -> fingerprint.Fingerprint:
    found = fingerprint.of(root)
    refs = [line for line in found.get("git .git refs", "").splitlines() if not line.endswith("refs/heads/applied")]
    found["git .git refs"] = "\n".join(refs)
    return {key: value for key, value in found.items() if not key.endswith("heads/applied")}


def agent(root: Path) -> None:
    """Adds, edits, makes executable; nothing that the user's own edits are next to."""
    (root / "from-agent.txt").write_text("new\n")
    (root / "odd\n name").write_bytes(b"\0binary\n")
    main = root / "src" / "main.py"
    main.write_bytes(b"# by the agent\n" + main.read_bytes())
    with open(os.path.join(os.fsencode(root), b"f\xff"), "wb") as file:
        file.write(b"x")


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_agent_changed_and_nothing_else_is_committed(kind: str, place: Path) -> None:
    (place / "work" / "root").mkdir(parents=True)
    root = KINDS[kind](place / "work" / "root")
    status = "git -c core.fsmonitor=false -c status.renames=false status --porcelain -z --untracked-files=all"
    own = sh(root, f"{status} 2>/dev/null || true")
    workspace = Workspace.open(Home(place / "home").create().loop("k3f9"), root)
    agent(root)
    taken = workspace.capture("1", "an agent ran").snapshot
    workspace.close()
    before = without_branch(root)
    wanted = [
        Wanted([1], [Link(1, workspace.baseline, taken)], "by the agent\n\nBeatctl-Loop: k3f9\nBeatctl-Iteration: 1\n")
    ]

    def apply(branch: str | None) -> None:
        job = Apply(workspace.folder)
        plan = job.plan(wanted, [], taken, in_place=branch is None)
        job.make(plan, branch, lambda step, number: None)

    if kind in REFUSED:
        for branch in ("applied", None):
            with pytest.raises(WorkspaceProblem) as refused:
                apply(branch)
            assert REFUSED[kind] in refused.value.text
            assert fingerprint.differences(before, without_branch(root)) == {}
        return
    apply("applied")
    assert fingerprint.differences(before, without_branch(root)) == {}
    names = set(sh(root, "git diff -z --name-only HEAD applied").split("\0"))
    assert (
        {"from-agent.txt", "odd\n name", "src/main.py"}
        < names
        <= {*("", "from-agent.txt", "odd\n name", "src/main.py", "f\udcff")}
    )
    assert sh(root, "git show applied:src/main.py") == "# by the agent\n" + sh(root, "git show HEAD:src/main.py")

    if sh(root, "git symbolic-ref -q HEAD || true"):
        files = fingerprint.files(root)
        apply(None)
        assert sh(root, "git diff HEAD applied") == ""
        assert fingerprint.differences(files, fingerprint.files(root)) == {}
        assert sh(root, status) == own
    assert not (root / ".git" / "worktrees" / "beatctl-k3f9").exists()
    sh(root, "git -c core.fsmonitor=false fsck --connectivity-only")
