"""The private git directory: an index, attributes and a configuration of beatctl's own over the user's work tree.

Objects go to the user's object store, so that refs in the user's repository can hold them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

from .files import temporary_name, write_whole
from .git import Git, Running, split
from .problems import SnapshotGone, WorkspaceProblem

_CONFIG = """[core]
	repositoryformatversion = {version}
	bare = false
	hooksPath = /dev/null
	attributesFile = /dev/null
	excludesFile = /dev/null
	fsmonitor = false
	untrackedCache = false
	splitIndex = false
	preloadIndex = true
	autocrlf = false
	safecrlf = false
	trustctime = true
	fileMode = true
	symlinks = true
	ignoreCase = {ignore_case}
	quotePath = false
	precomposeUnicode = false
	protectHFS = false
	protectNTFS = false
	logAllRefUpdates = false
	commitGraph = false
[gc]
	auto = 0
[diff]
	renames = true
[extensions]
	{extensions}
"""
_ATTRIBUTES = "* -text -crlf -eol -filter -ident -working-tree-encoding\n"
SMALL = 1 << 16
"""Bytes, compressed, of objects that are read here and not by git."""
NOBODY = "beatctl <beatctl@localhost>"


@dataclass(frozen=True)
class Commit:
    tree: str
    parents: list[str]
    message: str

    def trailer(self, key: str) -> str | None:
        for line in reversed(self.message.splitlines()):
            if line.startswith(f"{key}: "):
                return line.removeprefix(f"{key}: ")
        return None


def with_trailers(message: str, trailers: dict[str, str]) -> str:
    """A commit message with these trailers set, others kept; a key that is there already gets the new value."""
    body, _, last = message.rstrip("\n").rpartition("\n\n")
    old = [line for line in last.splitlines() if line.startswith("Beatctl-")]
    if not old or len(old) != len(last.splitlines()):
        body, old = message.rstrip("\n"), []
    merged = dict(line.split(": ", 1) for line in old)
    merged.update({key: " ".join(value.split()) for key, value in trailers.items()})
    return body + "\n\n" + "".join(f"{key}: {value}\n" for key, value in merged.items())


@dataclass
class Changes:
    """What it takes to get from one tree to another."""

    before: str
    after: str
    running: Running | None

    def result(self) -> tuple[dict[bytes, tuple[bytes, str]], set[bytes]]:
        """What to write (git's mode and blob, by path) and what to remove."""
        write: dict[bytes, tuple[bytes, str]] = {}
        remove: set[bytes] = set()
        records = split(self.running.result()) if self.running else []
        for what, path in zip(records[::2], records[1::2], strict=True):
            _, mode, _, blob, kind = what[1:].split(b" ")
            if kind == b"D":
                remove.add(path)
            else:
                write[path] = (mode, blob.decode())
        return write, remove


class PrivateGit:
    """Plumbing on the private git directory; knows objects and the index, nothing of loops."""

    def __init__(self, place: Path, root: Path, objects: Path | None, object_format: str) -> None:
        """`place` is the workspace's folder in beatctl's state; `objects` None: a store of its own."""
        self.dir = place / "git"
        self.root = root
        self.objects = objects or self.dir / "objects"
        self.object_format = object_format
        self.rules = place / "rules"
        self.index = self.dir / "index"
        self.git = Git(
            root,
            {
                "GIT_DIR": str(self.dir),
                "GIT_WORK_TREE": str(root),
                "GIT_INDEX_FILE": str(self.index),
                "GIT_OBJECT_DIRECTORY": str(self.objects),
            },
        )

    def create(self, *, ignore_case: bool) -> None:
        for name in ("objects", "refs/heads", "info"):
            (self.dir / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        sha256 = self.object_format == "sha256"
        config = _CONFIG.format(
            version=1 if sha256 else 0,
            ignore_case=str(ignore_case).lower(),
            extensions="objectFormat = sha256" if sha256 else "",
        )
        write_whole(self.dir / "config", config.encode())
        write_whole(self.dir / "info" / "attributes", _ATTRIBUTES.encode())
        write_whole(self.dir / "info" / "exclude", b"")
        write_whole(self.dir / "HEAD", b"ref: refs/heads/none\n")

    @property
    def zero(self) -> str:
        return "0" * (64 if self.object_format == "sha256" else 40)

    def unlock(self) -> None:
        """Remove the lock of a git of ours that was killed; the caller holds the workspace's own lock."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.index}.lock")

    def write_tree(self) -> str:
        return self.git.line("write-tree")

    def start_changes(self, before: str, after: str) -> Changes:
        """Begin to compare two trees, beside whatever else is done before the answer is needed."""
        words = ("diff-tree", "-r", "-z", "--raw", "--no-renames", before, after)
        return Changes(before, after, self.git.start(*words) if before != after else None)

    def hash(self, kind: bytes, data: bytes) -> str:
        return hashlib.new(self.object_format, b"%s %d\0" % (kind, len(data)) + data, usedforsecurity=False).hexdigest()

    def write_commit(self, tree: str, parents: list[str], message: str) -> str:
        """Store a commit and return its id. Written here, not by git, to spare a process."""
        stamp = f"{NOBODY} {int(time.time())} +0000"
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {stamp}", f"committer {stamp}"]
        data = ("\n".join(lines) + "\n\n" + message.rstrip("\n") + "\n").encode("utf-8", "backslashreplace")
        name = self.hash(b"commit", data)
        folder = self.objects / name[:2]
        path = folder / name[2:]
        if not path.exists():
            folder.mkdir(exist_ok=True)
            temporary = temporary_name(os.fsencode(path))
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444), "wb") as file:
                file.write(zlib.compress(b"commit %d\0" % len(data) + data))
            os.rename(temporary, path)
        return name

    def read_commit(self, name: str) -> Commit:
        """Raises `SnapshotGone` when there is no such commit."""
        data = self.read_loose(name, b"commit")
        if data is None:
            try:
                data = self.git.run("cat-file", "commit", name)
            except WorkspaceProblem as problem:
                raise SnapshotGone(f"Snapshot {name[:12]} is not in {self.objects} any more.") from problem
        head, _, message = data.decode("utf-8", "replace").partition("\n\n")
        fields = [line.split(" ", 1) for line in head.splitlines()]
        tree = next(value for key, value in fields if key == "tree")
        return Commit(tree, [value for key, value in fields if key == "parent"], message)

    def read_loose(self, name: str, kind: bytes) -> bytes | None:
        """An object's content, if it is a small one in a file of its own; spares a process."""
        try:
            with (self.objects / name[:2] / name[2:]).open("rb") as file:
                data = zlib.decompress(file.read(SMALL)) if os.fstat(file.fileno()).st_size < SMALL else b""
        except (OSError, zlib.error):
            return None
        head, _, body = data.partition(b"\0")
        return body if head.startswith(kind + b" ") else None
