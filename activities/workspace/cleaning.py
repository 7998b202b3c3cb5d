"""What the user's git would store of a snapshot's files: line endings, clean filters, file modes as configured.

Snapshots hold bytes as they lie on disk. Here some of them are written to a scratch folder and added, with the user's
configuration and the attributes of the commit they go onto, to an index that is nobody's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .files import remove_tree
from .git import split
from .places import Repository
from .private_git import PrivateGit
from .user_git import PLUMBING, Entry, UserGit, index_info

_IGNORE = b".gitignore"


class Cleaner:
    def __init__(self, private: PrivateGit, repository: Repository, scratch: Path) -> None:
        """`scratch` is an empty folder."""
        self._private = private
        self._files = scratch / "files"
        self._raw_index = scratch / "raw-index"
        self._index = scratch / "index"
        self._files.mkdir()
        self._git = UserGit(
            self._files,
            {
                "GIT_DIR": str(repository.git_dir),
                "GIT_WORK_TREE": str(self._files),
                "GIT_INDEX_FILE": str(self._index),
            },
            PLUMBING,
        )

    def tree(self, tip: str, version: Mapping[bytes, Entry | None]) -> str:
        """The tip's tree with these paths as `git add` would store them, or gone where there is None."""
        self._write(version)
        self._git.run("read-tree", tip)
        gone = b"".join(path + b"\0" for path, entry in version.items() if entry is None)
        there = b"".join(path + b"\0" for path, entry in version.items() if entry is not None)
        if gone:
            self._git.run("update-index", "--force-remove", "-z", "--stdin", given=gone)
        if there:
            self._git.run("update-index", "--add", "--replace", "-z", "--stdin", given=there)
        return self._git.line("write-tree")

    def ignored(self, tip: str, version: Mapping[bytes, Entry | None], paths: list[bytes]) -> set[bytes]:
        """Those of some new paths that the tip's ignore rules, with those of this version, would keep out."""
        if not paths:
            return set()
        self._write({})
        self._git.run("read-tree", tip)
        rules = [path for path in split(self._git.run("ls-files", "-z")) if path.rpartition(b"/")[2] == _IGNORE]
        if rules:
            given = b"".join(path + b"\0" for path in rules)
            self._git.run("checkout-index", "-f", "-q", "-z", "--stdin", given=given)
        self._write({path: entry for path, entry in version.items() if path.endswith(_IGNORE)}, fresh=False)
        # With a dot before them, names with a colon first are names.
        given = b"".join(b"./" + path + b"\0" for path in paths)
        found = split(self._git.run("check-ignore", "-z", "--stdin", given=given, accept=(0, 1)))
        return {path.removeprefix(b"./") for path in found}

    def _write(self, version: Mapping[bytes, Entry | None], *, fresh: bool = True) -> None:
        """Write files as they were on disk, byte for byte; the private git knows of no conversion."""
        if fresh:
            remove_tree(os.fsencode(self._files))
            self._files.mkdir()
        self._raw_index.unlink(missing_ok=True)
        entries = {path: entry for path, entry in version.items() if entry is not None}
        if entries:
            git, index = self._private.git, self._raw_index
            git.run(
                "update-index", "--add", "-z", "--index-info",
                given=index_info(entries, self._private.zero), index=index,
            )  # fmt: skip
            git.run("checkout-index", "-a", "-f", "-q", f"--prefix={self._files}/", index=index)
