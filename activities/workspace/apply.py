"""Apply: a loop's experiments as commits of the user's own.

The way in: `applying.py` works the commits out, `committing.py` makes them, `publishing.py` moves a branch to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from beatctl.activities.home import LoopFolder

from .applying import Link, Plan, Planner, Step, Wanted
from .committing import Committer
from .files import locked, lstat
from .git import GitFailed
from .places import Repository, find_repository
from .private_git import PrivateGit
from .problems import WorkspaceProblem, explained
from .publishing import Publisher
from .state import State
from .user_git import UserGit, in_work_tree

UNFINISHED = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "BISECT_LOG": "bisect",
}


class Apply:
    """One loop's workspace, on its way into the user's history."""

    def __init__(self, folder: LoopFolder) -> None:
        """Raises `WorkspaceProblem` where the folder is no repository, or not one that a commit can be made in now."""
        with explained(str(folder.workspace)):
            state = State.read(folder.workspace)
        if state is None:
            raise WorkspaceProblem(f"Loop {folder.id} has no workspace yet ({folder.workspace}).")
        self.root = Path(state.root)
        self._folder = folder
        self._baseline = state.baseline
        self._place = folder.root / "applying"
        self._repository = self._found(state)
        self._private = PrivateGit(
            folder.workspace, self.root, self._repository.common_dir / "objects", state.object_format
        )
        self._git = in_work_tree(self.root)
        self.head, self.branch = self._where()

    def _found(self, state: State) -> Repository:
        if not self.root.is_dir():
            raise WorkspaceProblem(f"{self.root} is gone.", "folder-gone")
        repository = find_repository(self.root)
        if repository is None:
            raise WorkspaceProblem(
                f"{self.root} is not a git repository: there is nothing to commit to. "
                "The folder holds the loop's result; beatctl diff shows it."
            )
        if state.common is None:
            raise WorkspaceProblem(
                f"{self.root} became a git repository after the loop had begun: its experiments are not in it. "
                "Commit what the folder holds with git commit."
            )
        return repository

    def _where(self) -> tuple[str, str | None]:
        """The commit that is checked out, and its branch. Refuses what is in the middle of something."""
        for name, what in UNFINISHED.items():
            if lstat(self._repository.git_dir / name) is not None:
                raise WorkspaceProblem(f"A {what} is in progress in {self.root}: finish it, or git {what} --abort.")
        try:
            head = self._git.line("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        except GitFailed as failed:
            if failed.stderr:
                raise
            raise WorkspaceProblem(
                f"{self.root} has no commit yet. Make a first one (git commit --allow-empty -m first), apply then."
            ) from failed
        branch = self._git.run("symbolic-ref", "--quiet", "--short", "HEAD", accept=(0, 1)).decode().strip()
        return head, branch or None

    def check_identity(self) -> None:
        """Raises `WorkspaceProblem` where git does not know whose commits these would be."""
        for name in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
            try:
                UserGit(self.root, {}).run("var", name)
            except GitFailed as failed:
                raise WorkspaceProblem(
                    "git does not know who you are, so it can make no commit. "
                    'Tell it: git config --global user.name "Your Name"; git config --global user.email you@example.com'
                ) from failed

    def applied(self) -> dict[int, str]:
        """This loop's experiments that HEAD has already, and their commits, by the trailers."""
        return applied(self.root, self._folder.id, self._private.read_commit(self._baseline).parents)

    def sweep(self) -> None:
        """Remove what an apply of this loop left that was killed: its work tree, and the branch it had begun."""
        with locked(self._place / "lock"), explained(str(self.root)):
            self._committer().sweep()

    def plan(self, wanted: Sequence[Wanted], left_out: Sequence[Link], best: str, *, in_place: bool) -> Plan:
        """Work everything out and write nothing. Raises `Conflict`; with no steps there is nothing to commit.

        `in_place`: the commits are meant for the branch that is checked out, whose folder and index must fit them.
        """
        with locked(self._place / "lock"), explained(str(self.root)):
            manifests = self._folder.workspace / "manifests"
            planner = Planner(self._private, self._repository, manifests, self._baseline, self._git)
            plan = planner.plan(self.head, wanted, left_out, self._place / "scratch")
            if in_place and plan.steps:
                self._publisher().check(plan, self._baseline, best)
            return plan

    def make(self, plan: Plan, branch: str | None, progress: Callable[[Step, int], None]) -> list[str]:
        """Make the commits, on a new branch or on the one that is checked out. Returns them, the oldest first."""
        with locked(self._place / "lock"), explained(str(self.root)):
            made = self._committer().commit(plan, branch, progress)
            if branch is None:
                count = f"{len(made)} commit{'s' if len(made) > 1 else ''}"
                self._publisher().publish(plan, made[-1], f"beatctl apply {self._folder.id}: {count}")
            return made

    def _committer(self) -> Committer:
        return Committer(self._private, self.root, self._place, self._folder.id)

    def _publisher(self) -> Publisher:
        return Publisher(self._private, self._repository, self.root, self._place / "users-index")


def applied(root: Path, loop: str, start: Sequence[str]) -> dict[int, str]:
    """A loop's experiments that HEAD of the repository in `root` has, with their commits, newer than `start`."""
    git = in_work_tree(root)
    form = "--format=%H %(trailers:key=Beatctl-Iteration,valueonly,separator=%x2C)"
    try:
        text = git.run(
            "log", "-E", f"--grep=^Beatctl-Loop: {loop}$", form, "HEAD", *(f"^{commit}" for commit in start)
        ).decode("ascii", "replace")
    except GitFailed:
        return {}
    found: dict[int, str] = {}
    for line in text.splitlines():
        commit, _, numbers = line.partition(" ")
        found |= {int(number): commit for number in numbers.split(",") if number.isdigit()}
    return found


def is_head(root: Path, commit: str) -> bool:
    """Whether a commit is the one that is checked out."""
    return in_work_tree(root).line("rev-parse", "HEAD") == commit
