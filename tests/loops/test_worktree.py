"""`--worktree`: loops side by side, and the user's folder and repository as they were."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.loops.conftest import Loops, Repository
from tests.support import wait_until

MINIMIZE = ("--eval", "cat n", "--minimize")


def as_it_is(repo: Repository) -> list[str]:
    """What a user would miss in their repository if it were another after a loop."""
    seen = [
        repo.git(*words)
        for words in (
            ("rev-parse", "HEAD"),
            ("symbolic-ref", "HEAD"),
            ("branch", "-av", "--no-abbrev"),
            ("stash", "list"),
            ("status", "-s", "-uall", "--ignored"),
            ("diff",),
            ("diff", "--cached"),
            ("config", "--local", "--list"),
            ("tag",),
        )
    ]
    return [*seen, (repo.folder / ".git/index").read_bytes().hex(), (repo.folder / ".git/logs/HEAD").read_text()]


def worktrees(repo: Repository) -> list[str]:
    out = repo.git("worktree", "list", "--porcelain")
    return [line.removeprefix("worktree ") for line in out.splitlines() if line.startswith("worktree ")][1:]


@pytest.fixture
def dirty(loops: Loops) -> Repository:
    """A repository with work in progress of every sort, and a folder below its top level that holds `n`."""
    repo = loops.repository
    repo.write("part/n", "50\n")
    repo.write("edited.txt", "committed\n")
    repo.git("add", "-A")
    repo.git("commit", "-qm", "second")
    repo.write("stashed.txt", "stashed\n")
    repo.git("stash", "-u")
    repo.write("edited.txt", "my edit\n")
    repo.write("staged.txt", "staged\n")
    repo.git("add", "staged.txt")
    repo.write("untracked.txt", "mine\n")
    repo.write("ignored/cache.bin", "mine too\n")
    return repo


def test_a_loop_in_its_own_worktree_leaves_the_users_folder_and_repository_alone(
    loops: Loops, dirty: Repository
) -> None:
    before = as_it_is(dirty)
    part = dirty.folder / "part"
    agent = dirty.agent(
        "git checkout -q -b mine 2>&1; case $i in 1) echo 40 > n;; *) echo 60 > n;; esac; echo new > new.txt\n"
        "git config user.name Agent; git add -A; git commit -qm agent; git tag agent; pwd"
    )
    done = loops.beatctl("start", "lower n", *MINIMIZE, "-a", agent, "-n", "2", "--worktree", "--json", cwd=part)
    status = done.json
    tree = Path(status["worktree"])
    assert (done.exit_code, status["outcome"], status["best"]["score"]) == (0, "improved", 40), done
    assert tree.is_relative_to(loops.beatctl.home / "worktrees")
    assert status["directory"] == str(tree / "part")
    assert status["origin"] == str(dirty.folder)
    assert f"3 uncommitted changes in {dirty.folder} are not in it" in done.stderr
    assert f"beatctl apply {status['id']} --branch NAME" in done.stderr
    assert as_it_is(dirty) == before
    assert worktrees(dirty) == [str(tree)]

    assert (tree / "part/n").read_text() == "40\n"
    assert (tree / "part/new.txt").exists()
    assert (tree / "edited.txt").read_text() == "committed\n"
    assert not (tree / "untracked.txt").exists()

    # From the user's folder, which is the loop's too
    here = loops.beatctl("status", "--json", cwd=part, expect=0).json
    assert here["id"] == status["id"]
    diff = loops.beatctl("diff", cwd=part, expect=0).stdout
    assert "part/new.txt" in diff
    assert "edited.txt" not in diff
    rows = loops.rows(status["id"])
    assert rows[1]["summary"] == str(tree / "part")
    loops.do("undo", status["id"])
    assert (tree / "part/n").read_text() == "50\n"
    assert not (tree / "part/new.txt").exists()
    assert as_it_is(dirty) == before


def test_loops_side_by_side_do_not_meet(loops: Loops) -> None:
    """Two in worktrees of their own and one in the folder itself, whose agents wait until all three are at work."""
    repo = loops.repository
    meeting = repo.folder.parent / "meeting"
    meeting.mkdir()
    agent = repo.agent(
        f"touch {meeting}/$BEATCTL_LOOP; until [ $(ls {meeting} | wc -l) -ge 3 ]; do sleep 0.05; done\n"
        "echo $((50 - i)) > n; echo $BEATCTL_LOOP > who"
    )
    words = ("lower n", *MINIMIZE, "-a", agent, "-n", "3")
    found = [loops.detached(*words), *(loops.detached(*words, "--worktree") for _ in range(2))]
    for loop in found:
        status = loops.finished(loop)
        assert (status["outcome"], status["best"]["score"], status["counts"]["keep"]) == ("improved", 47, 3)
        tree = Path(status["worktree"])
        assert (tree / "who").read_text() == f"{loop}\n"
        assert [row["verdict"] for row in loops.rows(loop)] == ["baseline", "keep", "keep", "keep"]
        assert {"0", "1", "2", "3"} <= repo.refs(loop)
    assert len(worktrees(repo)) == 2
    refused = loops.beatctl("start", *words, "--worktree", "--branch", "main", cwd=repo.folder, expect=2)
    assert "There is a branch main already" in refused.stderr


def test_a_branch_is_made_for_the_worktree_and_only_remembered_elsewhere(loops: Loops) -> None:
    repo = loops.repository
    agent = repo.agent("echo $((50 - i)) > n")
    status = loops.start("lower n", *MINIMIZE, "-a", agent, "-n", "1", "--worktree", "--branch", "try/n", expect=0)
    assert status["branch"] == "try/n"
    assert repo.git("rev-parse", "try/n") == repo.git("rev-parse", "main")
    assert f"{status['worktree']}  {repo.git('rev-parse', '--short', 'HEAD')} [try/n]" in repo.git("worktree", "list")
    assert f"beatctl apply {status['id']}\n" in status["said"]
    again = loops.beatctl("start", "lower n", *MINIMIZE, "--branch", "try/n", cwd=repo.folder, expect=2)
    assert f"checked out in {status['worktree']}" in again.stderr
    here = loops.start("lower n", *MINIMIZE, "-a", agent, "-n", "1", "--branch", "later", expect=0)
    assert (here["branch"], here["origin"], here["worktree"]) == ("later", None, str(repo.folder))
    assert repo.git("branch", "--list", "later") == ""


def test_a_worktree_that_was_removed_loses_no_experiment(loops: Loops) -> None:
    repo = loops.repository
    status = loops.start("lower n", *MINIMIZE, "-a", repo.agent("echo 9 > n"), "-n", "1", "--worktree", expect=0)
    loop, tree = status["id"], status["worktree"]
    repo.git("worktree", "remove", "--force", tree)
    for words in (("diff", loop), ("undo", loop), ("apply", loop, "--branch", "taken"), ("resume", loop, "-n", "+1")):
        done = loops.beatctl(*words, cwd=repo.folder, expect=2)
        assert f"Make it again: git -C {repo.folder} worktree add --detach {tree}" in done.stderr
    repo.git("worktree", "add", "-q", "--detach", tree)
    loops.beatctl("apply", loop, "--branch", "taken", cwd=repo.folder, expect=0)
    assert repo.git("show", "taken:n") == "9"


def test_what_would_still_use_the_users_folder_is_told(loops: Loops) -> None:
    repo = loops.repository
    env = {"VIRTUAL_ENV": str(repo.folder / ".venv")}
    words = ("start", "lower n", "--eval", f"cat {repo.folder}/n", "--minimize", "-a", repo.agent("true"), "-n", "1")
    done = loops.beatctl(*words, "--worktree", "--dry-run", cwd=repo.folder, env=env, expect=0)
    assert f"names {repo.folder}: it would look at your folder, not the worktree" in done.stderr
    assert f"VIRTUAL_ENV is {repo.folder}/.venv" in done.stderr


def test_a_worker_that_is_killed_during_setup_runs_it_once(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    log = repo.folder.parent / "log"
    setup = f"echo began >> {log}; while [ ! -e {log}.go ]; do sleep 0.05; done; echo ended >> {log}; touch ready"
    words = ("lower n", "--eval", "test -e ready && cat n", "--minimize", "-a", repo.agent("echo 9 > n"), "-n", "1")
    loop = loops.detached(*words, "--worktree", "--setup", setup)
    wait_until(log.exists, "the setup")
    os.kill(int(loops.do("doctor")["worker"]["pid"]), signal.SIGKILL)
    Path(f"{log}.go").touch()
    status = loops.finished(loop)
    assert (status["outcome"], status["best"]["score"]) == ("improved", 9)
    assert log.read_text().split() == ["began", "ended"]


def test_a_loop_that_is_cancelled_during_setup_leaves_no_process(loops: Loops) -> None:
    repo = loops.repository
    marker = repo.folder.parent / "marker"
    setup = f"sleep 311 & echo $! > {marker}; wait"
    loop = loops.detached("lower n", *MINIMIZE, "-a", repo.agent("true"), "--worktree", "--setup", setup)
    wait_until(lambda: marker.exists() and marker.read_text().endswith("\n"), "the setup")
    child = int(marker.read_text())
    cancelled = loops.do("cancel", loop)
    assert (cancelled["state"], cancelled["outcome"]) == ("finished", "cancelled")
    assert not Path(f"/proc/{child}").exists()


def test_setup_makes_what_git_ignores_and_its_failure_costs_no_agent(loops: Loops) -> None:
    repo = loops.repository
    repo.write(".gitignore", "node_modules/\n.env\n*.pyc\n")
    repo.write("package-lock.json", "{}\n")
    repo.git("add", "-A")
    repo.git("commit", "-qm", "lock")
    repo.write("node_modules/dep", "1\n")
    repo.write(".env", "KEY=1\n")
    repo.write("old.pyc", "")
    agent = repo.agent("touch agent-ran; echo 4 > n")
    words = ("lower n", "--eval", "cat node_modules/dep && cat n", "--minimize", "-a", agent, "-n", "1", "--worktree")

    lacking = loops.start(*words, expect=3)
    assert (lacking["outcome"], lacking["reason"]) == ("failed", "no-baseline")
    assert "node_modules and .env are missing in the worktree (ignored by git)." in lacking["detail"]
    assert f'Add --setup "npm ci && cp {repo.folder}/.env ."' in lacking["detail"]

    broken = loops.start(*words, "--setup", "echo fetching; echo 'no network' >&2; exit 7", expect=3)
    assert 'The setup failed; no agent ran. It ended with exit code 7: "no network"' in broken["detail"]
    assert f"beatctl logs {broken['id']}" in broken["detail"]
    assert "fetching" in loops.beatctl("logs", broken["id"], cwd=repo.folder, expect=0).stdout
    slow = loops.start(*words, "--setup", "sleep 300", "--setup-timeout", "300ms", expect=3)
    assert "timed out after 0.3 s" in slow["detail"]

    made = loops.start(*words, "--setup", "mkdir node_modules && echo 9 > node_modules/dep && touch made", expect=0)
    tree = Path(made["worktree"])
    assert (made["outcome"], made["baseline"]["score"], made["best"]["score"]) == ("improved", 50, 4)
    # What setup made is part of the baseline, so it is neither undone nor the loop's own change.
    assert (tree / "made").exists()
    assert "made" not in loops.beatctl("diff", made["id"], cwd=repo.folder, expect=0).stdout
    for status in (lacking, broken, slow):
        assert not (Path(status["worktree"]) / "agent-ran").exists()


def test_a_retry_loop_whose_worktree_lacks_something_says_so_with_its_baseline(loops: Loops) -> None:
    repo = loops.repository
    repo.write("ignored/data", "1\n")
    agent = repo.agent("touch done")
    words = ("fix it", "--until", "test -e done", "-a", agent, "-n", "1", "--worktree")
    status = loops.start(*words, expect=0)
    rows = loops.rows(status["id"])
    assert "ignored is missing in the worktree (ignored by git). Add --setup CMD" in rows[0]["reason"]


def test_no_worktree_is_made_of_a_folder_that_git_does_not_have(loops: Loops) -> None:
    repo = loops.repository
    repo.write("new/n", "1\n")
    words = ("start", "lower n", *MINIMIZE, "--worktree")
    assert "new is not in the last commit" in loops.beatctl(*words, cwd=repo.folder / "new", expect=2).stderr
    assert worktrees(repo) == []


def test_a_start_that_is_given_up_while_the_worktree_is_made_leaves_nothing(loops: Loops) -> None:
    repo = loops.repository
    marker = repo.folder.parent / "checking-out"
    repo.write(".gitattributes", "slow.txt filter=slow\n")
    repo.write("slow.txt", "x\n")
    repo.git("add", "-A")
    repo.git("commit", "-qm", "slow")
    repo.git("config", "filter.slow.smudge", f"touch {marker}; sleep 300; cat")
    before = as_it_is(repo)
    agent = repo.agent("true")
    known = len(loops.do("list"))
    words = ("start", "lower n", *MINIMIZE, "-a", agent, "--worktree", "--branch", "given-up")
    process = loops.beatctl.popen(*words, cwd=repo.folder)
    wait_until(marker.exists, "the checkout")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "nothing was started" in said) == (130, True), said
    assert as_it_is(repo) == before
    assert worktrees(repo) == []
    assert len(loops.do("list")) == known
    assert not list((loops.beatctl.home / "worktrees").glob("*/slow.txt"))


def test_a_worktree_that_git_cannot_make_is_told_and_leaves_nothing(loops: Loops) -> None:
    repo = loops.repository
    repo.write(".gitattributes", "n filter=broken\n")
    repo.git("add", "-A")
    repo.git("commit", "-qm", "attributes")
    repo.git("config", "filter.broken.smudge", "false")
    repo.git("config", "filter.broken.clean", "cat")
    repo.git("config", "filter.broken.required", "true")
    before = as_it_is(repo)
    words = ("start", "lower n", *MINIMIZE, "-a", repo.agent("true"), "--worktree", "--branch", "unmade")
    done = loops.beatctl(*words, cwd=repo.folder, expect=3)
    assert "The worktree could not be made" in done.stderr
    assert "smudge filter" in done.stderr
    assert "Traceback" not in done.stderr
    assert as_it_is(repo) == before
    assert worktrees(repo) == []


@pytest.mark.own_server("list tells of the loops of every host of a shared server")
def test_a_start_that_fails_after_the_worktree_was_made_takes_it_back(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    loops.beatctl("up", "-d", cwd=repo.folder, expect=0)
    (loops.beatctl.home / "owners").write_text("in the way of every claim\n")
    before = as_it_is(repo)
    words = ("start", "lower n", *MINIMIZE, "-a", repo.agent("true"), "--worktree", "--branch", "unused")
    done = loops.beatctl(*words, cwd=repo.folder, expect=3)
    assert "Nothing was started" in done.stderr
    assert as_it_is(repo) == before
    assert worktrees(repo) == []
    assert loops.do("list") == []
    assert not list((loops.beatctl.home / "loops").glob("*"))
