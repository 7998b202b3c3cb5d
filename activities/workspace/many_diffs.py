"""What changed between many pairs of snapshots, from two git processes for all of them instead of one for each."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, NamedTuple

from .git import Git
from .private_git import PrivateGit
from .problems import WorkspaceProblem

Pair = tuple[str, str]
_BIG = "core.bigFileThreshold=1m"
"""Larger files are compared as bytes are: told as different, not line by line."""


class Diff(NamedTuple):
    """A unified diff: its beginning, to the end of a line, and how many bytes it has in all."""

    text: bytes
    size: int


def many_diffs(private: PrivateGit, pairs: Sequence[Pair], most: int) -> dict[Pair, Diff]:
    """The diff from the first snapshot (a commit) to the second of each pair, up to `most` bytes of it.

    A pair with a snapshot that is not there any more is left out. The work tree is not needed. Raises
    `WorkspaceProblem` when git cannot be run at all.
    """
    objects = {"GIT_DIR": str(private.dir), "GIT_OBJECT_DIRECTORY": str(private.objects)}
    git = Git(private.dir, objects)
    trees = _trees(git, {commit for pair in pairs for commit in pair})
    known = {pair: (trees[pair[0]], trees[pair[1]]) for pair in pairs if pair[0] in trees and pair[1] in trees}
    found = _compared(git, {pair for pair in known.values() if pair[0] != pair[1]}, most)
    same = Diff(b"", 0)
    return {
        pair: found.get(compared, same)
        for pair, compared in known.items()
        if compared in found or compared[0] == compared[1]
    }


def _trees(git: Git, commits: set[str]) -> dict[str, str]:
    """Each commit's tree, of those that are there."""
    names = sorted(commits)
    asked = "".join(f"{name}^{{tree}}\n" for name in names).encode()
    answers = git.run("cat-file", "--batch-check=%(objectname) %(objecttype)", given=asked).decode().splitlines()
    told = zip(names, answers, strict=True)
    return {name: answer.removesuffix(" tree") for name, answer in told if answer.endswith(" tree")}


def _compared(git: Git, pairs: Iterable[Pair], most: int) -> dict[Pair, Diff]:
    words = ["git", "-c", _BIG, "diff-tree", "--stdin", "-r", "-p", "-M", "--no-ext-diff", "--no-textconv"]
    with tempfile.TemporaryFile() as asked:
        asked.write("".join(f"{before} {after}\n" for before, after in sorted(pairs)).encode())
        asked.seek(0)
        try:
            process = subprocess.Popen(
                [*words, "--no-color"],
                cwd=git.folder,
                env=git.environment,
                stdin=asked,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise WorkspaceProblem(f"git could not be started in {git.folder}: {error}") from error
        assert process.stdout is not None
        with process.stdout:
            found = dict(_read(process.stdout, most))
        if process.wait() != 0 and found:
            found.popitem()  # git stopped in the middle of it: content that is not there any more
    return found


def _read(output: IO[bytes], most: int) -> Iterator[tuple[Pair, Diff]]:
    """Each pair's diff. A line of two object names cannot be in a diff, whose lines all begin otherwise."""
    pair: Pair | None = None
    kept: list[bytes] = []
    size = 0
    for line in output:
        names = _heading(line)
        if names is None:
            if not size and line == b"\n":
                continue
            size += len(line)
            if size <= most:  # it only grows: from the first line that does not fit on, all are left out
                kept.append(line)
            continue
        if pair is not None:
            yield pair, Diff(b"".join(kept), size)
        pair, kept, size = names, [], 0
    if pair is not None:
        yield pair, Diff(b"".join(kept), size)


def _heading(line: bytes) -> Pair | None:
    if len(line) not in (82, 130):
        return None
    before, _, after = line.strip().decode("ascii", "replace").partition(" ")
    names = (before, after)
    return names if all(len(name) in (40, 64) and not set(name) - set("0123456789abcdef") for name in names) else None
