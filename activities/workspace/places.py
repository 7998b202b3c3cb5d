"""Where a workspace is: its root, and the repository it belongs to, if any."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .files import lstat
from .git import Git, GitFailed
from .problems import WorkspaceProblem, WorkspaceRefused


@dataclass(frozen=True)
class Repository:
    """A repository as git finds it from its work tree; every path absolute."""

    git_dir: Path
    """HEAD, index and what else belongs to this work tree alone."""
    common_dir: Path
    """Objects, refs and configuration; another folder than `git_dir` in a worktree of another repository."""
    object_format: str
    """sha1 or sha256."""

    @property
    def objects(self) -> Path:
        return self.common_dir / "objects"

    @property
    def linked(self) -> bool:
        """Whether this is a worktree of another repository."""
        return self.git_dir != self.common_dir


def find_repository(root: Path) -> Repository | None:
    """The repository whose `.git` lies in `root`; None when there is none, or what is there is none."""
    if lstat(root / ".git") is None:
        return None
    git = Git(root, {"GIT_CEILING_DIRECTORIES": str(root.parent)})
    try:
        out = git.run("rev-parse", "--git-dir", "--git-common-dir", "--show-object-format", "--is-inside-git-dir")
    except GitFailed:
        return None
    git_dir, common_dir, object_format, _ = out.decode("utf-8", "surrogateescape").split("\n")[:4]
    real_dir, real_common = ((root / name).resolve() for name in (git_dir, common_dir))
    if (real_common / "reftable").is_dir():
        raise WorkspaceRefused(
            f"{root} keeps its refs as reftable, which beatctl cannot protect yet. "
            "Convert it: git refs migrate --ref-format=files"
        )
    return Repository(real_dir, real_common, object_format)


def find_root(directory: Path) -> Path:
    """The repository's top level when `directory` is in one, else the folder itself.

    Raises `WorkspaceRefused` for a bare repository or the inside of a `.git`, `WorkspaceProblem` when it is missing.
    """
    directory = directory.absolute()
    if not directory.is_dir():
        raise WorkspaceProblem(f"{directory} is not a folder.", "folder-gone")
    directory = directory.resolve()
    git = Git(directory, {})
    try:
        out = git.run("rev-parse", "--is-inside-git-dir", "--is-bare-repository", "--is-inside-work-tree")
    except GitFailed as failed:
        if b"not a git repository" in failed.stderr or b"GIT_DISCOVERY_ACROSS_FILESYSTEM" in failed.stderr:
            return directory
        raise WorkspaceRefused(failed.text) from failed
    inside, bare, in_tree = out.decode().split()
    if inside == "true" and lstat(directory / ".git") is None:
        what = "a bare repository" if bare == "true" else "the inside of a .git folder"
        raise WorkspaceRefused(f"{directory} is {what}. Start beatctl in a work tree (git worktree add makes one).")
    if in_tree != "true":
        return directory
    top = Path(os.fsdecode(git.run("rev-parse", "--show-toplevel").removesuffix(b"\n"))).resolve()
    return top if directory.is_relative_to(top) else directory


def check_directory(directory: Path) -> Path:
    """Refuse what no loop may work in, before anything is started. Returns the workspace's root."""
    root = find_root(directory)
    home = Path(os.environ.get("HOME") or "~").expanduser().resolve()
    if root in (Path("/"), home, home.parent):
        what = "your home folder" if root == home else "no folder for a loop"
        below = "" if directory.resolve() == root else f" (the repository that {directory} is in)"
        raise WorkspaceRefused(f"{root}{below} is {what}: run beatctl in a project's folder, or add -C DIR.")
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        raise WorkspaceRefused(f"{root} is not writable. Change its permissions, or work in a copy.")
    return root
