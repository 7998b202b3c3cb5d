"""The repository guard: what a child does to a `.git` is undone, what it committed is kept.

Before children run, everything in the git directory is listed and copied (objects by a second name). After one ran,
what differs is put back. While none runs, what differs is the user's own doing and becomes the new truth.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import refs
from .admin_files import (
    Copies,
    Listing,
    adopt,
    differing,
    listing_from_json,
    listing_to_json,
    put_back,
    refreshed,
    same_signatures,
    scan,
    stores,
)
from .agent_commits import AgentCommits, from_reflogs, worth_keeping
from .files import lstat, read_json, remove_tree, to_bytes, to_text, write_json
from .object_mirror import COPY_LIMIT, ObjectMirror, can_link, size_of
from .places import Repository, find_repository
from .problems import WorkspaceProblem


@dataclass
class Repaired:
    """What a roll-back put back, in words, and the refs that hold what was committed."""

    what: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


@dataclass
class Area:
    """One git directory that is guarded: a work tree's own, or the one it shares with others."""

    base: Path
    listing: Listing
    stores: list[bytes]
    shared: bool
    """Whether other work trees use it too: then only what they share is put back."""
    inode: int

    def to_json(self) -> dict[str, Any]:
        return {
            "base": os.fspath(self.base),
            "listing": listing_to_json(self.listing),
            "stores": [to_text(path) for path in self.stores],
            "shared": self.shared,
            "inode": self.inode,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Area:
        listing = listing_from_json(data["listing"])
        return cls(Path(data["base"]), listing, list(map(to_bytes, data["stores"])), data["shared"], data["inode"])


_SHARED = (b"config", b"hooks", b"info", b"packed-refs", b"refs", b"logs/refs", b"shallow", b"description", b"modules")


class Guard:
    """The guard of one `.git`: that of the root, or of a nested repository."""

    def __init__(self, folder: Path, place: Path, links: Path | None, *, covered: Path | None = None) -> None:
        """`folder` holds the `.git`; `place` is where the guard keeps its copies; `links` is where second names of
        objects can be kept, None when nowhere; `covered` is a git directory that another guard looks after."""
        self.folder = folder
        self.dotgit = folder / ".git"
        self.place = place
        self._covered = covered
        self._links = links
        self._copies = Copies(place / "copies")
        self._record = place / "guard.json"

    @property
    def taken(self) -> bool:
        return self._record.exists()

    # What is known

    def _read(self) -> tuple[dict[str, Any], list[Area]]:
        data = read_json(self._record)
        if data is None:
            raise WorkspaceProblem(f"The copy that protects {self.dotgit} is gone: {self._record}.")
        return data, [Area.from_json(area) for area in data["areas"]]

    def _write(self, dotgit: dict[str, Any], areas: list[Area], before: list[Area]) -> None:
        data = {"dotgit": dotgit, "areas": [area.to_json() for area in areas]}
        write_json(self._record, data)
        contents = {entry.content for area in areas for entry in area.listing.values() if entry.kind == "f"}
        old = {entry.content for area in before for entry in area.listing.values() if entry.kind == "f"}
        if old - contents:
            self._copies.drop_others(contents)

    def _dotgit(self) -> dict[str, Any]:
        """What stands at `.git`: nothing, a folder, a file that names one, a link."""
        at = lstat(self.dotgit)
        if at is None:
            return {"kind": "none"}
        if stat.S_ISLNK(at.st_mode):
            return {"kind": "l", "content": os.readlink(self.dotgit)}
        if stat.S_ISDIR(at.st_mode):
            return {"kind": "d", "mode": stat.S_IMODE(at.st_mode)}
        if stat.S_ISREG(at.st_mode):
            content = self.dotgit.read_bytes().decode("latin-1")
            return {"kind": "f", "mode": stat.S_IMODE(at.st_mode), "content": content}
        return {"kind": "other"}

    # Taking the user's state

    def take_in(self) -> bool:
        """Make what is there now the truth. Returns whether anything differs from what was known."""
        self.place.mkdir(parents=True, exist_ok=True, mode=0o700)
        old: list[Area] = []
        dotgit_before: dict[str, Any] | None = None
        if self.taken:
            data, old = self._read()
            dotgit_before = data["dotgit"]
        dotgit = self._dotgit()
        repository = find_repository(self.folder) if old == [] or dotgit != dotgit_before else None
        bases: list[tuple[Path, bool]] = [(area.base, area.shared) for area in old]
        if old == [] or dotgit != dotgit_before:
            bases = [
                (base, shared)
                for base, shared in _bases(dotgit, repository, self.dotgit)
                if self._covered is None or not base.is_relative_to(self._covered.resolve())
            ]
        different = dotgit != dotgit_before
        areas = []
        for base, shared in bases:
            before = next((area for area in old if area.base == base), None)
            held = before.listing if before else {}
            now = scan(base)
            changed = differing(base, held, now, self._copies)
            if before is not None and not changed and same_signatures(held, now):
                areas.append(before)
                continue
            listing, at = adopt(base, held, now, changed, self._copies), lstat(base)
            areas.append(Area(base, listing, stores(listing, base), shared, at.st_ino if at else 0))
            different |= bool(changed)
        if areas != old or dotgit != dotgit_before:
            self._write(dotgit, areas, old)
        self.sync_objects(areas, children_ran=False)
        return different

    def sync_objects(self, areas: list[Area] | None = None, *, children_ran: bool) -> bool:
        """Give new objects their second name; put back those a child removed."""
        mended = False
        for mirror in self._mirrors(self._read()[1] if areas is None else areas):
            mended |= mirror.sync(children_ran=children_ran)
        return mended

    def add_object(self, store: Path, name: str) -> None:
        """Give one object that was just written to `store` its second name."""
        areas = self._read()[1]
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
        data, areas = self._read()
        pending = AgentCommits(self.place / "pending.json")
        self._put_back_dotgit(data["dotgit"], areas, done)
        if not areas:
            return done
        if self._links is None and any(not (area.base / "objects").is_dir() for area in areas if area.stores):
            raise WorkspaceProblem(
                f"The objects of {self.dotgit} are gone, and could not be copied before. Clone the repository again, "
                "put its .git there, then beatctl resume: your files, HEAD, index and refs are kept."
            )
        if self.sync_objects(areas, children_ran=True):
            done.what.append("objects")
        changes = []
        for area in areas:
            now = scan(area.base)
            changed = differing(area.base, area.listing, now, self._copies)
            changes.append((area, now, self._ours(area, now, changed)))
        if any(changed for _, _, changed in changes):
            self._undo(changes, pending, name, done)
            for area in areas:
                area.listing = refreshed(area.base, area.listing, self._copies)
            self._write(data["dotgit"], areas, areas)
        done.kept += pending.keep(areas[-1].base, areas[0].base, hold)
        if done.kept:
            self.sync_objects(areas, children_ran=True)
        return done

    def _ours(self, area: Area, now: Listing, changed: list[bytes]) -> list[bytes]:
        """The changed paths that are to be put back: not what other work trees of the repository have moved.

        A branch that another work tree has checked out moves with that; it is not deleted there, nor its log cut.
        """
        whole = not area.shared or lstat(area.base / "HEAD") is None
        elsewhere = _checked_out_elsewhere(area)
        spared = {f"{top}refs/heads/{branch}".encode() for branch in elsewhere for top in ("", "logs/")}
        if _stashed_elsewhere(area, elsewhere):
            spared |= {b"refs/stash", b"logs/refs/stash"}

        def cut(path: bytes) -> bool:
            entry = area.listing.get(path)
            if entry is None or entry.kind != "f":
                return False
            if not path.startswith(b"logs/"):
                return path not in now and path.startswith(b"refs/")
            return not _read(area.base, path).startswith(self._copies.read(entry.content))

        return [
            path
            for path in changed
            if path not in area.stores and (((whole or _below(path, _SHARED)) and path not in spared) or cut(path))
        ]

    def _undo(
        self, changes: list[tuple[Area, Listing, list[bytes]]], pending: AgentCommits, name: str, done: Repaired
    ) -> None:
        common = changes[-1][0]
        refs_now = refs.all_refs(common.base)
        refs_before = _recorded_refs(common, self._copies)
        elsewhere = {f"refs/heads/{branch}" for branch in _checked_out_elsewhere(common)}
        if _stashed_elsewhere(common, {ref.removeprefix("refs/heads/") for ref in elsewhere}):
            elsewhere.add("refs/stash")
        reflogs = []
        for area, _, changed in changes:
            for path in changed:
                if path.rpartition(b"/")[2] in (b"HEAD", b"stash") and path.startswith(b"logs/"):
                    entry = area.listing.get(path)
                    before = self._copies.read(entry.content) if entry and entry.kind == "f" else b""
                    reflogs.append((before, _read(area.base, path)))
        head = _read(changes[0][0].base, b"HEAD").decode("utf-8", "replace").strip()
        wanted = worth_keeping(refs_before, refs_now, elsewhere, head, from_reflogs(reflogs))
        pending.note(name, wanted)
        for area, now, changed in changes:
            gone = not now
            put_back(area.base, area.listing, changed, self._copies)
            done.what += [".git"] if gone else _words(changed)
        stay = {ref: value for ref, value in refs_now.items() if ref.startswith("refs/beatctl/") or ref in elsewhere}
        again = refs.all_refs(common.base)
        for ref, value in stay.items():
            if again.get(ref) != value and refs.is_object_name(value):
                refs.write(common.base, ref, value)

    def _put_back_dotgit(self, was: dict[str, Any], areas: list[Area], done: Repaired) -> None:
        """`.git` itself: a folder moved away comes back by its inode, anything else is made anew."""
        now = self._dotgit()
        inode = areas[0].inode if areas else 0
        if was["kind"] == now["kind"] == "d" and os.lstat(self.dotgit).st_ino != inode:
            moved = _moved_to(self.folder, inode)  # and another repository made in its place
            if moved is not None:
                _set_aside(self.dotgit, self.place)
                os.rename(moved, self.dotgit)
                done.what.append(".git")
                now = self._dotgit()
        if now == was:
            return
        if was["kind"] in ("none", "other"):
            if was["kind"] == "none":
                _set_aside(self.dotgit, self.place)
                done.what.append(".git")
            return
        if now["kind"] not in ("none",) and (now["kind"] != was["kind"] or was["kind"] != "d"):
            remove_tree(os.fsencode(self.dotgit))
        if was["kind"] == "d":
            if now["kind"] != "d":
                moved = _moved_to(self.folder, inode)
                if moved is not None:
                    os.rename(moved, self.dotgit)
                else:
                    self.dotgit.mkdir()
            os.chmod(self.dotgit, was["mode"])
        elif was["kind"] == "l":
            os.symlink(was["content"], self.dotgit)
        else:
            self.dotgit.write_bytes(was["content"].encode("latin-1"))
            os.chmod(self.dotgit, was["mode"])
        done.what.append(".git")

    # A nested repository that a snapshot does not have

    def put_away(self) -> None:
        """Remove the `.git`, which the copies hold whole."""
        if lstat(self.dotgit) is None:
            return
        self.take_in()
        if self._links is None:
            _set_aside(self.dotgit, self.place)
        else:
            remove_tree(os.fsencode(self.dotgit))

    @staticmethod
    def remove(folder: Path) -> None:
        """Free a folder of copies."""
        remove_tree(os.fsencode(folder))


def links_for(place: Path, root: Path, repository: Repository | None, loop: str) -> tuple[Path | None, str | None]:
    """Where second names of a repository's objects can be kept, and a warning when that is nowhere."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    inside = place / "objects"
    if repository is None or can_link(repository.objects, place):
        return inside, None
    beside = root.parent / f".beatctl-{loop}-objects"
    try:
        beside.mkdir(mode=0o700, exist_ok=True)
        if can_link(repository.objects, beside):
            return beside, None
        beside.rmdir()
    except OSError:
        pass
    if size_of(repository.objects) <= COPY_LIMIT:
        return inside, None
    return None, (
        f"The objects of {root} cannot be linked to {place} nor beside the repository, and are too many to copy: "
        "if an agent deletes .git, the loop pauses and .git cannot be put back."
    )


def _bases(dotgit: dict[str, Any], repository: Repository | None, path: Path) -> list[tuple[Path, bool]]:
    if repository is None:
        return [(path, False)] if dotgit["kind"] == "d" else []
    if repository.linked:
        return [(repository.git_dir, False), (repository.common_dir, True)]
    return [(repository.git_dir, False)]


def _below(path: bytes, tops: tuple[bytes, ...]) -> bool:
    return any(path == top or path.startswith(top + b"/") for top in tops)


def _read(base: Path, path: bytes) -> bytes:
    try:
        with open(os.path.join(os.fsencode(base), path), "rb") as file:
            return file.read()
    except OSError:
        return b""


def _checked_out_elsewhere(area: Area) -> set[str]:
    """Branches that other work trees of this repository have checked out: they move without our children."""
    heads = list((area.base / "worktrees").glob("*/HEAD")) if (area.base / "worktrees").is_dir() else []
    own = area.base / "HEAD" if not area.shared else None
    if area.shared:
        heads.append(area.base / "HEAD")
    branches = {_branch(path) for path in heads}
    if own is not None:
        branches.discard(_branch(own))
    return {branch for branch in branches if branch}


def _branch(head: Path) -> str:
    try:
        text = head.read_text("utf-8", "surrogateescape").strip()
    except OSError:
        return ""
    return text.removeprefix("ref: refs/heads/") if text.startswith("ref: refs/heads/") else ""


def _stashed_elsewhere(area: Area, branches: set[str]) -> bool:
    """Whether the newest stash was made on a branch that another work tree has checked out."""
    lines = _read(area.base, b"logs/refs/stash").splitlines()
    if not lines or not branches:
        return False
    said = lines[-1].partition(b"\t")[2].decode("utf-8", "surrogateescape").lower()
    return any(f"on {branch.lower()}:" in said for branch in branches)


def _recorded_refs(area: Area, copies: Copies) -> dict[str, str]:
    found: dict[str, str] = {}
    entry = area.listing.get(b"packed-refs")
    if entry is not None and entry.kind == "f":
        found = refs.parse_packed(copies.read(entry.content))
    for path, entry in area.listing.items():
        if path.startswith(b"refs/") and entry.kind == "f":
            found[os.fsdecode(path)] = copies.read(entry.content).decode("utf-8", "replace").strip()
    return found


def _words(changed: list[bytes]) -> list[str]:
    """What was put back, for people: names of branches and tags, else the first part of the path."""
    words: dict[str, None] = {}
    for path in changed:
        text = path.decode("utf-8", "backslashreplace")
        if text.startswith("refs/heads/"):
            words[f"branch {text.removeprefix('refs/heads/')}"] = None
        elif text.startswith("refs/tags/"):
            words[f"tag {text.removeprefix('refs/tags/')}"] = None
        elif text == "refs/stash":
            words["stash"] = None
        elif not text.startswith("logs") and text not in ("refs", "refs/heads", "refs/tags", "COMMIT_EDITMSG"):
            words[text.split("/")[0]] = None
    return list(words)


def _moved_to(folder: Path, inode: int) -> str | None:
    """Where in `folder` a directory with this inode is now."""
    for entry in os.scandir(folder):
        if (
            entry.is_dir(follow_symlinks=False)
            and entry.inode() == inode
            and entry.stat().st_dev == folder.stat().st_dev
        ):
            return entry.path
    return None


def _set_aside(path: Path, place: Path) -> None:
    """Keep what stands there (the last time it happened) and take it out of the way."""
    if lstat(path) is None:
        return
    target = place / "aside"
    remove_tree(os.fsencode(target))
    shutil.move(path, target)
