"""git as the user runs it: their configuration, identity, filters and attributes, for what becomes their history.

Of the caller's GIT_* only who the author and the committer are gets in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .files import shown
from .git import Git, split
from .problems import WorkspaceProblem

_KEPT = ("GIT_AUTHOR_", "GIT_COMMITTER_")
STEADY = ("-c", "gc.auto=0", "-c", "maintenance.auto=false")
"""Nothing is packed or pruned while commits are made."""
PLUMBING = (
    *STEADY, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.safecrlf=false",
    "-c", "core.untrackedCache=false", "-c", "core.splitIndex=false", "-c", "core.sparseCheckout=false",
    "-c", "index.sparse=false", "-c", "merge.renormalize=true",
)  # fmt: skip
"""Options for a git that works out what to commit; it writes objects and nothing else of the user's."""
Entry = tuple[str, str]
"""git's mode and the blob's id."""


def users_environment(extra: Mapping[str, str | bytes] | None = None) -> dict[str, str | bytes]:
    """This process's environment without those GIT_* that say what repository, index or configuration is meant."""
    kept: dict[str, str | bytes] = {
        key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key.startswith(_KEPT)
    }
    return {**kept, **(extra or {})}


class UserGit(Git):
    """git with the user's own configuration, run in one folder."""

    def __init__(self, folder: Path, extra: Mapping[str, str | bytes], options: Sequence[str] = ()) -> None:
        super().__init__(folder, {}, options)
        self.environment = users_environment(extra)


def in_work_tree(root: Path) -> UserGit:
    """Looks at the user's own work tree; takes no lock there."""
    extra = {"GIT_CEILING_DIRECTORIES": str(root.parent), "GIT_OPTIONAL_LOCKS": "0", "GIT_LITERAL_PATHSPECS": "1"}
    return UserGit(root, extra, PLUMBING)


@dataclass(frozen=True)
class Change:
    """What a path was and is; None where there is nothing."""

    before: Entry | None
    after: Entry | None


def changes(git: Git, before: str, after: str) -> dict[bytes, Change]:
    """The paths that differ between two trees; a rename is two of them."""
    if before == after:
        return {}
    records = split(git.run("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", before, after))
    found = {}
    for what, path in zip(records[::2], records[1::2], strict=True):
        old_mode, mode, old, new, _ = what[1:].decode().split(" ")
        found[path] = Change(
            None if old_mode == "000000" else (old_mode, old), None if mode == "000000" else (mode, new)
        )
    return found


def index_info(entries: Mapping[bytes, Entry | None], zero: str) -> bytes:
    """Input for `update-index --index-info`: what goes is named before what comes, which may stand in its place."""
    gone = [b"0 %s\t%s\0" % (zero.encode(), path) for path, entry in entries.items() if entry is None]
    there = [
        b"%s %s\t%s\0" % (entry[0].encode(), entry[1].encode(), path)
        for path, entry in entries.items()
        if entry is not None
    ]
    return b"".join(gone + there)


def tree_with(git: Git, tree: str, entries: Mapping[bytes, Entry | None], index: Path, zero: str) -> str:
    """A tree with some paths replaced, made in an index of its own."""
    if not entries:
        return tree
    git.run("read-tree", tree, index=index)
    git.run("update-index", "--replace", "-z", "--index-info", given=index_info(entries, zero), index=index)
    return git.run("write-tree", index=index).decode().strip()


def merged(git: Git, base: str, ours: str, theirs: str) -> tuple[str, list[bytes]]:
    """Three commits' trees merged, and the paths where they contradict each other; the tree is of use without any.

    `ours` and `theirs` are children of `base`. Raises `WorkspaceProblem` where git is too old for it.
    """
    words = ("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs)
    running = git.start(*words)
    out = running.result(accept=(0, 1, 129))
    records = split(out)
    if running.process.returncode == 129 or not records:
        raise WorkspaceProblem(
            f"The loop changed files that are otherwise in HEAD, and git is too old to merge them ({_version(git)}). "
            "Install git 2.38 or newer."
        )
    return records[0].decode(), sorted(set(records[1:]))


def _version(git: Git) -> str:
    return git.line("version").removeprefix("git version ")


def named(paths: Sequence[bytes], most: int = 5) -> str:
    """Some paths for a sentence: `a, b and 3 more`."""
    names = ", ".join(shown(path) for path in paths[:most])
    return f"{names} and {len(paths) - most} more" if len(paths) > most else names
