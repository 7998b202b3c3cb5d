"""The manifest beside a snapshot: what git does not keep of a work tree.

Modes of files beyond "executable or not", every folder (empty ones too) with its mode, and where nested repositories
lie. Kept as files named by their content, so that snapshots alike share one.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .files import to_bytes, to_text, write_whole
from .problems import WorkspaceProblem


@dataclass
class Manifest:
    """Paths are bytes below the root; the root itself is the empty path. Modes are permission bits."""

    plain: int = 0o644
    """The mode of files that are not executable, unless `files` says otherwise."""
    executable: int = 0o755
    files: dict[bytes, int] = field(default_factory=dict)
    folders: dict[bytes, int] = field(default_factory=dict)
    repositories: list[bytes] = field(default_factory=list)

    def mode_of(self, path: bytes, git_mode: bytes) -> int:
        """The permission bits a file is to have; `git_mode` is 100644 or 100755."""
        return self.files.get(path, self.usual(git_mode))

    def usual(self, git_mode: bytes) -> int:
        return self.executable if git_mode == b"100755" else self.plain

    def note(self, path: bytes, mode: int | None) -> None:
        """Take in a regular file's mode; None: there is no regular file at this path."""
        if mode is None or mode == (self.executable if mode & 0o100 else self.plain):
            self.files.pop(path, None)
        else:
            self.files[path] = mode

    def copy(self) -> Manifest:
        return Manifest(self.plain, self.executable, dict(self.files), dict(self.folders), list(self.repositories))

    def save(self, place: Path) -> str:
        """Store it; returns the name it is found by. Written once for all snapshots that have the same."""
        data = json.dumps(
            {
                "plain": self.plain,
                "executable": self.executable,
                "files": {to_text(path): mode for path, mode in sorted(self.files.items())},
                "folders": {to_text(path): mode for path, mode in sorted(self.folders.items())},
                "repositories": [to_text(path) for path in sorted(self.repositories)],
            },
            separators=(",", ":"),
        ).encode()
        name = hashlib.sha256(data).hexdigest()[:40]
        if not (place / name).exists():
            place.mkdir(exist_ok=True)
            write_whole(place / name, zlib.compress(data, 1), lasting=True)
        return name

    @classmethod
    def read(cls, place: Path, name: str) -> Manifest:
        try:
            data = json.loads(zlib.decompress((place / name).read_bytes()))
        except FileNotFoundError as error:
            text = f"The snapshot's list of modes and folders is gone: {place / name}. Nothing was changed."
            raise WorkspaceProblem(text) from error
        return cls(
            data["plain"],
            data["executable"],
            {to_bytes(path): mode for path, mode in data["files"].items()},
            {to_bytes(path): mode for path, mode in data["folders"].items()},
            [to_bytes(path) for path in data["repositories"]],
        )


def with_usual_modes(modes: Mapping[bytes, int]) -> Manifest:
    """A manifest of these files whose usual modes are the ones most of them have, so that it names few."""
    counts = Counter(modes.values())

    def most(executable: bool, otherwise: int) -> int:
        among = [(count, mode) for mode, count in counts.items() if bool(mode & 0o100) == executable]
        return max(among)[1] if among else otherwise

    plain = most(False, 0o644)
    manifest = Manifest(plain, most(True, plain | (plain & 0o444) >> 2))
    for path, mode in modes.items():
        manifest.note(path, mode)
    return manifest
