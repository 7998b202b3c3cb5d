"""`gc`: what ended loops left goes, and nothing else ever does."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from beatctl.activities import repositories
from beatctl.activities.home import Home
from beatctl.activities.records import timestamp
from beatctl.activities.workspace import hold
from tests.gc.conftest import Night
from tests.support import wait_until

ALL = ("--older-than", "0")


def everything(folder: Path) -> dict[str, int]:
    """Every path below a folder; of files with the time of change."""
    passing = ("ledger.db", ".lock")  # looking opens them
    found = [path for path in folder.rglob("*") if not path.name.startswith(passing)]
    return {str(path): 0 if path.is_dir() else path.lstat().st_mtime_ns for path in found}


def test_nothing_goes_before_somebody_says_yes(night: Night) -> None:
    before = [everything(night.beatctl.home), everything(night.root / ".git")]
    shown = night("gc", *ALL, "--dry-run")
    refused = night("gc", *ALL, expect=2)
    assert re.sub(r"\d+s ago|just now", "", shown.stdout) == re.sub(r"\d+s ago|just now", "", refused.stdout)
    for words in (
        night.repo,
        "prompts and outputs of 5 iterations",
        "snapshots of what was not kept",
        "KB, by git, later",
    ):
        assert words in shown.stdout
    assert "--yes frees it" in refused.stderr
    assert night.gc(*ALL, expect=2)["freed"] is False
    assert night.gc(*ALL, "--dry-run")["freed"] is False
    now = [everything(night.beatctl.home), everything(night.root / ".git")]
    assert [a.items() ^ b.items() for a, b in zip(now, before, strict=True)] == [set(), set()]
    assert "give one of them" in night("gc", "--dry-run", "--yes", expect=2).stderr


def test_what_was_not_kept_goes_and_all_commands_work_as_before(night: Night) -> None:
    users = night.users()
    said = {words: night(*words).stdout for words in (("diff", night.repo), ("show", night.repo))}
    assert {"0", "1", "2", "3", "4", "agent/2/heads/mine2"} <= night.refs(night.repo)
    done = night("gc", *ALL, "--yes")
    assert "Freed " in done.stdout
    assert {end.partition("-")[0] for end in night.refs(night.repo) if not end.startswith("agent/")} == {"0", "1", "3"}
    assert {end.split("/")[1] for end in night.refs(night.repo) if end.startswith("agent/")} == {"1", "3"}
    assert not (night.beatctl.home / "loops" / night.repo / "runs").exists()
    assert not (night.beatctl.home / "loops" / night.plain / "runs").exists()
    assert not night.worktree.exists()
    assert str(night.worktree) not in night.git("worktree", "list")
    assert night.users() == users
    assert {words: night(*words).stdout for words in said} == said
    assert "There is nothing to free" in night("gc", *ALL, "--yes").stdout

    # What was kept can be taken, put back and looked at
    night("apply", night.repo, "--branch", "taken")
    assert night.git("log", "--format=%s", "main..taken").count("\n") == 1
    night("undo", night.repo)
    assert (night.root / "n").read_text() == "50\n"
    night("undo", night.plain)
    assert (night.folder / "plain" / "n").read_text() == "50\n"
    assert "beatctl gc freed prompts and outputs on" in night("show", night.repo, "2").stdout
    assert "beatctl gc freed prompts and outputs on" in night("logs", night.repo, "2", expect=2).stderr
    night.git("gc", "-q", "--prune=now")
    said_of_2 = night("diff", night.repo, "2", expect=1).stderr
    assert "beatctl gc freed the snapshots of experiments that were not kept on" in said_of_2
    assert "30" in night("diff", night.repo, "3").stdout
    assert "<html" in night("report", night.repo, "--html", "-").stdout


def test_a_loop_that_was_freed_goes_on_from_its_best(night: Night) -> None:
    night("gc", *ALL, "--yes")
    night.git("gc", "-q", "--prune=now")
    done = night("resume", night.repo, "-n", "+1", "--json")
    night.beatctl("down", cwd=night.folder)
    assert done.json["best"]["score"] == 30
    assert night.ledger.row(night.repo, 5) is not None


def test_with_all_refs_only_the_ledger_stays_and_commands_say_so(night: Night) -> None:
    users, listed = night.users(), night("list", "--json").json
    night("gc", night.repo, night.plain, "--all-refs", "--yes")
    assert night.refs(night.repo) == set()
    for loop in (night.repo, night.plain):
        assert [path.name for path in (night.beatctl.home / "loops" / loop).iterdir()] == ["freed.json"]
        for words in (("diff",), ("undo",), ("apply", "--branch", "x"), ("resume", "-n", "+3")):
            done = night(words[0], loop, *words[1:], expect=1)
            assert f"beatctl gc --all-refs freed the snapshots of {loop} on 20" in done.stderr
        assert "keep" in night("show", loop).stdout
        assert "beatctl gc freed" in night("show", loop, "3").stdout
        night("report", loop, "--html", "-")
    assert night.refs(night.tree) >= {"0", "1", "2", "3", "4"}  # not named
    assert (night.root / "n").read_text() == "30\n"
    assert night.users() == users
    assert night("list", "--json").json == listed
    assert "There is nothing to free" in night("gc", night.repo, "--all-refs", "--yes").stdout


def test_only_loops_that_ended_long_ago_are_meant(night: Night) -> None:
    done = night("gc", "--dry-run")
    assert "3 loops ended less than 30d ago" in done.stderr
    status = night.ledger.status(night.repo)
    assert status is not None
    old = status.model_copy(update={"ended_at": timestamp(1.0)})
    night.ledger.write(old)
    assert [one["id"] for one in night.gc("--dry-run")["loops"]] == [night.repo]
    assert night.gc(night.tree, "--older-than", "1h", "--dry-run")["loops"] == []
    for words in (("--older-than", "30"), ("--older-than", "soon"), ("nope",)):
        night("gc", *words, expect=2)


def test_a_repositorys_copy_goes_once_no_loop_was_started_from_it_for_long_and_costs_its_clones_nothing(
    night: Night,
) -> None:
    home, url = Home(night.beatctl.home), f"file://{night.root}"
    source = repositories.fetch(home, url, None)
    clone = night.beatctl.home / "clones" / "k3f9"
    repositories.clone(source, clone)
    assert night.gc("--dry-run")["others"] == []
    os.utime(source.cache, (1, 1))
    [found] = night.gc("--dry-run")["others"]
    assert [(piece["kind"], piece["what"]) for piece in found["free"]] == [("copies", str(source.cache))]
    night("gc", "--yes")
    assert not list(source.cache.parent.glob("*.git*/"))
    night.git("fsck", "--strict", at=clone)
    assert night.git("rev-parse", "HEAD", at=clone) == source.commit
    assert repositories.fetch(home, url, None) == source


def test_a_loop_that_is_not_over_keeps_everything(night: Night) -> None:
    status = night.ledger.status(night.repo)
    assert status is not None
    night.ledger.write(status.model_copy(update={"state": "paused", "outcome": None}))
    before = [everything(night.beatctl.home / "loops" / night.repo), everything(night.root / ".git")]
    assert "is not over (paused)" in night("gc", night.repo, "--yes", expect=2).stderr
    found = night.gc(*ALL, "--yes")["loops"]
    # Its guard would put back what is removed beside it in the same repository
    [beside] = [one for one in found if one["id"] == night.tree]
    assert [piece["kind"] for piece in beside["free"]] == ["outputs"]
    assert f"Loop {night.repo} is at work in the same repository" in beside["stays"][0]
    assert [everything(night.beatctl.home / "loops" / night.repo), everything(night.root / ".git")] == before
    assert night.worktree.exists()


USERS = {
    "edits a file": ("echo mine > n", "was changed since the loop ended (n)"),
    "adds a file": ("echo mine > new", "was changed since the loop ended (new)"),
    "stages": ("git add n", "has staged changes"),
    "commits on no branch": ("git commit -qam mine", "has commits that no branch holds"),
    "commits on no branch and leaves it": (
        "git stash -q; git commit -q --allow-empty -m mine; git checkout -q --detach main; git stash pop -q",
        "has commits that no branch holds",
    ),
    "locks it": ("git worktree lock .", "is locked"),
    "makes a repository in it": ("git init -q sub; echo x > sub/x", "was changed since the loop ended (sub"),
    "is in a merge": ("git rev-parse HEAD > $(git rev-parse --git-dir)/MERGE_HEAD", "in the middle of a merge"),
}


@pytest.mark.parametrize(("script", "why"), USERS.values(), ids=USERS.keys())
def test_a_worktree_with_something_of_the_users_stays(night: Night, script: str, why: str) -> None:
    subprocess.run(["sh", "-ec", script], cwd=night.worktree, env=night.beatctl.environ, check=True)
    before = everything(night.worktree)
    [found] = night.gc(night.tree, "--yes")["loops"]
    assert why in " ".join(found["stays"])
    assert everything(night.worktree).keys() == before.keys()
    assert str(night.worktree) in night.git("worktree", "list")


def test_work_on_a_branch_is_no_reason_to_keep_its_worktree_and_the_branch_stays(night: Night) -> None:
    night.git("checkout", "-q", "-b", "mine", at=night.worktree)
    night.git("commit", "-qam", "mine", at=night.worktree)
    commit = night.git("rev-parse", "mine")
    night("gc", night.tree, "--all-refs", "--yes")
    assert not night.worktree.exists()
    assert night.git("rev-parse", "mine") == commit


def test_the_only_copy_of_a_worktrees_result_stays_with_all_refs(night: Night) -> None:
    [found] = night.gc(night.tree, "--all-refs", "--yes")["loops"]
    assert "has changes that are in no commit" in " ".join(found["stays"])
    assert (night.worktree / "n").read_text() == "30\n"


def test_what_is_not_beatctls_by_name_and_by_the_ledger_is_listed_and_stays(night: Night) -> None:
    home = night.beatctl.home
    night.git("update-ref", "refs/beatctl/other/0", "HEAD")  # another home's loop
    (home / "loops" / "mine").mkdir()
    (home / "loops" / "mine" / "notes").write_text("mine\n")
    (home / "worktrees" / "mine").mkdir()
    (home / "worktrees" / "mine" / "file").write_text("mine\n")
    (night.folder / ".beatctl-other-objects").mkdir()
    night("gc", *ALL, "--all-refs", "--yes")
    stays = " ".join(one for other in night.gc(*ALL, "--dry-run")["others"] for one in other["stays"])
    assert f"{home}/loops/mine is of no loop" in stays
    assert f"{home}/worktrees/mine is of no loop" in stays
    assert night.git("rev-parse", "refs/beatctl/other/0") == night.git("rev-parse", "HEAD")
    assert (home / "loops" / "mine" / "notes").exists()
    assert (home / "worktrees" / "mine" / "file").exists()
    assert (night.folder / ".beatctl-other-objects").exists()


def test_refs_of_another_home_under_the_same_id_stay(night: Night) -> None:
    night.git("update-ref", f"refs/beatctl/{night.repo}/0", "HEAD")
    [found] = night.gc(night.repo, "--all-refs", "--yes")["loops"]
    assert "is not this loop's, but of another beatctl home's" in found["stays"][0]
    assert {"0", "1", "2", "3", "4"} <= night.refs(night.repo)


def test_a_repository_that_is_gone_is_told_and_what_protects_it_stays(night: Night) -> None:
    kept = night.beatctl.home / "loops" / night.repo / "workspace" / "guards" / "root" / "copies"
    kept.mkdir(parents=True)
    (kept / "HEAD").write_text("ref: refs/heads/main\n")
    shutil.move(night.root, night.folder / "moved")
    [found] = night.gc(night.repo, "--yes")["loops"]
    assert f"{night.root} is gone or was moved" in found["stays"][0]
    assert (kept / "HEAD").exists()
    night("gc", night.repo, "--all-refs", "--yes")
    assert not kept.exists()
    shutil.move(night.folder / "moved", night.root)
    assert {"0", "1", "2", "3", "4"} <= night.refs(night.repo)


def test_what_a_loop_should_have_removed_itself_goes(night: Night) -> None:
    loop = night.beatctl.home / "loops" / night.repo
    (loop / "environment.json").write_text("{}")
    (loop / ".environment.json-0badcafe").write_text("{}")
    beside = night.folder / f".beatctl-{night.repo}-objects"
    (beside / "0").mkdir(parents=True)
    (loop / "workspace" / "guards" / "root").mkdir(parents=True, exist_ok=True)
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = night.root / ".git" / "objects" / f".beatctl-{gone.pid}-0-1"
    mine = night.root / ".git" / "objects" / f".beatctl-{os.getpid()}-0-1"
    for path in (left, mine, night.beatctl.home / f".looked.{gone.pid}"):
        path.write_text("")
    aside = night.beatctl.home / "worktrees" / ".gone-k3f9"
    aside.mkdir()
    (night.beatctl.home / "owners").mkdir(exist_ok=True)
    (night.beatctl.home / "owners" / "0123.json").write_text(json.dumps({"loop": night.repo, "root": "/nowhere"}))
    night("gc", *ALL, "--yes")
    for path in (loop / "environment.json", loop / ".environment.json-0badcafe", beside, left, aside):
        assert not path.exists(), path
    assert not (loop / "workspace" / "guards").exists()
    assert not (night.beatctl.home / "owners" / "0123.json").exists()
    assert mine.exists()  # its process lives


def test_a_killed_dry_runs_worktree_and_refs_go_and_a_running_ones_stay(night: Night) -> None:
    marker = night.folder / "measuring"
    words = (
        "start",
        "x",
        "--eval",
        f"touch {marker}; sleep 300",
        "--minimize",
        "-a",
        "true",
        "--dry-run",
        "--worktree",
    )
    process = night.beatctl.popen(*words, cwd=night.root)
    wait_until(marker.exists, "the evaluator")
    marker.unlink()
    [tree] = [path for path in (night.beatctl.home / "worktrees").iterdir() if path != night.worktree]
    assert [one for one in night.gc(*ALL, "--dry-run")["others"] if one["id"] == tree.name] == []
    process.send_signal(signal.SIGKILL)
    process.wait()
    night("gc", *ALL, "--yes")
    assert not tree.exists()
    assert not (night.beatctl.home / "loops" / tree.name).exists()
    assert night.refs(tree.name) == set()
    assert str(tree) not in night.git("worktree", "list")
    for found in Path("/proc").glob("[0-9]*/cmdline"):  # what the shim left to run
        try:
            text = found.read_bytes()
        except OSError:
            continue
        if str(marker).encode() in text:
            os.kill(int(found.parent.name), signal.SIGKILL)


def test_what_a_dry_run_put_aside_stays_until_all_refs(night: Night) -> None:
    night(
        "start", "x", "--eval", "echo 5; echo new > n", "--minimize", "-a", "true", "--dry-run", "-C", str(night.root)
    )
    [loop] = {path.name for path in (night.beatctl.home / "loops").iterdir()} - {night.repo, night.tree, night.plain}
    assert "left1" in night.refs(loop)
    night("gc", *ALL, "--yes")
    assert "left1" in night.refs(loop)
    night("gc", *ALL, "--all-refs", "--yes")
    assert night.refs(loop) == set()
    assert not (night.beatctl.home / "loops" / loop).exists()


def test_a_folder_that_a_command_works_on_is_left_alone(night: Night) -> None:
    with hold(Home(night.beatctl.home), night.root, night.repo, lambda _: False):
        done = night("gc", night.repo, "--yes")
    assert f"{night.repo} is in use by now: left alone." in done.stderr
    assert {"0", "1", "2", "3", "4"} <= night.refs(night.repo)


_KILLED = """
import os, signal, sys
left = int(os.environ["AFTER"])
def hook(event, _):
    global left
    if event in ("os.remove", "os.rmdir", "os.rename", "subprocess.Popen", "shutil.rmtree"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
from beatctl.cli.entry import main
sys.argv = ["beatctl", "gc", "--older-than", "0", "--yes", *os.environ["WORDS"].split()]
sys.addaudithook(hook)
main()
"""


@pytest.mark.parametrize("words", ["", "--all-refs"])
@pytest.mark.parametrize("after", [12, 60, 130])
def test_killed_anywhere_and_run_again_it_finishes(night: Night, words: str, after: int) -> None:
    users = night.users()
    line = [sys.executable, "-I", "-c", _KILLED]
    env = {**night.beatctl.environ, "AFTER": str(after), "WORDS": words}
    killed = subprocess.run(line, cwd=night.folder, env=env, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed
    night("gc", *ALL, "--yes", *words.split())
    assert "nothing to free" in night("gc", *ALL, "--yes", *words.split()).stdout
    assert night.users() == users
    kept = {end for end in night.refs(night.repo) if end.isdigit()}
    assert kept == (set() if words else {"0", "1", "3"})
    assert night.worktree.exists() == bool(words)
    if not words:
        assert str(night.worktree) not in night.git("worktree", "list")
        assert not list(night.worktree.parent.iterdir())


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("", 1), ("n", 1)])
def test_on_a_terminal_it_asks(night: Night, answer: str, code: int) -> None:
    ours, theirs = pty.openpty()
    line = [str(night.beatctl.program), "gc", *ALL]
    process = subprocess.Popen(
        line, cwd=night.folder, env=night.beatctl.environ, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(ours, 4096)
    os.write(ours, answer.encode() + b"\n")
    try:
        while chunk := os.read(ours, 4096):
            said += chunk
    except OSError:
        pass  # the other end is closed
    os.close(ours)
    assert process.wait() == code, said
    assert (night.beatctl.home / "loops" / night.repo / "runs").exists() == bool(code)
