"""The repository guard: what a child does to a `.git` is undone, what it committed is kept.

Before children run, everything in the git directory is listed and copied (objects by a second name). After one ran,
what differs is put back. While none runs, what differs is the user's own doing and becomes the new truth.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from . import dotgit, refs
from .admin_files import (
    Copies,
    Listing,
    adopt,
    differing,
    put_back,
    refreshed,
    same_signatures,
    scan,
    stores,
)
from .agent_commits import AgentCommits, from_reflogs, worth_keeping
from .areas import Area, Change, read, recorded_refs
from .dotgit import Dotgit
from .files import lstat, parents, read_json, read_regular, remove_tree, to_text, write_json, write_whole
from .object_mirror import ObjectMirror
from .other_worktrees import checked_out_elsewhere, is_shared, stashed_elsewhere
from .places import Repository, find_repository
from .problems import WorkspaceProblem
from .users_at_work import First, is_guarded, made_commits, refs_to_undo, settings, write_refs

_UNTOLD = ("refs", "logs", "packed-refs", "COMMIT_EDITMSG", "opencode")
"""What a commit leaves beside the branch that is told; and the file with which opencode marks every repository."""


@dataclass
class Repaired:
    """What a roll-back put back, in words, and the refs that hold what was committed."""

    what: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


class Guard:
    """The guard of one `.git`: that of the root, or of a nested repository."""

    def __init__(
        self, folder: Path, place: Path, links: Path | None, *, covered: Path | None = None, users_at_work: bool = False
    ) -> None:
        """`folder` holds the `.git`; `place` is where the guard keeps its copies; `links` is where second names of
        objects can be kept, None when nowhere; `covered` is a git directory that another guard looks after.
        `users_at_work`: the worktree is the loop's own, in a repository where the user goes on working."""
        self.folder = folder
        self.dotgit = folder / ".git"
        self.place = place
        self._covered = covered
        self._links = links
        self._copies = Copies(place / "copies")
        self._record = place / "guard.json"
        self._first = First(place)
        self._users_at_work = users_at_work

    @property
    def taken(self) -> bool:
        return self._record.exists()

    @property
    def vanished(self) -> bool:
        """Whether a `.git` that was there is there no more."""
        return self.taken and lstat(self.dotgit) is None and self._read()[0]["kind"] != "none"

    # What is known

    def _read(self) -> tuple[Dotgit, list[Area]]:
        data = read_json(self._record)
        if data is None:
            raise WorkspaceProblem(f"The copy that protects {self.dotgit} is gone: {self._record}.")
        return data["dotgit"], [Area.from_json(area) for area in data["areas"]]

    def _write(self, now: Dotgit, areas: list[Area], before: list[Area]) -> None:
        write_json(self._record, {"dotgit": now, "areas": [area.to_json() for area in areas]})
        contents = {entry.content for area in areas for entry in area.listing.values() if entry.kind == "f"}
        old = {entry.content for area in before for entry in area.listing.values() if entry.kind == "f"}
        if old - contents:
            self._copies.drop_others(contents)

    # Taking the user's state

    def take_in(self) -> None:
        """Make what is there now the truth."""
        self.place.mkdir(parents=True, exist_ok=True, mode=0o700)
        before, old = self._read() if self.taken else (None, [])
        now = dotgit.look(self.dotgit)
        bases = [(area.base, area.shared) for area in old]
        if not old or now != before:
            bases = [
                (base, shared)
                for base, shared in _bases(now, find_repository(self.folder), self.dotgit)
                if self._covered is None or not base.is_relative_to(self._covered.resolve())
            ]
        areas = [self._taken(base, shared, bases[0][0], old) for base, shared in bases]
        if areas != old or now != before:
            self._write(now, areas, old)
        if areas and areas != old:
            base = areas[-1].base
            self._first.note(lambda: refs.all_refs(base), read(base, b"config"))
        self.sync_objects(areas, children_ran=False)

    def _taken(self, base: Path, shared: bool, own: Path, old: list[Area]) -> Area:
        """One git directory as it is now; the old area itself where nothing differs."""
        before = next((area for area in old if area.base == base), None)
        held = before.listing if before else {}
        now = scan(base)
        changed = differing(base, held, now, self._copies)
        elsewhere = sorted(checked_out_elsewhere(base, own))
        if before is not None and not changed and before.elsewhere == elsewhere and same_signatures(held, now):
            return before
        listing, at = adopt(base, held, now, changed, self._copies), lstat(base)
        return Area(base, listing, stores(listing, base), shared, at.st_ino if at else 0, elsewhere)

    def sync_objects(self, areas: list[Area] | None = None, *, children_ran: bool) -> bool:
        """Give new objects their second name; put back those a child removed."""
        mended = False
        for mirror in self._mirrors(self._read()[1] if areas is None else areas):
            mended |= mirror.sync(children_ran=children_ran)
        return mended

    def add_object(self, store: Path, name: str) -> None:
        """Give one object that was just written to `store` its second name."""
        _, areas = self._read()
        mirrors = [mirror for mirror in self._mirrors(areas) if mirror.source.samefile(store)]
        for mirror in mirrors:
            mirror.add(name)
        if not mirrors:
            self.sync_objects(areas, children_ran=True)

    def _mirrors(self, areas: list[Area]) -> Iterator[ObjectMirror]:
        if self._links is None:
            return
        for number, area in enumerate(areas):
            for path in area.stores:
                source = Path(os.fsdecode(os.path.join(os.fsencode(area.base), path)))
                yield ObjectMirror(source, self._links / str(number) / to_text(path).replace("/", "-"))

    # After a child

    def roll_back(self, name: str, hold: Callable[[str, str], str]) -> Repaired:
        """Undo what a child did; what it committed is kept under agent/<name>/ by `hold` (see `AgentCommits.keep`)."""
        done = Repaired()
        was, areas = self._read()
        pending = AgentCommits(self.place / "pending.json")
        if dotgit.put_back(self.dotgit, was, areas[0].inode if areas else 0, self.place):
            done.what.append(".git")
        if not areas:
            return done
        if self._links is None and any(not (area.base / "objects").is_dir() for area in areas if area.stores):
            raise WorkspaceProblem(
                f"The objects of {self.dotgit} are gone, and could not be copied before. Clone the repository again, "
                "put its .git there, then beatctl resume: your files, HEAD, index and refs are kept."
            )
        if self.sync_objects(areas, children_ran=True):
            done.what.append("objects")
        changes = [self._change(area, areas[0]) for area in areas]
        if any(change.paths or change.refs or change.config is not None for change in changes):
            self._undo(changes, pending, name, done)
            for area in areas:
                area.listing = refreshed(area.base, area.listing, self._copies)
            self._write(was, areas, areas)
        done.kept += pending.keep(areas[-1].base, areas[0].base, hold)
        if done.kept:
            self.sync_objects(areas, children_ran=True)
        return done

    def _change(self, area: Area, own: Area) -> Change:
        """What differs and is to be put back: not what other work trees of the repository have moved.

        A branch that another work tree has checked out moves with that; it is not deleted there, nor its log cut.
        """
        now = scan(area.base)
        whole = not area.shared or lstat(area.base / "HEAD") is None
        if self._users_at_work and not whole:
            return self._change_beside_the_user(area, now, own)
        branches = checked_out_elsewhere(area.base, own.base) | set(area.elsewhere)
        elsewhere = {f"refs/heads/{branch}" for branch in branches}
        if stashed_elsewhere(area.base, branches):
            elsewhere.add("refs/stash")
        spared = {f"{top}{ref}".encode() for ref in elsewhere for top in ("", "logs/")}
        spared |= {folder for path in spared for folder in parents(path) if folder not in area.listing}

        def cut(path: bytes) -> bool:
            entry = area.listing.get(path)
            if entry is None or entry.kind != "f":
                return False
            if not path.startswith(b"logs/"):
                return path not in now and path.startswith(b"refs/")
            return not read(area.base, path).startswith(self._copies.read(entry.content))

        paths = [
            path
            for path in differing(area.base, area.listing, now, self._copies)
            if path not in area.stores and (((whole or is_shared(path)) and path not in spared) or cut(path))
        ]
        current = read(area.base, b"config") if b"config" in paths else b""
        if current and current != self._held(area, b"config") and self._first.had(current):
            paths.remove(b"config")  # another loop's guard has just put it back
        return Change(area, paths, elsewhere, gone=not now)

    def _change_beside_the_user(self, area: Area, now: Listing, own: Area) -> Change:
        changed = differing(area.base, area.listing, now, self._copies)
        before: dict[str, str] = {}
        found: dict[str, str] = {}
        wanted: dict[str, str | None] = {}
        if any(path == b"packed-refs" or path.startswith(b"refs/") for path in changed):
            before, found = recorded_refs(area, self._copies), refs.all_refs(area.base)
            made = made_commits(self._held(own, b"logs/HEAD"), read(own.base, b"logs/HEAD"), before.values())
            branch = self._held(own, b"HEAD").decode("utf-8", "replace").strip().removeprefix("ref: ")
            wanted = refs_to_undo(area.base, before, found, branch, made, self._first.refs())
        logs = {f"logs/{ref}".encode() for ref, value in wanted.items() if value is not None}
        paths = [path for path in changed if path != b"config" and (is_guarded(path) or path in logs)]
        config = None
        if b"config" in changed and b"config" in area.listing:
            current = read(area.base, b"config")
            config = settings(self._held(area, b"config"), current)
            if config == current or self._first.had(current) or area.listing[b"config"].kind != "f":
                config = None
        return Change(area, paths, (before.keys() | found.keys()) - wanted.keys(), False, wanted, config)

    def _held(self, area: Area, path: bytes) -> bytes:
        entry = area.listing.get(path)
        return self._copies.read(entry.content) if entry is not None and entry.kind == "f" else b""

    def _undo(self, changes: list[Change], pending: AgentCommits, name: str, done: Repaired) -> None:
        """Note the child's commits, put every path back, and make sure that refs which stay are there."""
        common = changes[-1].area.base
        spared = changes[-1].elsewhere
        before, now = recorded_refs(changes[-1].area, self._copies), refs.all_refs(common)
        mine = changes[-1].refs
        if mine is not None:  # the user may have made others since
            before, now = ({ref: value for ref, value in found.items() if ref in mine} for found in (before, now))
        head = read(changes[0].area.base, b"HEAD").decode("utf-8", "replace").strip()
        pending.note(name, worth_keeping(before, now, spared, head, from_reflogs(self._reflogs(changes))))
        stay = {ref: value for ref, value in now.items() if ref.startswith("refs/beatctl/") or ref in spared}
        for change in reversed(changes):  # a worktree's own log last: it tells what the child did to what is shared
            if change.refs is not None:
                self._keep_replaced(change)
            if change.config is not None:
                mode = change.area.listing[b"config"].mode
                write_whole(change.area.base / "config", change.config, mode)
                done.what.append("config")
            put_back(change.area.base, change.area.listing, change.paths, self._copies)
            if change.refs is not None:
                write_refs(change.area.base, change.refs)
        if any(change.gone for change in changes):
            done.what.append(".git")
        else:
            undone = {ref: value for ref, value in now.items() if ref not in spared}
            had = {ref: value for ref, value in before.items() if ref not in spared}
            done.what += _words([path for change in changes for path in change.paths], had, undone)
        if changes[-1].refs is not None:
            return
        again = refs.all_refs(common)
        for ref, value in stay.items():
            if again.get(ref) != value and refs.is_object_name(value):
                refs.write(common, ref, value)

    def _keep_replaced(self, change: Change) -> None:
        """Keep what is about to be put back, the last time it happened: it may have been the user's after all."""
        for path in [*change.paths, *([b"config"] if change.config is not None else [])]:
            content = read_regular(os.path.join(os.fsencode(change.area.base), path))
            if content is not None:
                copy = self.place / "replaced" / os.fsdecode(path)
                copy.parent.mkdir(parents=True, exist_ok=True)
                write_whole(copy, content)

    def _reflogs(self, changes: list[Change]) -> Iterator[tuple[bytes, bytes]]:
        """The logs of HEAD and stash that differ, as they were and as they are."""
        for change in changes:
            for path in change.paths:
                if path.startswith(b"logs/") and path.rpartition(b"/")[2] in (b"HEAD", b"stash"):
                    entry = change.area.listing.get(path)
                    before = self._copies.read(entry.content) if entry and entry.kind == "f" else b""
                    yield before, read(change.area.base, path)

    # A nested repository that a snapshot does not have

    def put_away(self) -> None:
        """Remove the `.git`, which the copies hold whole."""
        if lstat(self.dotgit) is None:
            return
        self.take_in()
        if self._links is None:
            dotgit.set_aside(self.dotgit, self.place)
        else:
            remove_tree(os.fsencode(self.dotgit))

    @staticmethod
    def remove(folder: Path) -> None:
        """Free a folder of copies."""
        remove_tree(os.fsencode(folder))


def _bases(now: Dotgit, repository: Repository | None, path: Path) -> list[tuple[Path, bool]]:
    if repository is None:
        return [(path, False)] if now["kind"] == "folder" else []
    if repository.linked:
        return [(repository.git_dir, False), (repository.common_dir, True)]
    return [(repository.git_dir, False)]


def _words(changed: list[bytes], before: dict[str, str], now: dict[str, str]) -> list[str]:
    """What was put back, for people: branches, tags and the stash by name, else the first part of the path."""
    words: dict[str, None] = {}
    for ref in sorted(before.keys() | now.keys()):
        if before.get(ref) != now.get(ref) and not ref.startswith("refs/beatctl/"):
            _, kind, name = ref.split("/", 2) if ref.count("/") > 1 else ("", ref.removeprefix("refs/"), "")
            words[{"heads": f"branch {name}", "tags": f"tag {name}", "stash": "stash"}.get(kind, ref)] = None
    for path in changed:
        top = path.decode("utf-8", "backslashreplace").split("/")[0]
        if top not in _UNTOLD:
            words[top] = None
    return list(words)
