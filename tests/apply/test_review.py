"""Looking through what a loop did before any of it is taken: `diff` and `show N`."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.apply.conftest import Ended, sh
from tests.support import Beatctl, remove_tree, wait_until

pytestmark = pytest.mark.xdist_group("apply")


def test_the_diff_holds_what_the_loop_changed_and_none_of_the_users_own_edits(ended: Ended) -> None:
    stat = ended("diff", ended.id, "--stat").stdout
    for name in ("dos.txt", "shared.py", "moved.txt => new-name.txt", "gone.txt", "run.sh", "data.bin", "f.up"):
        assert name in stat
    for name in ("staged.txt", "both.txt", "removed.txt", "untracked.txt", "added.txt", "junk.txt", "x.log"):
        assert name not in stat
    whole = ended("diff", ended.id).stdout
    assert "+def agent(): return 1" in whole
    assert "-mine" not in whole
    assert "+junk" in ended("diff", ended.id, "3").stdout
    told = json.loads(ended("diff", ended.id, "1", "--json").stdout)
    assert told["paths"] == ["dos.txt", "n", "shared.py"]
    assert "changed nothing" in ended("diff", ended.id, "0", expect=2).stderr


def test_every_kind_of_experiment_is_shown_whole(ended: Ended) -> None:
    text = ended("show", ended.id, "1").stdout
    head, _, rest = text.partition("\n\n")
    assert head.startswith(f"#1 keep  {ended.id}  lower n\n")
    for part in ("score     99 (-1.0% against #0)", "exit code 0", f"refs/beatctl/{ended.id}/1)", "logs      /"):
        assert part in head
    at = 0
    for part in (
        *("Prompt, ", "\n  lower n\n", "\n\nThe agent said\n  # Step 1: lower n\n\n"),
        *("The evaluator's output (its end; whole: /", "/1/evaluator.1.stdout)\n  99\n", "Changed since #0\n"),
        "  +def agent(): return 1\n",
    ):
        assert part in rest[at:], part
        at = rest.index(part, at)
    assert "(the best)" in ended("show", ended.id, "8").stdout
    later = ended("show", ended.id, "8").stdout
    assert f"… the whole: beatctl show {ended.id} 8 --prompt" in later
    assert "Discarded and failed ones" not in later
    assert "Discarded and failed ones" in ended("show", ended.id, "8", "--prompt").stdout
    crashed = ended("show", ended.id, "6").stdout
    assert "exit code 7" in crashed
    assert "The evaluator's output" not in crashed
    baseline = ended("show", ended.id, "0").stdout
    assert baseline.startswith("#0 baseline")
    assert "Prompt" not in baseline
    assert "Changed" not in baseline
    logs = Path(json.loads(ended("show", ended.id, "1", "--json").stdout)["logs"])
    remove_tree(logs.parent)
    text = ended("show", ended.id, "1").stdout
    assert "The files of its runs are gone" in text
    assert "Step 1: lower n" in text
    assert "+def agent(): return 1" in text
    ended.sh(f"git update-ref -d refs/beatctl/{ended.id}/1")
    assert ended("show", ended.id, "1").exit_code == 0
    assert "--prompt goes with an experiment's number" in ended("show", ended.id, "--prompt", expect=2).stderr


def on_a_terminal(ended: Ended, *words: str, **env: str) -> str:
    """What a command shows on a terminal."""
    ours, theirs = pty.openpty()
    environ = {**ended.beatctl.environ, "TERM": "xterm", **env}
    command = [str(ended.beatctl.program), *words]
    process = subprocess.Popen(command, cwd=ended.root, env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # how Linux says that nobody is at the other end any more
        pass
    os.close(ours)
    assert process.wait(timeout=30) == 0
    return shown.decode("utf-8", "replace")


def test_on_a_terminal_the_users_pager_shows_it_as_gits_does(ended: Ended) -> None:
    pager = "sed 's/^/PAGED /'"
    for words in (("diff", ended.id), ("show", ended.id, "1")):
        assert "PAGED" in on_a_terminal(ended, *words, PAGER=pager)
        assert "PAGED" in on_a_terminal(ended, *words, PAGER="cat", GIT_PAGER=pager)
        assert "PAGED" not in on_a_terminal(ended, *words, "--no-pager", PAGER=pager)
        assert "agent(): return 1" in on_a_terminal(ended, *words, PAGER="no-such-pager-here")
    ended.sh(f"git config core.pager {json.dumps(pager)}")
    assert "PAGED" in on_a_terminal(ended, "diff", ended.id, PAGER="cat")
    assert "\x1b[" in on_a_terminal(ended, "diff", ended.id)
    assert "\x1b[" not in on_a_terminal(ended, "diff", ended.id, NO_COLOR="1")
    assert "PAGED" not in ended("diff", ended.id, env={"PAGER": pager}).stdout


def test_a_pipeline_is_shown_step_by_step(shared_beatctl: Beatctl, place: Path) -> None:
    root = place / "repo"
    root.mkdir()
    sh(root, "git init -q; echo x > n; git add n; git commit -qm first", shared_beatctl.environ)
    agent = place / "agent.sh"
    agent.write_text('#!/bin/sh\necho done >> n; echo "made step $BEATCTL_STEP"\n')
    agent.chmod(0o755)
    words = ("--step", "refactor", "--step", "measure", "--until", "grep -q done n", "-a", f"{agent} {{prompt_file}}")
    check = ("--check", "echo checked; true", "--json")
    status = shared_beatctl("start", *words, *check, cwd=root, expect=0).json
    text = shared_beatctl("show", status["id"], "1", cwd=root, expect=0).stdout
    order = ["  step 1", "  step 2", "Prompt, step 1", "refactor", "said, step 1", "made step 1", "Prompt, step 2"]
    order += ["measure", "said, step 2", "made step 2", "The check's output", "checked", "Changed since #0", "+done"]
    at = 0
    for words_ in order:
        assert words_ in text[at:], words_
        at = text.index(words_, at)


def test_edits_taken_in_while_it_ran_are_no_part_of_the_diff_or_of_any_commit(
    shared_beatctl: Beatctl, place: Path
) -> None:
    root = place / "repo"
    root.mkdir()
    sh(root, "git init -q -b main; seq 30 > n; echo 9 > s; git add -A; git commit -qm first", shared_beatctl.environ)
    agent = place / "agent.sh"
    agent.write_text('#!/bin/sh\ni=$BEATCTL_ITERATION; echo $((9 - i)) > s; sed -i "$((i * 5))s/$/ agent/" n\n')
    agent.chmod(0o755)
    words = ("lower s", "--eval", "cat s", "--minimize", "-a", str(agent), "-n", "2", "--cooldown", "1h")
    loop = Ended(
        shared_beatctl, str(shared_beatctl("start", *words, "-d", "--json", cwd=root, expect=0).json["id"]), root
    )

    def now() -> dict[str, object]:
        return shared_beatctl.look(loop.id)

    wait_until(lambda: now()["iteration"] == 1, "the first iteration")
    assert "is not over (running)" in loop.apply("--branch", "x", expect=2).stderr
    loop.sh("sed -i '20s/$/ mine/' n; echo own > own.txt")
    loop("set", loop.id, "--cooldown", "0")
    wait_until(lambda: now()["state"] == "paused", "the pause for the edits")
    loop("resume", loop.id)
    wait_until(lambda: now()["state"] == "finished", "the end")
    rows = loop.rows()
    assert [(row["verdict"], row["agent"] is None) for row in rows[1:]] == [
        ("keep", False),
        ("keep", True),
        ("keep", False),
    ]
    diff = loop("diff", loop.id).stdout
    assert "+5 agent" in diff
    assert "+15 agent" in diff
    assert "mine" not in diff
    assert "own" not in diff
    assert "+20 mine" in loop("diff", loop.id, "2").stdout
    assert "your edits: " in loop("show", loop.id, "2").stdout
    assert "holds your own edits" in loop.apply("--branch", "x", "--only", "2", expect=2).stderr
    loop.apply("--commit")
    assert loop.sh("git log --format=%s v1..main 2>/dev/null || git rev-list --count main") == "3"
    assert loop.sh("git status --porcelain; git diff | grep '^[+-][^+-]'") == " M n\n?? own.txt\n-20\n+20 mine"
