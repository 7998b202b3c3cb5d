"""The workspace: the user's folder, its snapshots, and everything that brings it back byte for byte.

`workspace.py` is the way in. `baseline.py` takes the first snapshot; `scan.py` sees what changed, `recording.py` takes
it in, `restoring.py` writes it back; `guard.py` undoes what a child does to a repository; `ownership.py` says which
loop may use a folder; `linked_worktree.py` makes a loop a worktree of its own; `apply.py` makes commits of what a loop
kept; `remains.py` frees what is left of a loop that has ended.
"""

from .linked_worktree import Origin, check_branch, ignored_things, look_at_origin, make_worktree, remove_worktree
from .ownership import claim, hold, release
from .places import check_directory, find_root
from .problems import FolderInUse, SnapshotGone, WorkspaceProblem, WorkspaceRefused
from .workspace import Capture, Workspace

__all__ = [
    "Capture",
    "FolderInUse",
    "Origin",
    "SnapshotGone",
    "Workspace",
    "WorkspaceProblem",
    "WorkspaceRefused",
    "check_branch",
    "check_directory",
    "claim",
    "find_root",
    "hold",
    "ignored_things",
    "look_at_origin",
    "make_worktree",
    "release",
    "remove_worktree",
]
