"""All the guards of a workspace: the root's `.git`, and those of nested repositories."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from .files import lstat, read_json, to_bytes, write_json
from .guard import Guard, Repaired
from .held_refs import HeldRefs
from .object_mirror import place_for
from .places import find_repository


class Guarding:
    """Guards are named by the folder that holds the `.git`, as text below the root; the empty one is the root."""

    def __init__(self, place: Path, root: Path, loop: str, *, own_worktree: bool) -> None:
        self._place = place / "guards"
        self._root = root
        self._loop = loop
        self._own_worktree = own_worktree

    def _guard(self, name: str) -> Guard:
        place = self._place / (hashlib.sha256(to_bytes(name)).hexdigest()[:16] if name else "root")
        links = read_json(place / "links.json")
        return Guard(
            self._folder(name),
            place,
            Path(links) if links else None,
            covered=self._root / ".git" if name else None,
            users_at_work=self._own_worktree and not name,
        )

    def _folder(self, name: str) -> Path:
        return self._root / name if name else self._root

    def arm(self, names: list[str]) -> list[str]:
        """Take what is there now as the truth. Returns warnings about what cannot be protected."""
        return [warning for name in names if (warning := self._arm(name))]

    def _arm(self, name: str) -> str | None:
        guard = self._guard(name)
        repository = find_repository(guard.folder)
        links, warning = place_for(guard.place, guard.folder, repository.objects if repository else None, self._loop)
        write_json(guard.place / "links.json", str(links) if links else None)
        self._guard(name).take_in()
        return warning

    def roll_back(self, names: list[str], label: str, refs: HeldRefs) -> Repaired:
        """Undo what a child did to every guarded `.git`; `refs` hold what it committed."""
        done = Repaired()
        for name in names:
            if name and lstat(self._folder(name)) is None:
                continue  # the folder itself is gone, which a restore brings back
            one = self._guard(name).roll_back(label, self._holder(name, refs))
            done.what += [f"{name}: {word}" if name else word for word in dict.fromkeys(one.what)]
            done.kept += one.kept
        return done

    def _holder(self, name: str, refs: HeldRefs) -> Callable[[str, str], str]:
        """How commits are held: in the repository they were made in."""
        if not name:
            return refs.write

        def write(end: str, commit: str) -> str:
            repository = find_repository(self._folder(name))
            return (refs.elsewhere(repository.common_dir) if repository else refs).write(end, commit)

        return write

    def take_in(self, names: list[str], refs: HeldRefs) -> None:
        """Make the user's own changes the truth; only the root's `.git` is never taken for removed."""
        if self._guard("").vanished:
            self._guard("").roll_back("vanished", refs.write)
            refs.mend()
        for name in names:
            if not name or lstat(self._folder(name)) is not None:
                self._guard(name).take_in()

    def sync_objects(self) -> None:
        """Give what was just written to the root's object store its second name."""
        guard = self._guard("")
        if guard.taken:
            guard.sync_objects(children_ran=True)

    def add_object(self, store: Path, name: str) -> None:
        """The same for one object, which is much quicker."""
        guard = self._guard("")
        if guard.taken:
            guard.add_object(store, name)

    def follow(self, names: list[str], repositories: list[str]) -> list[str]:
        """Guard nested repositories that came, and no longer those that went."""
        for name in repositories:
            if name not in names:
                self._arm(name)
        return ["", *repositories]

    def put_away(self, name: str) -> None:
        """Remove the `.git` of a nested repository that the wanted snapshot does not have; copies of it stay."""
        if not self._guard(name).taken:
            self._arm(name)
        self._guard(name).put_away()

    def put_back(self, name: str, label: str, refs: HeldRefs) -> None:
        """Bring back the `.git` of a nested repository that the wanted snapshot has."""
        guard = self._guard(name)
        if guard.taken and lstat(guard.dotgit) is None:
            guard.roll_back(label, self._holder(name, refs))

    def disarm(self) -> None:
        if self._place.is_dir():
            for place in self._place.iterdir():
                links = read_json(place / "links.json")
                if links and not Path(links).is_relative_to(place):
                    Guard.remove(Path(links))
            Guard.remove(self._place)
