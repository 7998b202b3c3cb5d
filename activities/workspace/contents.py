"""The content of many blobs, one after the other: from git, or from their own files when they are few and small."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from .private_git import PrivateGit
from .problems import WorkspaceProblem

_BLOCK = 1 << 20
_FEW = 32


class Contents:
    """A stream in the form of `git cat-file --batch`."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = 0

    def next(self, blob: str) -> int:
        """The size in bytes of the next blob, which has to be this one."""
        name, _, rest = self._stream.readline().decode().partition(" ")
        kind, _, size = rest.strip().partition(" ")
        if name != blob or kind != "blob":
            raise WorkspaceProblem(f"A snapshot's content is not in the object store any more: {blob}.")
        self._left = int(size)
        return self._left

    def read(self, size: int) -> bytes:
        self._left -= size
        return self._stream.read(size)

    def copy(self, size: int, file: IO[bytes]) -> None:
        while size:
            block = self.read(min(size, _BLOCK))
            if not block:
                raise WorkspaceProblem("git ended while it was giving a snapshot's content.")
            file.write(block)
            size -= len(block)

    def end(self) -> None:
        """Pass over what is left of this blob and the newline after it."""
        self._stream.read(self._left + 1)


@contextmanager
def contents(private: PrivateGit, blobs: list[str]) -> Iterator[Contents]:
    """The contents of these blobs, in this order."""
    small = _small(private, blobs) if len(blobs) <= _FEW else None
    if small is not None:
        yield Contents(io.BytesIO(small))
        return
    wanted = private.dir / "wanted"
    wanted.write_bytes("".join(f"{blob}\n" for blob in blobs).encode())
    with wanted.open("rb") as names:
        process = subprocess.Popen(
            ["git", "cat-file", "--batch", "--buffer"],
            cwd=private.root,
            env=private.git.environment,
            stdin=names,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    assert process.stdout is not None
    try:
        yield Contents(process.stdout)
    finally:
        process.stdout.close()
        process.wait()
        wanted.unlink(missing_ok=True)


def _small(private: PrivateGit, blobs: list[str]) -> bytes | None:
    """All of them as git would give them, or None when one is large or packed."""
    parts = []
    for blob in blobs:
        data = private.read_loose(blob, b"blob")
        if data is None:
            return None
        parts.append(b"%s blob %d\n%s\n" % (blob.encode(), len(data), data))
    return b"".join(parts)
