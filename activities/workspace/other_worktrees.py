"""Other work trees of the same repository: what moves there is the user's or another loop's, and none of a child's."""

from __future__ import annotations

from pathlib import Path

from .files import read_regular

_SHARED = (b"config", b"hooks", b"info", b"packed-refs", b"refs", b"logs/refs", b"shallow", b"description", b"modules")


def checked_out_elsewhere(common: Path, own: Path) -> set[str]:
    """Branches that the other work trees of a repository have checked out; `own` is our work tree's git directory."""
    folders = [common]
    if (common / "worktrees").is_dir():
        folders += (common / "worktrees").iterdir()
    return {branch for folder in folders if folder != own and (branch := _branch(folder / "HEAD"))}


def _branch(head: Path) -> str:
    text = (read_regular(head) or b"").decode("utf-8", "surrogateescape").strip()
    return text.removeprefix("ref: refs/heads/") if text.startswith("ref: refs/heads/") else ""


def stashed_elsewhere(common: Path, branches: set[str]) -> bool:
    """Whether the newest stash was made on a branch that another work tree has checked out."""
    lines = (read_regular(common / "logs/refs/stash") or b"").splitlines()
    said = lines[-1].partition(b"\t")[2].decode("utf-8", "surrogateescape").lower() if lines else ""
    return any(f"on {branch.lower()}:" in said for branch in branches)


def is_shared(path: bytes) -> bool:
    """Whether a file of a repository's common directory belongs to every work tree."""
    return any(path == top or path.startswith(top + b"/") for top in _SHARED)
