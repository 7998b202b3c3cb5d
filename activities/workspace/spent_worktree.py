"""Whether a worktree that was made for a loop can go: nothing may be in it that is nowhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from . import refs
from .apply import UNFINISHED
from .files import lstat, remove_tree
from .git import QUIET, Git, GitFailed
from .linked_worktree import remove_worktree
from .places import Repository, find_repository
from .problems import WorkspaceProblem

GONE = ".gone-"
"""Begins the names of worktrees on their way out, in the folder they were in."""


@dataclass(frozen=True)
class Noted:
    """git's note of a linked worktree."""

    path: Path
    locked: bool


def noted_worktrees(common: Path) -> list[Noted]:
    """The linked worktrees that a repository knows, also those whose folder is gone."""
    found = []
    try:
        said = Git(common, {"GIT_DIR": str(common)}, QUIET).run("worktree", "list", "--porcelain")
    except WorkspaceProblem:
        return []
    for block in said.decode("utf-8", "surrogateescape").split("\n\n")[1:]:
        lines = block.splitlines()
        if lines and lines[0].startswith("worktree "):
            locked = any(line == "locked" or line.startswith("locked ") for line in lines)
            found.append(Noted(Path(lines[0].removeprefix("worktree ")), locked))
    return found


def why_not(path: Path, common: Path, *, as_known: bool) -> str | None:
    """Why a worktree can't go, in words that follow its name; None: nothing in it is lost.

    `as_known`: its files are those of a snapshot that stays. What git ignores does not count, as it does not for
    `git worktree remove`.
    """
    repository = find_repository(path)
    if repository is None or not repository.linked or repository.common_dir.resolve() != common.resolve():
        return "is no worktree that git knows"
    if any(one.locked for one in noted_worktrees(common) if one.path.resolve() == path.resolve()):
        return "is locked (git worktree lock)"
    if any(lstat(repository.git_dir / name) is not None for name in UNFINISHED):
        return "is in the middle of a merge or rebase"
    if lstat(repository.git_dir / "modules") is not None or refs.loose(repository.git_dir):
        return "has submodules or refs of its own"
    git = Git(path, {}, QUIET)
    try:
        if not as_known and git.run("status", "--porcelain", "-z", "--untracked-files=all"):
            return "has changes that are in no commit"
        if _has_index(repository) and git.run("diff-index", "--cached", "--raw", "-z", "HEAD"):
            return "has staged changes"
        if _commits_of_its_own(git, repository):
            return "has commits that no branch holds"
    except GitFailed as failed:
        return f"can't be looked at ({failed.text})"
    return None


def _has_index(repository: Repository) -> bool:
    return lstat(repository.git_dir / "index") is not None


def _commits_of_its_own(git: Git, repository: Repository) -> bool:
    """Whether HEAD, or what HEAD was once, is in no branch, tag or remote branch."""
    log = (repository.git_dir / "logs" / "HEAD").read_text(errors="replace") if _has_log(repository) else ""
    names = {word for line in log.splitlines() for word in line.split(" ")[:2]}
    names = {name for name in names if refs.is_object_name(name) and name.strip("0")}
    given = "".join(f"{name}\n" for name in sorted(names)).encode()
    there = git.run("cat-file", "--batch-check=%(objectname) %(objecttype)", given=given).decode().splitlines()
    commits = [line.removesuffix(" commit") for line in there if line.endswith(" commit")]
    words = ("rev-list", "--max-count=1", "HEAD", *commits, "--not", "--branches", "--tags", "--remotes")
    return bool(git.run(*words))


def _has_log(repository: Repository) -> bool:
    return lstat(repository.git_dir / "logs" / "HEAD") is not None


def remove(path: Path, common: Path) -> None:
    """Remove a worktree, and git's note of it; its branch stays. Killed at any moment, it can be done again: what is
    left of the folder has a name of its own then (see `GONE`)."""
    aside = path.with_name(f"{GONE}{path.name}")
    if lstat(path) is not None:
        remove_tree(os.fsencode(aside))
        os.rename(path, aside)
    remove_worktree(common, path, None)
    remove_tree(os.fsencode(aside))


def is_noted(path: Path, common: Path) -> bool:
    """Whether git has a note of a worktree at `path`."""
    return any(one.path == path for one in noted_worktrees(common))
