"""Apply, the second half: real commits, made by the user's git and their hooks in a work tree beside the user's own.

Until the last commit is made nothing of the user's has changed but the object store (and, with a branch, a new name for
commits); where a hook refuses, the branch and the work tree made for it are removed again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from beatctl.activities.processes import tree

from .applying import Plan, Step, merge_trees
from .files import lstat, read_json, remove_tree, write_json
from .git import GitFailed, split
from .ignore_rules import escaped
from .private_git import PrivateGit
from .problems import WorkspaceProblem
from .user_git import STEADY, UserGit, changes, in_work_tree, tree_with

_HOOKS = ("pre-commit", "prepare-commit-msg", "commit-msg", "post-commit")
_MOST_LINKS = 500
_NOT_LINKED = (b"__pycache__", b".git")


class Refused(WorkspaceProblem):
    """A hook, or git, refused a commit. Nothing was left behind."""


class Committer:
    def __init__(self, private: PrivateGit, root: Path, place: Path, loop: str) -> None:
        """`place` is a folder of beatctl's own, for this loop's commits alone."""
        self._private = private
        self._root = root
        self._place = place
        self._tree = place / f"beatctl-{loop}"
        self._note = place / "note.json"
        self._user = in_work_tree(root)
        self._there: dict[str, str] = {}
        """What git needs to be told in that work tree."""

    def commit(self, plan: Plan, branch: str | None, progress: Callable[[Step, int], None]) -> list[str]:
        """Make a plan's commits; returns them, the oldest first. With `branch` they are on it, else on no branch.

        Raises `Refused`, with what git and the hooks said.
        """
        made: list[str] = []
        with self._work_tree(plan.head, branch):
            tip, planned = plan.head, self._user.line("rev-parse", f"{plan.head}^{{tree}}")
            for number, step in enumerate(plan.steps, 1):
                progress(step, number)
                tip = self._one(tip, planned, step)
                planned = step.tree
                made.append(tip)
        return made

    def sweep(self) -> None:
        """Remove what an apply left that was killed."""
        note = read_json(self._note)
        if note is not None:
            self._remove(note["branch"])

    @contextlib.contextmanager
    def _work_tree(self, head: str, branch: str | None) -> Iterator[None]:
        """A checkout of HEAD outside the user's folder. It goes; the branch stays when all went well."""
        self.sweep()
        self._place.mkdir(parents=True, exist_ok=True)
        # The content of large files is of no use here.
        git = UserGit(self._root, {"GIT_LFS_SKIP_SMUDGE": "1"}, (*STEADY, "-c", "core.hooksPath=/dev/null"))
        if branch:
            git.run("update-ref", f"refs/heads/{branch}", head, self._private.zero)  # fails where there is one
        write_json(self._note, {"branch": branch}, lasting=True)
        try:
            words = [str(self._tree), branch] if branch else ["--detach", str(self._tree), head]
            git.run("worktree", "add", "-q", *words)
            self._stand_there()
            self._link_ignored()
            yield
        except BaseException:
            self._remove(branch)
            raise
        write_json(self._note, {"branch": None})
        self._remove(None)

    def _stand_there(self) -> None:
        """Make sure that git, run in the new work tree, means that one: core.worktree can lead to the user's own."""
        for told in ({}, {"GIT_WORK_TREE": str(self._tree)}):
            top = UserGit(self._tree, told).run("rev-parse", "--show-toplevel").removesuffix(b"\n")
            if os.path.realpath(top) == os.path.realpath(os.fsencode(self._tree)):
                self._there = told
                return
        raise Refused(
            f"git takes {os.fsdecode(top)} for the work tree wherever it runs (core.worktree): nothing was written."
        )

    def _remove(self, branch: str | None) -> None:
        dotgit = self._tree / ".git"
        admin = None
        with contextlib.suppress(OSError):
            admin = Path(dotgit.read_text().removeprefix("gitdir: ").strip())
        git = UserGit(self._root, {}, STEADY)
        with contextlib.suppress(WorkspaceProblem):
            git.run("worktree", "remove", "--force", "--force", str(self._tree))
        remove_tree(os.fsencode(self._tree))
        if admin is not None and admin.parent.name == "worktrees" and lstat(admin) is not None:
            remove_tree(os.fsencode(admin))
        if branch is not None:
            with contextlib.suppress(WorkspaceProblem):
                git.run("update-ref", "-d", f"refs/heads/{branch}")  # `git branch -D` would leave a packed-refs
        self._note.unlink(missing_ok=True)

    def _one(self, tip: str, planned: str, step: Step) -> str:
        """One commit on top of `tip`, whose tree is `planned` but for what hooks have made of it."""
        options = (*STEADY, "-c", f"core.excludesFile={self._place / 'exclude'}")
        git = UserGit(self._tree, self._there, options)
        quiet = UserGit(
            self._tree, {"GIT_LFS_SKIP_SMUDGE": "1", **self._there}, (*STEADY, "-c", "core.hooksPath=/dev/null")
        )
        quiet.run("read-tree", "--reset", "-u", self._next(tip, planned, step.tree))
        message = self._place / "message"
        message.write_text(step.wanted.message, encoding="utf-8", errors="backslashreplace")
        words = ["git", *options, "commit", "-q", "--cleanup=whitespace", "-F", str(message)]
        code, said = _run(words, self._tree, git.environment)
        if code != 0:
            names = ", ".join(f"#{number}" for number in step.wanted.numbers)
            raise Refused(
                f"git commit of {names} was refused; nothing was left behind. "
                f"It said:\n{_indented(said.strip() or f'exit code {code}')}"
            )
        new = quiet.line("rev-parse", "HEAD")
        if quiet.run("rev-parse", f"{new}^@").decode().split() != [tip]:
            raise Refused("A hook moved HEAD while beatctl was making its commits; nothing was left behind.")
        return new

    def _next(self, tip: str, planned: str, tree: str) -> str:
        """The next commit's tree: what hooks changed in the commits before stays, where it does not contradict."""
        actual = self._user.line("rev-parse", f"{tip}^{{tree}}")
        if actual == planned:
            return tree
        with contextlib.suppress(WorkspaceProblem):
            found, conflicts = merge_trees(self._user, self._private, planned, actual, tree)
            if not conflicts:
                return found
        wanted = {path: change.after for path, change in changes(self._user, planned, tree).items()}
        return tree_with(self._user, actual, wanted, self._place / "index", self._private.zero)

    def _link_ignored(self) -> None:
        """Where hooks will run, give them what is ignored in the user's folder (node_modules, say), by links."""
        exclude = self._place / "exclude"
        exclude.write_bytes(self._users_exclude())
        if not self._has_hooks():
            return
        words = ("ls-files", "-o", "-i", "--exclude-standard", "--directory", "-z")
        linked = []
        for path in split(self._user.run(*words))[:_MOST_LINKS]:
            path = path.rstrip(b"/")
            target, link = (os.path.join(os.fsencode(base), path) for base in (self._root, self._tree))
            above = lstat(os.path.dirname(link))
            skipped = path.rpartition(b"/")[2] in _NOT_LINKED or os.fsencode(self._place).startswith(target + b"/")
            if not skipped and above is not None and stat.S_ISDIR(above.st_mode) and lstat(link) is None:
                os.symlink(target, link)
                linked.append(b"/" + escaped(path) + b"\n")
        with exclude.open("ab") as file:
            file.writelines(linked)

    def _has_hooks(self) -> bool:
        folder = self._root / os.fsdecode(self._plain("rev-parse", "--git-path", "hooks").rstrip(b"\n"))
        return any(os.access(folder / name, os.X_OK) for name in _HOOKS)

    def _users_exclude(self) -> bytes:
        """The user's own ignore rules for all their repositories."""
        try:
            path = Path(os.fsdecode(self._plain("config", "--path", "core.excludesFile").rstrip(b"\n")))
        except GitFailed:
            config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
            path = Path(config) / "git" / "ignore"
        try:
            return path.read_bytes().rstrip(b"\n") + b"\n"
        except OSError:
            return b""

    def _plain(self, *words: str) -> bytes:
        return UserGit(self._root, {"GIT_OPTIONAL_LOCKS": "0"}).run(*words)


def _run(words: list[str], folder: Path, environment: Mapping[str, str | bytes]) -> tuple[int, str]:
    """Run git with the user's hooks; its exit code, and all that it and they said. Whoever interrupts this finds them
    gone."""
    with subprocess.Popen(
        words,
        cwd=folder,
        env=environment,
        stdin=None if _is_terminal() else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            started = tree.descendants([process.pid], tree.everything())
            process.kill()
            for one in started:
                tree.send(one, signal.SIGKILL)
            raise
    return process.returncode, said.decode("utf-8", "replace")


def _is_terminal() -> bool:
    try:
        return sys.stdin.isatty()
    except ValueError:
        return False


def _indented(text: str, most: int = 30) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines()[-most:])
