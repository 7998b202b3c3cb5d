"""`--worktree`, `--setup` and `--branch` of `start`: what is checked and said before, and what is made."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from beatctl.cli.output import visible
from beatctl.cli.problems import Unavailable, Usage

if TYPE_CHECKING:
    from beatctl.activities.agents.spec import AgentSpec
    from beatctl.activities.home import Home
    from beatctl.activities.records import Status
    from beatctl.activities.workspace import Origin
    from beatctl.cli.start_options import Chosen


def checked_origin(chosen: Chosen, place: Path, root: Path, home: Home) -> Origin | None:
    """What the loop's own worktree will be made from; None where it works in the user's folder. Raises Usage."""
    if chosen.branch is None and not chosen.worktree:
        return None
    from beatctl.activities.workspace import WorkspaceProblem, check_branch, look_at_origin

    try:
        origin = look_at_origin(place, root) if chosen.worktree else None
        if chosen.branch is not None:
            check_branch(root, chosen.branch)
    except WorkspaceProblem as refused:
        raise Usage(refused.text) from None
    if origin is not None and Path(os.path.realpath(home.root)).is_relative_to(root):
        raise Usage(
            f"beatctl keeps its worktrees in {home.worktrees}, which is inside {root}. "
            "Name a folder outside of it in BEATCTL_HOME, or leave --worktree out."
        )
    return origin


def from_where_the_user_stands(agent: AgentSpec, place: Path) -> AgentSpec:
    """The agent with its program's whole path: in the worktree `../agent.sh` would be another file, or none."""
    program, *words = agent.argv
    return agent.model_copy(update={"argv": [os.path.abspath(place / program) if "/" in program else program, *words]})


def left_behind(origin: Origin, chosen: Chosen, environ: Mapping[str, str]) -> list[str]:
    """What a worktree made from here will not have, and what would use the user's folder all the same."""
    where = f"{origin.commit[:10]}{f' ({origin.branch})' if origin.branch else ''}"
    lines = []
    if origin.uncommitted:
        changes = "1 uncommitted change" if origin.uncommitted == 1 else f"{origin.uncommitted} uncommitted changes"
        lines.append(
            f"The worktree is made from the last commit, {visible(where)}: {changes} in {origin.top} "
            f"{'is' if origin.uncommitted == 1 else 'are'} not in it. Commit first to take them along."
        )
    if origin.submodules:
        names = ", ".join(origin.submodules[:3]) + (", …" if len(origin.submodules) > 3 else "")
        lines.append(
            f"Submodules are not checked out in the worktree: {visible(names)}. "
            'Where they are needed: --setup "git submodule update --init --recursive"'
        )
    for flag, command in (("--until or --eval", chosen.evaluator), ("--check", chosen.check)):
        if command and _names(command, origin.top):
            lines.append(f"The command of {flag} names {origin.top}: it would look at your folder, not the worktree.")
    environment = environ.get("VIRTUAL_ENV", "")
    if environment and Path(environment).is_relative_to(origin.top):
        lines.append(
            f"VIRTUAL_ENV is {environment}: what is installed there in editable form is your folder's code, not the "
            "worktree's. --setup can make an environment in the worktree."
        )
    return lines


def check_still_there(status: Status) -> None:
    """Raises Usage where a loop's own worktree was removed, with how to get it back."""
    if status.origin is not None and not Path(status.worktree).is_dir():
        raise Usage(
            f"The worktree of {status.id} was removed; its experiments are still in {status.origin}. Make it again: "
            f"git -C {shlex.quote(status.origin)} worktree add --detach {shlex.quote(status.worktree)}"
        )


def _names(command: str, folder: Path) -> bool:
    return re.search(rf"{re.escape(str(folder))}(?![\w.-])", command) is not None


def make_own_worktree(origin: Origin, path: Path, branch: str | None) -> None:
    """Make the loop's worktree. Raises Unavailable with git's words; nothing is left then."""
    from beatctl.activities.workspace import WorkspaceProblem, make_worktree

    try:
        make_worktree(origin, path, branch)
    except WorkspaceProblem as problem:
        raise Unavailable(f"The worktree could not be made: {visible(problem.text)}") from problem


def folder_words(status: Status) -> str:
    """Where a loop that was just started works, and what that means for the user's folder."""
    if status.repo is not None:
        return f"{status.worktree} (a clone of {status.repo} at {status.ref}; branch {status.branch} is pushed there)"
    if status.origin is None:
        return f"{status.worktree} (in use until the loop ends)"
    branch = f"on branch {status.branch}" if status.branch else "on no branch"
    return f"{status.directory} (a git worktree {branch}; {status.origin} stays yours)"


def taking_over_words(status: Status) -> list[str]:
    """At the end of a loop with a worktree of its own: where its best is, and how to get it."""
    if status.origin is None or not status.best or not status.best.iteration:
        return []
    name = "" if status.branch else " --branch NAME"
    return [
        f"  in {status.worktree} ({status.origin} is untouched)",
        f"  beatctl apply {status.id}{name}",
    ]
