"""Commits an agent made: found in refs and reflogs, and held by refs of beatctl's own before they are undone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from . import refs
from .files import read_json, write_json
from .git import QUIET, Git

_MOST = 50
"""Commits kept that only a reflog knows, in one run."""


def from_reflogs(logs: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """Objects that reflogs name now and did not before, the newest first. Pairs: before, now."""
    found: dict[str, None] = {}
    for before, now in logs:
        old = {line[:129] for line in before.splitlines()}
        known = {word.decode("ascii", "replace") for line in before.splitlines() for word in line.split(b" ", 2)[:2]}
        for line in reversed(now.splitlines()):
            words = line.split(b" ", 2)
            if line[:129] in old or len(words) < 2:
                continue
            name = words[1].decode("ascii", "replace")
            if refs.is_object_name(name) and name.strip("0") and name not in known:
                found[name] = None
    return list(found)[:_MOST]


def worth_keeping(
    before: dict[str, str], now: dict[str, str], elsewhere: set[str], head: str, logged: list[str]
) -> dict[str, str]:
    """What is to be held, by the end of its new name: refs that moved or came, a detached HEAD, what reflogs add."""
    old = set(before.values())
    found: dict[str, str] = {}
    for ref, value in sorted(now.items()):
        if ref.startswith(("refs/beatctl/", "refs/remotes/")) or ref in elsewhere or before.get(ref) == value:
            continue
        if refs.is_object_name(value) and value not in old:
            found[ref.removeprefix("refs/")] = value
    named = set(found.values()) | old
    for number, value in enumerate([head, *logged]):
        if refs.is_object_name(value) and value not in named:
            found["HEAD" if number == 0 else f"reflog/{number}"] = value
            named.add(value)
    return found


class AgentCommits:
    """What is still to be held; on disk, so that a roll-back that was interrupted loses no commit."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, name: str, wanted: dict[str, str]) -> None:
        if wanted:
            write_json(self._path, {"name": name, "wanted": wanted}, lasting=True)

    def keep(self, common: Path, git_dir: Path, write: Callable[[str, str], str]) -> list[str]:
        """Make the refs, in the repository as it is again. `write` takes a ref's end and value and tells its name."""
        pending = read_json(self._path)
        if pending is None:
            return []
        git = Git(common, {"GIT_DIR": str(git_dir)}, QUIET)
        wanted: dict[str, str] = pending["wanted"]
        there = self._existing(git, wanted)
        there = self._independent(git, there)
        kept = []
        for end, value in there.items():
            with contextlib.suppress(OSError):
                kept.append(write(f"agent/{pending['name']}/{end}", value))
        os.unlink(self._path)
        return kept

    def _existing(self, git: Git, wanted: dict[str, str]) -> dict[str, str]:
        given = "".join(f"{value}\n" for value in wanted.values()).encode()
        lines = git.run("cat-file", "--batch-check", given=given).decode().splitlines()
        kinds = [line.split(" ")[1] for line in lines]
        return {
            end: value for (end, value), kind in zip(wanted.items(), kinds, strict=True) if kind in ("commit", "tag")
        }

    def _independent(self, git: Git, wanted: dict[str, str]) -> dict[str, str]:
        """Without those reflog entries that others lead to."""
        logged = {end for end in wanted if end.startswith("reflog/")}
        if not logged:
            return wanted
        with contextlib.suppress(Exception):
            out = git.run("merge-base", "--independent", *(value for value in wanted.values())).decode().split()
            return {end: value for end, value in wanted.items() if end not in logged or value in out}
        return wanted
