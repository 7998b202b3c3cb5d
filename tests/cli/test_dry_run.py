"""`start --dry-run`: what a loop would begin with, measured; and nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support import Beatctl, assert_no_process, wait_until

MINIMIZE = ("--eval", "cat n", "--minimize")


class Folder:
    """A repository with work in progress, and an agent that tells if it ever runs."""

    def __init__(self, beatctl: Beatctl, place: Path) -> None:
        self.beatctl = beatctl
        self.root = place / "repo"
        self.ran = place / "agent-ran"
        (self.root / "part").mkdir(parents=True)
        (self.root / "part/n").write_text("50\n")
        (self.root / ".gitignore").write_text("cache/\n")
        self.git("init", "-q")
        self.git("add", "-A")
        self.git("commit", "-qm", "first")
        (self.root / "part/mine.txt").write_text("mine\n")
        (self.root / "part/n").write_text("60\n")
        self.agent = place / "agent.sh"
        self.agent.write_text(f"#!/bin/sh\ntouch {self.ran}\n")
        self.agent.chmod(0o755)

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.root, env=self.beatctl.environ, capture_output=True, text=True, check=True
        )
        return done.stdout

    def words(self, *words: str) -> tuple[str, ...]:
        return ("start", "lower n", *words, "-a", f"{self.agent} {{prompt}}", "--dry-run")

    def look(self) -> dict[str, object]:
        """All that a user would find changed."""
        files = {
            str(path.relative_to(self.root)): (path.read_bytes(), path.stat().st_mode)
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and ".git" not in path.relative_to(self.root).parts
        }
        git = self.root / ".git"
        return {
            "files": files,
            "index": (git / "index").read_bytes(),
            "config": (git / "config").read_bytes(),
            "refs": self.git("for-each-ref"),
            "worktrees": self.git("worktree", "list"),
            "kept": sorted(str(path) for place in ("loops", "worktrees", "owners") for path in self.kept(place)),
        }

    def kept(self, place: str) -> list[Path]:
        folder = self.beatctl.home / place
        return [path for path in folder.iterdir() if path.name != ".lock"] if folder.exists() else []


@pytest.fixture
def folder(beatctl: Beatctl, place: Path) -> Folder:
    return Folder(beatctl, place)


def test_it_measures_and_shows_the_prompt_and_starts_nothing(folder: Folder, beatctl: Beatctl) -> None:
    before = folder.look()
    counter = folder.root.parent / "count"
    evaluator = f"echo x >> {counter}; echo junk > junk.txt; rm -f mine.txt; echo $(($(cat n) + $(wc -l < {counter})))"
    words = folder.words("--eval", evaluator, "--minimize", "--check", "test -e n", "-n", "4", "--agent-timeout", "10m")
    done = beatctl(*words, "--json", cwd=folder.root / "part", expect=0)
    told = done.json
    assert told["score"] == {"min": 61, "median": 62, "max": 63, "noise": pytest.approx(2 / 62)}
    assert [run["score"] for run in told["evaluations"]] == [61, 62, 63]
    assert told["check"]["exit_code"] == 0
    assert told["prompts"][0].startswith("lower n\n")
    assert "Score to beat: 62 (the baseline)" in told["prompts"][0]
    assert "This is iteration 1 of at most 4." in told["prompts"][0]
    assert told["agent"]["command"] == [str(folder.agent), "{prompt}"]
    # 4 iterations: an agent (10m), a check and at most two evaluations (10m each); before them a check and one.
    assert told["at_most"] == {"agent_runs": 4, "evaluator_runs": 9, "seconds": (4 * 4 + 2) * 600}
    assert any("up to 3.2% apart" in note and "--samples 5" in note for note in told["notes"])
    # What the evaluator did to the folder is undone, and kept: it might have been the user's.
    assert {"part/junk.txt", "part/mine.txt"} <= set(told["put_back"])
    assert folder.git("show", f"{told['kept'][0]}:part/junk.txt") == "junk\n"
    for ref in told["kept"]:
        folder.git("update-ref", "-d", ref)
    beatctl("gc", "--older-than", "0", "--yes", cwd=folder.root, expect=0)
    assert folder.look() == before
    assert not folder.ran.exists()
    assert beatctl("list", "--json", cwd=folder.root, expect=0).json == []
    assert not (beatctl.home / "logs").exists(), "a server was started"

    plain = beatctl(*folder.words(*MINIMIZE), cwd=folder.root / "part", expect=0)
    assert "score     60 (lower is better), the same 3 times\n" in plain.stdout
    assert f"command   {folder.agent} '{{prompt}}'\n" in plain.stdout
    assert "--- The prompt of iteration 1\nlower n\n" in plain.stdout
    assert "at most   10 agent runs" in plain.stdout
    steps = (
        "start",
        "--step",
        "find it",
        "--step",
        "mend it",
        *MINIMIZE,
        "-n",
        "0",
        "-a",
        f"{folder.agent} {{prompt}}",
    )
    done = beatctl(*steps, "--dry-run", cwd=folder.root / "part", expect=0)
    assert "--- The prompt of iteration 1, step 1\nfind it\n" in done.stdout
    assert "--- The prompt of iteration 1, step 2\nmend it\n" in done.stdout
    assert "this loop spends until it is stopped" in done.stdout
    assert folder.look() == before


def test_a_flaky_test_is_told_before_a_night_is_spent_on_it(folder: Folder, beatctl: Beatctl) -> None:
    counter = folder.root.parent / "count"
    flaky = f"echo x >> {counter}; test $(wc -l < {counter}) -ne 2"
    told = beatctl(*folder.words("--until", flaky), "--json", cwd=folder.root, expect=0).json
    assert [run["exit_code"] for run in told["evaluations"]] == [0, 1, 0]
    assert told["passes"] == 2
    assert "Flaky: 2 of 3 runs passed on the same files. --samples 5 wants five passes in a row." in told["notes"]
    green = beatctl(*folder.words("--until", "true"), cwd=folder.root, expect=0).stdout
    assert "result    pass, pass, pass\n" in green
    assert "Already passes: a loop would end at once" in green
    gone = beatctl(*folder.words("--until", "no-such-program-here"), cwd=folder.root, expect=3).stdout
    assert "The evaluator cannot run" in gone


def test_no_score_a_red_check_and_a_red_setup_are_told_with_exit_3(folder: Folder, beatctl: Beatctl) -> None:
    before = folder.look()
    done = beatctl(*folder.words("--eval", "echo Done in 3.2s", "--minimize"), cwd=folder.root, expect=3)
    assert 'Its last line was "Done in 3.2s"' in done.stdout
    done = beatctl(*folder.words(*MINIMIZE, "--check", "echo dirty; exit 2"), cwd=folder.root, expect=3)
    assert 'The check fails on the untouched folder. exit code 2: "dirty"' in done.stdout
    words = folder.words(*MINIMIZE, "--worktree", "--setup", "echo no network >&2; exit 3")
    done = beatctl(*words, "--json", cwd=folder.root / "part", expect=3)
    assert 'The setup failed. exit code 3: "no network"' in done.json["problem"]
    assert done.json["evaluations"] == []
    assert folder.look() == before


def test_in_a_worktree_it_measures_the_last_commit_and_removes_what_it_made(folder: Folder, beatctl: Beatctl) -> None:
    (folder.root / "cache").mkdir()
    before = folder.look()
    setup = "mkdir ../cache && echo 1 > ../cache/dep"
    words = folder.words("--eval", "cat ../cache/dep n", "--minimize", "--worktree", "--branch", "x", "--setup", setup)
    done = beatctl(*words, "--json", cwd=folder.root / "part", expect=0)
    assert done.json["score"]["median"] == 50
    assert "2 uncommitted changes" in done.stderr
    lacking = folder.words("--eval", "cat ../cache/dep n", "--minimize", "--worktree")
    assert "cache is missing in the worktree" in beatctl(*lacking, cwd=folder.root / "part", expect=3).stdout
    assert folder.look() == before


def test_ctrl_c_ends_the_evaluator_and_puts_the_folder_back(folder: Folder, beatctl: Beatctl) -> None:
    before = folder.look()
    marker = folder.root.parent / "running"
    evaluator = f"echo gone > n; echo $$ > {marker}; (setsid sleep 321 &); sleep 322"
    process = beatctl.popen(*folder.words("--eval", evaluator, "--minimize"), cwd=folder.root / "part")
    wait_until(lambda: marker.exists() and marker.read_text().strip(), "the evaluator")

    # While it measures the folder is taken: no loop starts in it.
    refused = beatctl(*folder.words(*MINIMIZE), cwd=folder.root, expect=2)
    assert f"A beatctl command is at work on {folder.root}" in refused.stderr

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "nothing runs any more" in said) == (130, True), said
    assert not os.path.exists(f"/proc/{marker.read_text().strip()}")
    assert_no_process(beatctl.home)
    kept = folder.git("for-each-ref", "--format=%(refname)", "refs/beatctl").split()
    for ref in kept:
        folder.git("update-ref", "-d", ref)
    beatctl("gc", "--older-than", "0", "--yes", cwd=folder.root, expect=0)
    assert folder.look() == before


def test_a_dry_run_that_was_killed_holds_no_folder(folder: Folder, beatctl: Beatctl) -> None:
    marker = folder.root.parent / "running"
    words = folder.words("--eval", f"touch {marker}; sleep 30", "--minimize", "--eval-timeout", "2s")
    process = beatctl.popen(*words, cwd=folder.root)
    wait_until(marker.exists, "the evaluator")
    process.kill()
    process.communicate()
    assert beatctl(*folder.words(*MINIMIZE), "--json", cwd=folder.root / "part", expect=0).json["score"]["max"] == 60


def test_a_dry_run_is_not_detached(folder: Folder, beatctl: Beatctl) -> None:
    done = beatctl(*folder.words(*MINIMIZE), "-d", cwd=folder.root, expect=2)
    assert "leave -d out" in done.stderr
