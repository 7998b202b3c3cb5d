"""A loop in a worktree of its own, and the user who goes on working in the same repository meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from beatctl.activities.home import Home
from beatctl.activities.workspace import Workspace, look_at_origin, make_worktree
from beatctl.activities.workspace.users_at_work import settings
from tests.workspace.copies import START, sh

WORK = """
echo mine >> a.txt; git commit -qam mine
git checkout -q -b feat/one; echo one > one; git add one; git commit -qm one; git checkout -q main
git branch topic; git tag v2; git tag -a -m annotated v3; git branch -f side main~2
git push -q origin main; git push -q -u origin feat/one; git branch -q -D feat/one
git checkout -q -b two origin/feat/one; git checkout -q main; git pack-refs --all; echo s >> a.txt; git stash -q
"""
"""What a user does in an hour."""
AGENT = """
git checkout -q -b agents; echo x > x; git add x; git commit -qm agent; git tag agent; git tag -a -m agent agent-2
git branch deep/er; git config user.name Agent; git config core.hooksPath hooks; echo evil > "$(git rev-parse
--git-common-dir)"/hooks/post-commit; git branch -q -D gone
"""


@pytest.fixture
def user(place: Path) -> Path:
    root = place / "user"
    root.mkdir()
    sh(root, START + "git branch gone; git init -q --bare ../up; git remote add origin ../up; git push -q origin main")
    return root


def loop_in(user: Path, place: Path, name: str, branch: str | None = None) -> Workspace:
    home = Home(place / "state")
    root = home.worktrees / name
    make_worktree(look_at_origin(user, user), root, branch)
    return Workspace.open(home.loop(name), root, own_worktree=True)


def seen(user: Path) -> list[str]:
    refs = sh(user, "git for-each-ref --format='%(refname) %(objectname)' | grep -v refs/beatctl || true")
    logs = sh(user, "git reflog show --all --format='%gD %H' | grep -v refs/beatctl | sort || true")
    hooks = sh(user, "ls .git/hooks")
    return [refs, logs, (user / ".git/config").read_text(), hooks, sh(user, "git stash list; git status -s")]


def test_what_the_user_does_stays_and_what_the_agent_does_is_undone(user: Path, place: Path) -> None:
    workspace = loop_in(user, place, "one", "named")
    sh(workspace.root, AGENT.replace("\n--git", " --git").split("git branch -q -D gone")[0])
    sh(user, WORK)
    before = seen(user)
    workspace.capture("1", "first")
    after = seen(user)
    for gone in ("agents", "agent", "agent-2", "deep/er"):
        assert f"/{gone} " not in after[0]
    assert [line for line in before[0].splitlines() if "agent" not in line and "deep" not in line] == after[
        0
    ].splitlines()
    assert "hooksPath" not in after[2]
    assert "Agent" not in after[2]
    assert '[branch "two"]' in after[2]
    assert "post-commit\n" not in after[3]
    assert after[4] == before[4]
    assert "refs/heads/two@{" in after[1]
    kept = sh(user, "git for-each-ref --format='%(refname)' refs/beatctl/one/agent")
    assert "agents" in kept
    assert sh(workspace.root, "git symbolic-ref HEAD").strip() == "refs/heads/named"
    assert sh(user, "git rev-parse named main~1").split()[0] == sh(user, "git rev-parse main~1").strip()

    # Nothing more to do, and nothing of the user's lost with the next run
    again = seen(user)
    workspace.restore(workspace.baseline, keep="left")
    workspace.edits()
    workspace.capture("2", "second")
    assert seen(user) == again


def test_a_branch_of_the_users_that_an_agent_deletes_comes_back(user: Path, place: Path) -> None:
    workspace = loop_in(user, place, "one")
    before = seen(user)
    sh(workspace.root, "git branch -q -D gone; git tag -d v1; git pack-refs --all")
    assert set(workspace.capture("1", "first").repaired) >= {"branch gone", "tag v1"}
    assert seen(user)[0] == before[0]


def test_two_loops_do_not_bring_back_what_the_other_ones_agent_did(user: Path, place: Path) -> None:
    """One takes in the repository while the other one's agent has changed it; the other one puts it right."""
    one, two = loop_in(user, place, "one"), loop_in(user, place, "two")
    here = Workspace.open(Home(place / "state").loop("here"), user)
    before = seen(user)
    sh(one.root, AGENT.replace("\n--git", " --git"))
    two.edits()
    here.edits()
    one.capture("1", "first")
    middle = seen(user)
    assert middle[:1] + middle[2:] == before[:1] + before[2:]
    sh(two.root, "echo 2 > two")
    two.capture("1", "first")
    assert seen(user)[2] == before[2]
    assert seen(user)[0] == before[0]
    here.capture("1", "first")
    assert seen(user)[2] == before[2]


def test_settings_of_branches_and_new_remotes_are_the_users_and_all_others_are_put_back() -> None:
    held = (
        b'[core]\n\tbare = false\n[remote "origin"]\n\turl = a\n'
        b'[branch "main"]\n\tremote = origin\n[branch "x"]\n\tm = 1\n'
    )
    now = (
        b'[core]\n\tbare = false\n\thooksPath = evil\n[remote "origin"]\n\turl = evil\n'
        b'[branch "main"]\n\tremote = fork\n'
        b'[remote "fork"]\n\turl = b\n[user]\n\tname = Agent\n[alias]\n\tst = !evil\n'
    )
    assert settings(held, now) == (
        b'[core]\n\tbare = false\n[remote "origin"]\n\turl = a\n[branch "main"]\n\tremote = fork\n'
        b'[remote "fork"]\n\turl = b\n'
    )
    assert settings(held, held) == held
