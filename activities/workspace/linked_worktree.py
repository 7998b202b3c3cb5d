"""A linked git worktree for one loop: made from the last commit, through the user's own git configuration.

The user's repository stays as it was, but for git's note of the worktree and, where one was asked for, its branch.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .files import remove_tree, shown
from .git import Git, GitFailed, Running, split
from .places import find_repository
from .problems import WorkspaceProblem, WorkspaceRefused
from .user_git import STEADY, UserGit

_NO_HOOKS = (*STEADY, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")


@dataclass(frozen=True)
class Origin:
    """The repository a worktree is made from, as it is now."""

    top: Path
    below: Path
    """Where the user stands, relative to `top`."""
    commit: str
    branch: str | None
    """The branch checked out there; None: a detached HEAD."""
    uncommitted: int
    """Paths with changes that are in no commit, and so not in the worktree: changed, staged, untracked."""
    submodules: list[str]
    """They are empty folders in the worktree."""


def _git(folder: Path) -> UserGit:
    return UserGit(folder, {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}, _NO_HOOKS)


def _run_or_end(git: UserGit, *words: str) -> None:
    """Run git; whoever interrupts this finds it gone, with the processes that it started."""
    process = subprocess.Popen(
        ["git", *_NO_HOOKS, *words],
        cwd=git.folder,
        env=git.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        Running(process, words, str(git.folder)).result()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def look_at_origin(directory: Path, root: Path) -> Origin:
    """What a worktree for a loop started in `directory`, of the repository at `root`, would be made from.

    Raises `WorkspaceRefused` where none can be made.
    """
    if find_repository(root) is None:
        raise WorkspaceRefused(
            f"{root} is no git repository, and --worktree makes a git worktree. "
            "Make it one (git init, git add, git commit), or leave --worktree out."
        )
    git = _git(root)
    commit = _asked(git, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if commit is None:
        raise WorkspaceRefused(
            f"{root} has no commit yet, and --worktree works from the last one. Commit first, or leave --worktree out."
        )
    below = directory.relative_to(root)
    if below != Path() and _asked(git, "cat-file", "-t", f"{commit}:{below.as_posix()}") != "tree":
        raise WorkspaceRefused(
            f"{below} is not in the last commit, so the worktree would not have it. Commit it, or start elsewhere."
        )
    changes = split(git.run("status", "--porcelain", "-z", "--no-renames", "--untracked-files=normal"))
    links = [record for record in split(git.run("ls-tree", "-r", "-z", commit)) if record.startswith(b"160000 ")]
    return Origin(
        top=root,
        below=below,
        commit=commit,
        branch=_asked(git, "symbolic-ref", "--quiet", "--short", "HEAD"),
        uncommitted=len(changes),
        submodules=[shown(record.partition(b"\t")[2]) for record in links],
    )


def check_branch(root: Path, name: str) -> None:
    """Refuse what can't be the name of a new branch. Raises `WorkspaceRefused`."""
    if find_repository(root) is None:
        raise WorkspaceRefused(
            f"{root} is no git repository: there is nothing to make a branch in. Leave --branch out."
        )
    git = _git(root)
    # `@{-1}` would be taken for the branch before this one.
    if _asked(git, "check-ref-format", f"refs/heads/{name}") is None or name.startswith("-") or name == "HEAD":
        raise WorkspaceRefused(f"\"{name}\" can't be a branch's name. git says what can: git help check-ref-format")
    if _asked(git, "rev-parse", "--verify", "--quiet", f"refs/heads/{name}") is not None:
        raise WorkspaceRefused(f"There is a branch {name} already{_holder(git, name)}. Give --branch another name.")
    others = _asked(git, "for-each-ref", "--format=%(refname:short)", f"refs/heads/{name}/**", "--count=1")
    above = [part for part in _parents(name) if _asked(git, "rev-parse", "--verify", "--quiet", f"refs/heads/{part}")]
    if others or above:
        raise WorkspaceRefused(
            f"Beside the branch {others or above[0]} there can't be one named {name}. Give --branch another name."
        )


def make_worktree(origin: Origin, path: Path, branch: str | None) -> None:
    """Make the worktree at `path`, on a new branch where one is named. Raises `GitFailed`, and nothing is left then."""
    git = _git(origin.top)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if branch is not None:
        git.run("branch", "--no-track", branch, origin.commit)
    try:
        _run_or_end(
            git, "worktree", "add", *(() if branch else ("--detach",)), "--", str(path), branch or origin.commit
        )
    except BaseException:
        remove_worktree(origin.top, path, branch)
        raise


def remove_worktree(top: Path, path: Path, branch: str | None) -> None:
    """Remove a worktree with all that is in it, and the branch that was made for it. Safe to repeat."""
    git = _git(top)
    remove_tree(os.fsencode(path))
    # Git's note of it. Twice --force: also of one that git has locked while it was being made.
    git.run("worktree", "remove", "--force", "--force", "--", str(path), accept=(0, 128))
    if branch is not None:
        git.run("branch", "-D", "--", branch, accept=(0, 1, 128))


def _asked(git: Git, *words: str) -> str | None:
    """git's answer on a line, None where it says no."""
    try:
        return git.run(*words).decode("utf-8", "surrogateescape").strip()
    except GitFailed:
        return None


def _holder(git: Git, name: str) -> str:
    """In which worktree a branch is checked out, in words."""
    for block in git.run("worktree", "list", "--porcelain").decode("utf-8", "surrogateescape").split("\n\n"):
        lines = block.splitlines()
        if f"branch refs/heads/{name}" in lines:
            return f", checked out in {lines[0].removeprefix('worktree ')}"
    return ""


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def ignored_things(root: Path) -> list[str]:
    """What git ignores in a repository's work tree, folders that are ignored whole as one; without slashes at the end.

    Empty where git can't say.
    """
    try:
        found = split(_git(root).run("ls-files", "-o", "-i", "--exclude-standard", "--directory", "-z"))
    except WorkspaceProblem:
        return []
    return [shown(path).rstrip("/") for path in found]
