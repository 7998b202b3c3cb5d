"""What `apply` refuses, it refuses before anything is written; what fails half-way leaves nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.apply.conftest import Ended, sh
from tests.support import Beatctl, wait_until
from tests.workspace import fingerprint

pytestmark = pytest.mark.xdist_group("apply")


def refused(ended: Ended, *words: str, expect: int = 2, env: dict[str, str] | None = None) -> str:
    """What apply said. Nothing may have changed: files, index, refs, configuration, worktrees."""
    before = fingerprint.of(ended.root)
    done = ended.apply(*words, expect=expect, env=env)
    assert done.stdout == ""
    assert fingerprint.differences(before, fingerprint.of(ended.root)) == {}
    assert not (ended.root / ".git" / "worktrees").exists()
    return done.stderr


@pytest.mark.parametrize("where", [("--branch", "new"), ("--commit",)])
def test_a_hook_that_fails_stops_everything_and_leaves_nothing(ended: Ended, where: tuple[str, ...]) -> None:
    log = ended.hook(
        "pre-commit", "#!/bin/sh\necho x >> LOG; [ $(wc -l < LOG) -lt 4 ] && exit; echo 'lint: no way'; touch f; exit 1"
    )
    said = refused(ended, *where, expect=1)
    assert said == "git commit of #5 was refused; nothing was left behind. It said:\n  lint: no way\n"
    assert log.read_text() == "x\n" * 4
    log.unlink()
    ended.hook("pre-commit", "#!/bin/sh\n")
    ended.hook("commit-msg", '#!/bin/sh\ngrep -q "^perf: " "$1" || { echo "say perf:"; exit 1; }')
    assert "say perf:" in refused(ended, *where, expect=1)
    ended.apply(*where, "-m", "perf: {summary}")


def test_an_experiment_that_rests_on_one_left_out_is_told(ended: Ended) -> None:
    said = refused(ended, "--branch", "new", "--only", "1,2,7", expect=1)
    assert said == (
        "What #7 changed does not fit onto HEAD; nothing was written.\n  n: rests on #4, #5, which is left out\n"
        "Take those too, or leave this one out as well.\n"
    )
    assert "\n  shared.py: rests on #1, which is left out\n" in refused(ended, "--commit", "--only", "7", expect=1)


def test_commits_made_since_that_contradict_are_told_before_anything_is_written(ended: Ended) -> None:
    ended.sh(
        "git show HEAD:shared.py | sed 's/def f30.*/def theirs(): pass/' > ../theirs; "
        "git update-index --cacheinfo 100644,$(git hash-object -w ../theirs),shared.py; git commit -qm theirs"
    )
    for where in (("--branch", "new"), ("--commit",)):
        said = refused(ended, *where, expect=1)
        assert "What #1 changed does not fit onto HEAD" in said
        assert "\n  shared.py: changed in commits since the loop began\n" in said
        assert "dos.txt" not in said


def test_what_is_staged_in_the_same_place_is_told_before_anything_is_written(ended: Ended) -> None:
    ended.sh("echo 7 > ../seven; git update-index --cacheinfo 100644,$(git hash-object -w ../seven),n")
    assert "\n  n: what you have staged is in the same place\n" in refused(ended, "--commit", expect=1)
    ended.apply("--branch", "new")


def test_a_folder_that_no_longer_holds_the_loops_result_gets_no_commit_under_it(ended: Ended) -> None:
    ended("undo", ended.id)
    said = refused(ended, "--commit")
    assert "no longer holds the loop's version of" in said
    assert "--branch NAME" in said
    ended.apply("--branch", "new")
    assert ended.sh("git show new:n") == "92"


def test_odd_moments_and_words_are_refused_with_a_sentence(ended: Ended) -> None:
    assert "Where to? " in refused(ended)
    assert "Either --branch NAME" in refused(ended, "--branch", "x", "--commit")
    assert "There is a branch main already" in refused(ended, "--branch", "main")
    assert "can't be a branch's name" in refused(ended, "--branch", "a..b")
    assert "#3 was not kept (discard)" in refused(ended, "--branch", "x", "--only", "3")
    assert "#99 is not there. " in refused(ended, "--branch", "x", "--only", "1,99")
    assert '"one" is none' in refused(ended, "--branch", "x", "--only", "one")
    nobody = {"GIT_COMMITTER_EMAIL": "", "GIT_COMMITTER_NAME": "", "HOME": str(ended.root.parent), "EMAIL": ""}
    ended.sh("git config user.useConfigOnly true")
    assert "git does not know who you are" in refused(ended, "--branch", "x", env=nobody)
    ended.sh("git config --unset user.useConfigOnly; git switch -q --detach")
    assert "HEAD is detached" in refused(ended, "--commit")
    ended.sh("git switch -q main; touch .git/CHERRY_PICK_HEAD")
    for where in (("--branch", "x"), ("--commit",)):
        assert "A cherry-pick is in progress" in refused(ended, *where)
    ended.sh("rm .git/CHERRY_PICK_HEAD")
    would = ended.apply("--dry-run", "--commit").stdout
    assert "would make 6 commits; nothing was written." in would
    assert ended.sh("git rev-parse HEAD v1^{commit}").split()[0] == ended.sh("git rev-parse v1")
    # Without a name it is never a guess.
    other = ended.beatctl("start", "x", "--until", "true", "--agent", "true", "--json", cwd=ended.root, expect=0).json
    said = ended("apply", "--branch", "x", expect=2).stderr
    assert said.startswith("Which loop? apply never guesses: beatctl apply ")
    assert "kept nothing (reached)" in ended("apply", str(other["id"]), "--branch", "x", expect=2).stderr


RETRY = ("--until", "grep -q done n", "-n", "3", "--json")


def start(beatctl: Beatctl, root: Path, script: str, *words: str, expect: int = 0) -> Ended:
    agent = root.parent / "agent.sh"
    agent.write_text(f"#!/bin/sh\ni=$BEATCTL_ITERATION\n{script}\n")
    agent.chmod(0o755)
    done = beatctl("start", "finish n", *words, "-a", str(agent), cwd=root, expect=expect)
    return Ended(beatctl, str(done.json["id"]), root)


def test_a_retry_becomes_one_commit_and_the_users_own_edits_in_its_way_are_told(
    shared_beatctl: Beatctl, place: Path
) -> None:
    root = place / "repo"
    root.mkdir()
    sh(root, "git init -q -b main; seq 20 > n; git add n; git commit -qm first; echo mine >> n", shared_beatctl.environ)
    loop = start(shared_beatctl, root, 'sed -i "${i}s/$/ try/" n; [ $i = 2 ] && sed -i "10s/$/ done/" n; true', *RETRY)
    loop.apply("--branch", "passed")
    assert loop.sh("git log --format=%s main..passed | wc -l").strip() == "1"
    assert loop.sh("git show passed:n | head -2; git show passed:n | sed -n '10p;$p'") == "1 try\n2 try\n10 done\n20"
    assert loop.sh("git log -1 --format='%(trailers:key=Beatctl-Iteration,valueonly)' passed") == "2"

    # The very last line is the user's own: what the agent writes below it has nothing to go below.
    loop.sh("git checkout -q n; echo mine >> n; echo own > own.txt")
    loop = start(shared_beatctl, root, "echo done >> n; echo theirs >> own.txt", *RETRY)
    before = fingerprint.of(root)
    said = loop.apply("--branch", "again", expect=1).stderr
    assert "  n: your own uncommitted edits are in the same place\n  own.txt: your own" in said
    assert fingerprint.differences(before, fingerprint.of(root)) == {}
    # The way out that is told.
    loop("undo", loop.id)
    loop.sh("git add -A; git commit -qm mine")
    loop.apply("--branch", "again")
    assert loop.sh("git show again:own.txt; git show again:n | tail -2") == "own\ntheirs\nmine\ndone"


def test_folders_without_a_commit_to_build_on_are_refused(shared_beatctl: Beatctl, place: Path) -> None:
    root = place / "repo"
    root.mkdir()
    (root / "n").write_text("x\n")
    loop = start(shared_beatctl, root, "echo done >> n", *RETRY)
    assert "is not a git repository" in loop.apply("--branch", "x", expect=2).stderr
    loop.sh("git init -q -b main")
    assert "became a git repository after the loop had begun" in loop.apply("--branch", "x", expect=2).stderr
    loop = start(shared_beatctl, root, "echo done >> m", "--until", "grep -q done m", "--json")
    assert "has no commit yet" in loop.apply("--branch", "x", expect=2).stderr
    loop.sh("git commit -q --allow-empty -m first")
    loop.apply("--commit")
    assert loop.sh("git show main:m; git status --porcelain") == "done\n?? n"


def test_an_apply_that_is_killed_leaves_nothing_that_the_next_one_does_not_remove(ended: Ended) -> None:
    log = ended.hook("pre-commit", "#!/bin/sh\necho $$ >> LOG; [ $(wc -l < LOG) -lt 3 ] || exec sleep 300")
    before = fingerprint.of(ended.root)
    process = ended.beatctl.popen("apply", ended.id, "--branch", "new", cwd=ended.root)
    wait_until(lambda: log.exists() and log.read_text().count("\n") == 3, "the third commit's hook")
    # Meanwhile the folder is taken.
    assert "at work on" in ended("undo", ended.id, expect=2).stderr
    assert "at work on" in ended.apply("--branch", "other", expect=2).stderr
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert fingerprint.differences(before, fingerprint.of(ended.root)) == {}

    log.unlink()
    process = ended.beatctl.popen("apply", ended.id, "--branch", "new", cwd=ended.root)
    wait_until(lambda: log.exists() and log.read_text().count("\n") == 3, "the third commit's hook")
    process.kill()
    process.communicate(timeout=60)
    os.kill(int(log.read_text().split()[-1]), signal.SIGKILL)
    assert (ended.root / ".git" / "worktrees").exists()
    log.unlink()
    ended.hook("pre-commit", "#!/bin/sh\n")
    ended.apply("--branch", "new")
    assert ended.sh("git rev-list main..new").count("\n") == 5
    assert not (ended.root / ".git" / "worktrees").exists()
