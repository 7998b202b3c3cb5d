"""A home with three loops that have ended (in a repository, in a worktree of its own, in a folder without one), run
once; each test gets it as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.ledger import Ledger
from tests.support import Beatctl, Done, clean_environment, remove_tree

AGENT = r"""#!/bin/sh
i=$BEATCTL_ITERATION
case $i in 1) echo 40 > n;; 2) echo 60 > n; echo junk > junk.txt;; 3) echo 30 > n;; 4) echo 90 > n;; esac
[ -d .git ] && { git checkout -q -b mine$i; git add -A; git commit -qm "by the agent"; }
echo "step $i"; seq 2000
"""


@dataclass
class Night:
    """The home, the folders of its loops, and their ids."""

    beatctl: Beatctl
    folder: Path
    repo: str
    """In `folder`/repo."""
    tree: str
    """In a worktree made from `folder`/repo."""
    plain: str
    """In `folder`/plain."""

    @property
    def root(self) -> Path:
        return self.folder / "repo"

    @property
    def worktree(self) -> Path:
        return self.beatctl.home / "worktrees" / self.tree

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.beatctl.home / "ledger.db")

    def __call__(self, *words: str, expect: int = 0, env: dict[str, str] | None = None) -> Done:
        return self.beatctl(*words, cwd=self.folder, expect=expect, env=env)

    def gc(self, *words: str, expect: int = 0) -> Any:
        return self("gc", *words, "--json", expect=expect).json

    def git(self, *words: str, at: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *words], cwd=at or self.root, env=self.beatctl.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"git {' '.join(words)}: {done.stderr}"
        return done.stdout.strip()

    def refs(self, loop: str) -> set[str]:
        out = self.git("for-each-ref", "--format=%(refname)", f"refs/beatctl/{loop}/")
        return {line.removeprefix(f"refs/beatctl/{loop}/") for line in out.splitlines()}

    def users(self) -> list[str]:
        """What a user would miss in their repository."""
        looks = [["rev-parse", "HEAD"], ["branch", "-av", "--no-abbrev"], ["status", "-s", "-uall", "--ignored"]]
        looks += [["stash", "list"], ["diff"], ["diff", "--cached"], ["config", "--local", "--list"], ["tag"]]
        return [self.git(*words) for words in looks]

    def freed(self, words: list[dict[str, Any]], loop: str) -> dict[str, str]:
        """Kind and words of what a report of `gc` would free of a loop."""
        [found] = [one for one in words if one["id"] == loop]
        return {piece["kind"]: piece["what"] for piece in found["free"]}


@pytest.fixture(scope="session")
def first_night(server_program: str | None) -> Iterator[Night]:
    folder = Path(tempfile.mkdtemp(prefix="bt-")).resolve()
    beatctl = Beatctl(clean_environment(folder, server_program))
    agent = folder / "agent.sh"
    agent.write_text(AGENT)
    agent.chmod(0o755)
    for name in ("repo", "plain"):
        (folder / name).mkdir()
        (folder / name / "n").write_text("50\n")
    night = Night(beatctl, folder, "", "", "")
    (night.root / ".gitignore").write_text("ignored/\n")
    night.git("init", "-q")
    night.git("add", "-A")
    night.git("commit", "-qm", "first")
    (night.root / "mine.txt").write_text("mine\n")
    words = ("start", "lower n", "--eval", "cat n", "--minimize", "-a", f"{agent} {{prompt_file}}", "-n", "4", "--json")
    night.repo = beatctl(*words, cwd=night.root, expect=0).json["id"]
    night.tree = beatctl(*words, "--worktree", cwd=night.root, expect=0).json["id"]
    night.plain = beatctl(*words, cwd=folder / "plain", expect=0).json["id"]
    beatctl("down", cwd=folder, expect=0)
    shutil.rmtree(beatctl.home / "run")
    for name in ("repo", "plain", "state"):
        shutil.copytree(folder / name, folder / "kept" / name, symlinks=True)
    yield night
    beatctl.close()
    remove_tree(folder)


@pytest.fixture
def night(first_night: Night) -> Night:
    folder = first_night.folder
    for name in ("repo", "plain", "state"):
        remove_tree(folder / name)
        shutil.copytree(folder / "kept" / name, folder / name, symlinks=True)
    for link in folder.rglob("*"):
        if link.is_symlink():
            os.utime(link, follow_symlinks=False)
    return first_night
