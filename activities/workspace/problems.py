"""What can go wrong with a workspace.

WorkspaceProblem        the workspace cannot be used at this moment; the loop pauses with `reason`
├── WorkspaceRefused    this folder is not taken (said at `start`)
│   └── FolderInUse     another loop that has not ended owns it
├── SnapshotGone        a snapshot is not in the store any more
└── WorkTreeChanging    files changed while they were read; tried again once before it is raised
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

Reason = Literal["no-space", "folder-gone", "edited", "workspace"]


class WorkspaceProblem(Exception):
    """A sentence for the person who reads it, and the reason a pause is given."""

    def __init__(self, text: str, reason: Reason = "workspace") -> None:
        super().__init__(text)
        self.text = text
        self.reason: Reason = reason


class WorkspaceRefused(WorkspaceProblem):
    """The folder is not taken as a workspace, and what to do about it."""


class FolderInUse(WorkspaceRefused):
    """Another loop that has not ended owns this folder, one above it or one in it."""

    def __init__(self, loop: str, root: Path, *, busy: bool = False) -> None:
        text = f"Loop {loop} is using {root}: beatctl watch {loop}, or add --worktree."
        if busy:
            text = f"A beatctl command is at work on {root} for loop {loop}. Try again when it is done."
        super().__init__(text)
        self.loop = loop
        self.root = root
        self.busy = busy


class SnapshotGone(WorkspaceProblem):
    """A snapshot is not there any more: its ref was removed, and git has tidied up."""


class WorkTreeChanging(WorkspaceProblem):
    """Files of the work tree changed while they were read."""


def no_space(where: str) -> WorkspaceProblem:
    return WorkspaceProblem(
        f"No space left on the disk that holds {where}. Free some, then beatctl resume.", "no-space"
    )


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn a system's error into one that says what happened, on what, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(where) from error
        name = error.filename.decode(errors="backslashreplace") if isinstance(error.filename, bytes) else error.filename
        raise WorkspaceProblem(f"{error.strerror or error}: {name or where}.") from error
