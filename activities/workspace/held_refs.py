"""The refs by which a loop's snapshots are held, in the user's repository or in a private store.

Each ref written is also noted in a file of beatctl's own, so that refs a child removed come back with their commits.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from . import refs
from .files import Signature, lstat, read_json, read_note, signature, write_json, write_note
from .git import QUIET, Git


class HeldRefs:
    """refs/beatctl/<loop>/… of one loop."""

    def __init__(self, common: Path, place: Path, loop: str) -> None:
        self._common = common
        self._place = place
        self._loop = loop
        self._prefix = f"refs/beatctl/{loop}/"
        self._log = place / "refs.log"
        self._others = place / "other-refs.json"
        self._seen = place / "refs-seen.json"

    def elsewhere(self, common: Path) -> HeldRefs:
        """Refs of the same loop in a nested repository, which has objects of its own."""
        place = self._place / "nested-refs" / hashlib.sha256(os.fsencode(common)).hexdigest()[:16]
        place.mkdir(parents=True, exist_ok=True)
        return HeldRefs(common, place, self._loop)

    def name(self, end: str) -> str:
        return self._prefix + end

    def read(self, end: str) -> str | None:
        return refs.read(self._common, self.name(end))

    def write(self, end: str, commit: str) -> str:
        """Make the ref with this end name a commit. Returns the ref's name."""
        with self._log.open("a") as log:
            log.write(f"{self.name(end)} {commit}\n")
        refs.write(self._common, self.name(end), commit)
        self._look()
        return self.name(end)

    def _signatures(self) -> list[Signature]:
        paths = [self._common / "refs" / "beatctl", self._common / self._prefix, self._common / "packed-refs"]
        return [signature(at) if at else [] for at in map(lstat, paths)]

    def _look(self) -> None:
        write_note(self._seen, self._signatures())

    def take_others(self) -> None:
        """Remember the refs of other loops: an agent may delete them together with the repository."""
        everything = refs.all_refs(self._common)
        found = {ref: value for ref, value in everything.items() if ref.startswith("refs/beatctl/")}
        write_json(self._others, {ref: value for ref, value in found.items() if not ref.startswith(self._prefix)})
        self._look()

    def take_anew(self) -> None:
        """Hold what is there now, and nothing that was removed while nobody watched."""
        found = {ref: value for ref, value in refs.all_refs(self._common).items() if ref.startswith(self._prefix)}
        self._log.write_text("".join(f"{ref} {value}\n" for ref, value in found.items()))
        self.take_others()

    def mend(self) -> bool:
        """Bring back refs that were removed or moved by a child. Returns whether any was."""
        if read_note(self._seen) == self._signatures():
            return False
        now = refs.all_refs(self._common)
        wanted: dict[str, str] = dict(read_json(self._others) or {})
        wanted = {ref: value for ref, value in wanted.items() if ref not in now}
        wanted.update(self._noted())
        mended = False
        for ref, value in wanted.items():
            if now.get(ref) != value:
                with contextlib.suppress(NotADirectoryError, IsADirectoryError):
                    refs.write(self._common, ref, value)
                    mended = True
        self._look()
        return mended

    def _noted(self) -> dict[str, str]:
        noted: dict[str, str] = {}
        with contextlib.suppress(FileNotFoundError):
            for line in self._log.read_text().splitlines():
                ref, _, value = line.partition(" ")
                if refs.is_object_name(value):
                    noted[ref] = value
        return noted

    def all(self) -> dict[str, str]:
        """The loop's refs as they are now, by the ends of their names."""
        found = refs.all_refs(self._common)
        return {ref.removeprefix(self._prefix): value for ref, value in found.items() if ref.startswith(self._prefix)}

    def remove(self, held: Mapping[str, str]) -> None:
        """Remove refs that still have these values. Raises `GitFailed` where one has another by now: none is gone."""
        given = b"".join(
            b"delete %s\0%s\0" % (os.fsencode(self.name(end)), value.encode()) for end, value in held.items()
        )
        if given:
            Git(self._common, {"GIT_DIR": str(self._common)}, QUIET).run("update-ref", "--stdin", "-z", given=given)

    def remove_all(self, but: Collection[str] = ()) -> None:
        """Remove the loop's refs, those with the ends in `but` excepted."""
        self.remove({end: value for end, value in self.all().items() if end not in but})

    def forget(self) -> None:
        for path in (self._others, self._seen):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
