"""`--repo URL --ref REF` of `start`: the loop's folder is a clone of its own, made from that commit."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from beatctl.cli import levels
from beatctl.cli.loops import Loops, new_id, taken, wanted_id
from beatctl.cli.output import say
from beatctl.cli.problems import Unavailable, Usage
from beatctl.cli.settings import Setting, level_of_flags, merge, typed_of
from beatctl.cli.start_options import Typed

if TYPE_CHECKING:
    from beatctl.activities.home import Home
    from beatctl.activities.records import Status
    from beatctl.activities.repositories import Source


def check_told(told: Mapping[str, Setting]) -> bool:
    """Whether a repository was named, by one that can be. Raises Usage."""
    typed = typed_of(told)
    if typed.repo is None:
        if typed.ref is not None:
            raise Usage(f"{typed.named('ref')} goes with --repo URL.", help_of="start")
        return False
    from beatctl.activities.repositories import why_not

    why = why_not(typed.repo)
    if why is not None:
        raise Usage(f"{typed.named('repo')}: {why}", help_of="start")
    for name in ("directory", "worktree"):
        if name in told:
            raise Usage(f"{typed.named('repo')} works in a clone of its own: leave out {told[name].named}.")
    return True


@contextlib.contextmanager
def in_its_clone(loops: Loops, flags: Typed, file: str | None) -> Iterator[tuple[Loops, Typed]]:
    """With `--repo`: what `start` was told, as for a loop in its clone, which is removed again where none begins.
    Without: as it is. Raises Usage, Unavailable."""
    told = merge([level_of_flags(flags), levels.loop_file(file)])
    if not check_told(told):
        yield loops, flags
        return
    from beatctl.activities import repositories
    from beatctl.activities.workspace.files import remove_tree
    from beatctl.cli.follow import interrupting_signals

    typed = typed_of(told)
    url = typed.repo or ""
    loops.check_home()
    loop = wanted_id(loops.environ) or new_id({status.id for status in loops.all()})
    path = clone_of(loops.home, loop)
    try:
        with interrupting_signals():
            source = _cloned(loops, url, typed.ref, loop, path)
        branch = typed.branch or f"beatctl/{loop}"
        if repositories.has_branch(path, branch):
            raise Usage(f"{url} has a branch {branch} already. Give --branch another name.")
        say(f"{url}: {source.ref}, commit {source.commit[:10]}")
        given = replace(flags, repo=url, ref=source.ref, directory=str(path), branch=branch)
        yield Loops({**loops.environ, "BEATCTL_LOOP_ID": loop}), given
    finally:
        if loops.ledger.status(loop) is None:
            remove_tree(os.fsencode(path))


def _cloned(loops: Loops, url: str, ref: str | None, loop: str, path: Path) -> Source:
    """Have the clone at `path`. Raises Usage, Unavailable."""
    from beatctl.activities import repositories
    from beatctl.activities.workspace.files import remove_tree

    if loops.ledger.status(loop) is not None:
        raise taken(loop)
    say(f"Fetching {url} …")
    try:
        source = repositories.fetch(loops.home, url, ref)
        remove_tree(os.fsencode(path))  # what a start that was killed has left
        repositories.clone(source, path)
    except repositories.NoSuchRef as wrong:
        raise Usage(str(wrong)) from None
    except repositories.Unreachable as problem:
        raise Unavailable(f"{url} can't be fetched: {problem}") from None
    return source


def clone_of(home: Home, loop: str) -> Path:
    """Where the clone of a loop that was started with --repo lies."""
    return home.root / "clones" / loop


def push_words(status: Status) -> str:
    """What became of the branch of a loop that was started with --repo; empty for another."""
    if status.repo is None:
        return ""
    done = status.push
    if done is None:
        return f"{status.branch}, after the end" if status.state != "finished" else f"{status.branch}, not yet"
    if done.state == "pushed":
        return f"{done.branch} at {(done.commit or '')[:10]}"
    return done.detail if done.state == "nothing" else f"{done.detail} Try again: beatctl push {status.id}"
