"""Apply onto the branch that is checked out: its tip moves, and the user's index with it; the files stay as they are.

What the user has staged stays staged: the index becomes itself merged with what the commits brought.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from .applying import Conflict, Plan, gone_back, merge_trees
from .files import lstat, shown
from .git import GitFailed, split
from .places import Repository
from .private_git import PrivateGit
from .problems import WorkspaceProblem
from .user_git import STEADY, UserGit, changes, in_work_tree, index_info, named


class Publisher:
    def __init__(self, private: PrivateGit, repository: Repository, root: Path, scratch: Path) -> None:
        """`scratch` is a file name of beatctl's own, for a copy of the user's index."""
        self._private = private
        self._repository = repository
        self._root = root
        self._scratch = scratch
        self._git = in_work_tree(root)

    def check(self, plan: Plan, baseline: str, best: str) -> None:
        """Raises `WorkspaceProblem` where the index or the files would come to contradict the commits."""
        touched = changes(self._git, plan.head, plan.tree)
        back = gone_back(self._private, self._root, baseline, best, touched)
        if back:
            raise WorkspaceProblem(
                f"The folder no longer holds the loop's version of {named(back)}, so it would look as if you were "
                "taking these commits back. Nothing was written. Put them on a branch instead: --branch NAME"
            )
        self._index_after(plan.head, plan.tree, plan.steps[-1].wanted.numbers[-1])

    def publish(self, plan: Plan, new: str, message: str) -> None:
        """Make `new` the branch's tip, and the index what it was with the commits' changes in it."""
        tree = self._git.line("rev-parse", f"{new}^{{tree}}")
        before, after = self._index_after(plan.head, tree, plan.steps[-1].wanted.numbers[-1])
        git = UserGit(self._root, {"GIT_LITERAL_PATHSPECS": "1"}, (*STEADY, "-c", "core.hooksPath=/dev/null"))
        reformatted = self._as_planned(plan, tree)
        git.run("update-ref", "-m", message, "HEAD", new, plan.head)
        wanted = {path: change.after for path, change in changes(self._git, before, after).items()}
        try:
            if wanted:
                flags = self._flags(git, wanted.keys())
                given = index_info(wanted, self._private.zero)
                git.run("update-index", "--replace", "-z", "--index-info", given=given)
                for flag, paths in flags.items():
                    there = b"".join(path + b"\0" for path in paths if wanted[path] is not None)
                    git.run("update-index", flag, "-z", "--stdin", given=there)
        except GitFailed:
            git.run("update-ref", "-m", f"{message}: undone", "HEAD", plan.head, new)
            raise
        if reformatted:
            given = b"".join(path + b"\0" for path in reformatted)
            git.run("checkout-index", "-f", "-q", "-z", "--stdin", given=given, accept=(0, 1))
        git.run("update-index", "-q", "--refresh", accept=(0, 1))

    def _flags(self, git: UserGit, paths: Iterable[bytes]) -> dict[str, list[bytes]]:
        """Those of some paths of which the user has told git not to look at the files."""
        found: dict[str, list[bytes]] = {}
        touched = set(paths)
        for record in split(git.run("ls-files", "-v", "-z")):
            tag, path = record[:1], record[2:]
            if path in touched and tag in b"sS":
                found.setdefault("--skip-worktree", []).append(path)
            if path in touched and tag.islower():
                found.setdefault("--assume-unchanged", []).append(path)
        return found

    def _index_after(self, head: str, tree: str, number: int) -> tuple[str, str]:
        """The user's index as a tree, and the tree that it is to become."""
        source = self._repository.git_dir / "index"
        head_tree = self._git.line("rev-parse", f"{head}^{{tree}}")
        if lstat(source) is None:
            return head_tree, tree
        shutil.copyfile(source, self._scratch)
        try:
            before = self._git.run("write-tree", index=self._scratch).decode().strip()
        except GitFailed as failed:
            raise WorkspaceProblem(
                f"The index is not ready for a commit; nothing was written. {failed.text}"
            ) from failed
        finally:
            self._scratch.unlink(missing_ok=True)
        after, conflicts = merge_trees(self._git, self._private, head_tree, before, tree)
        if conflicts:
            raise Conflict(number, {shown(path): Conflict.STAGED for path in conflicts})
        return before, after

    def _as_planned(self, plan: Plan, tree: str) -> list[bytes]:
        """Paths that hooks have made something else of, and that lie in the folder as they would be without hooks."""
        differing = [path for path, change in changes(self._git, plan.tree, tree).items() if change.after is not None]
        if not differing:
            return []
        found = []
        for path, change in changes(self._git, plan.tree, tree).items():
            if change.after is None or change.before is None:
                continue
            absolute = os.path.join(os.fsencode(self._root), path)
            if lstat(absolute) is None:
                continue
            words = ("hash-object", f"--path={os.fsdecode(path)}", "--", os.fsdecode(absolute))
            if self._git.line(*words) == change.before[1]:
                found.append(path)
        return found
