"""A repository in which the user goes on working while a loop has a worktree of its own there.

Branches, tags and settings are shared by all work trees, and no file says who changed one. So only what the child must
have done is undone there: refs that name commits it made in its own worktree, refs that were there when the loop began
and are gone, and settings other than those that go with branches and remotes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from . import refs
from .files import read_json, write_json
from .git import QUIET, Git

_HEADER = re.compile(rb"^\s*\[", re.MULTILINE)
_WITH_BRANCHES = re.compile(rb'^\s*\[(branch|remote) ?"', re.IGNORECASE)
_GUARDED = (b"config", b"hooks", b"info", b"description")


def is_guarded(path: bytes) -> bool:
    """Whether a file of the shared git directory is put back as a file; refs are judged one by one."""
    return any(path == top or path.startswith(top + b"/") for top in _GUARDED)


def made_commits(before: bytes, now: bytes, known: Iterable[str]) -> set[str]:
    """Commits that a worktree's HEAD log names now, did not name before, and no ref in `known` named: the child's."""
    old = {word for line in before.splitlines() for word in line.split(b" ", 2)[:2]}
    new = {word for line in now.splitlines() for word in line.split(b" ", 2)[:2]} - old
    return {name for word in new if refs.is_object_name(name := word.decode("ascii", "replace"))} - set(known)


class First:
    """How the shared git directory was when the loop began, and which settings were once taken for the user's."""

    def __init__(self, place: Path) -> None:
        self._path = place / "first.json"

    def note(self, found: Callable[[], Iterable[str]], config: bytes) -> None:
        """Take in what is there while no child runs."""
        data = read_json(self._path) or {"refs": sorted(found()), "configs": []}
        name = hashlib.sha256(config).hexdigest()
        if name not in data["configs"]:
            data["configs"].append(name)
            write_json(self._path, data)

    def refs(self) -> set[str]:
        return set((read_json(self._path) or {"refs": []})["refs"])

    def had(self, config: bytes) -> bool:
        """Whether the settings were these at an earlier time: then another loop's guard has just put them back."""
        return hashlib.sha256(config).hexdigest() in (read_json(self._path) or {"configs": []})["configs"]


def refs_to_undo(
    common: Path, before: dict[str, str], now: dict[str, str], own_branch: str, made: set[str], first: set[str]
) -> dict[str, str | None]:
    """What the child did to refs: their values as they were, None for one that was not there."""
    git = Git(common, {"GIT_DIR": str(common)}, QUIET)
    found: dict[str, str | None] = {}
    for ref in before.keys() | now.keys():
        old, new = before.get(ref), now.get(ref)
        if old == new or ref.startswith("refs/beatctl/"):
            continue
        if new is None:
            if ref in first and not ref.startswith("refs/remotes/") and ref != "refs/stash":
                found[ref] = old
        elif ref == own_branch or (made and (new in made or _commit(git, ref, new) in made)):
            found[ref] = old
    return found


def write_refs(common: Path, wanted: dict[str, str | None]) -> None:
    """Make refs what they are to be, packed or not."""
    git = Git(common, {"GIT_DIR": str(common)}, QUIET)
    for ref, value in wanted.items():
        if value is not None:
            refs.write(common, ref, value)
        else:
            git.run("update-ref", "-d", ref, accept=(0, 1, 128))


def settings(held: bytes, now: bytes) -> bytes:
    """The settings as they were, but with what is said of branches and remotes now; a remote that was there keeps its
    address."""
    before, after = _sections(held), _sections(now)
    result = {header: text for header, text in before.items() if not _is_branch(header) or header in after}
    for header, text in after.items():
        if _is_branch(header) or (_WITH_BRANCHES.match(header) and header not in before):
            result[header] = text
    return b"".join(result.values())


def _is_branch(header: bytes) -> bool:
    return header.strip().lower().startswith(b'[branch "')


def _sections(config: bytes) -> dict[bytes, bytes]:
    """A configuration file's sections with their header lines; what stands before the first has the empty one."""
    starts = [match.start() for match in _HEADER.finditer(config)]
    found = {b"": config[: starts[0] if starts else len(config)]}
    for start, end in zip(starts, [*starts[1:], len(config)], strict=True):
        text = config[start:end]
        header = text.partition(b"]")[0].strip() + b"]"
        found[header] = found.get(header, b"") + (text if text.endswith(b"\n") else text + b"\n")
    return found


def _commit(git: Git, ref: str, value: str) -> str:
    """The commit that an annotated tag names; else the value itself."""
    if not ref.startswith("refs/tags/"):
        return value
    return git.run("rev-parse", "--verify", "--quiet", f"{value}^{{commit}}", accept=(0, 1, 128)).decode().strip()
