"""The files of a git directory other than objects: what they are, copies of them, and putting the copies back.

A `Listing` maps a path below the git directory to an `Entry`. Content is kept by its hash in one folder, so that a new
listing is in force, or is not, by the renaming of one file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import Signature, is_in_use, lstat, remove_tree, signature, temporary_name, to_bytes, to_text, write_whole

_UNSURE_NS = 2_000_000_000
_STORES = (b"objects", b"lfs", b"annex")
LARGE = 64 << 20


@dataclass(frozen=True)
class Entry:
    kind: str
    """f: file, l: link, d: folder."""
    mode: int
    signature: Signature
    content: str = ""
    """Where the content is kept, or where a link leads."""
    sure: bool = True
    """Whether an equal signature proves an equal content; not so for a file changed just before it was listed."""

    def to_json(self) -> list[Any]:
        return [self.kind, self.mode, self.signature, self.content, self.sure]


Listing = dict[bytes, Entry]


def listing_to_json(listing: Listing) -> dict[str, Any]:
    return {to_text(path): entry.to_json() for path, entry in listing.items()}


def listing_from_json(data: dict[str, Any]) -> Listing:
    return {to_bytes(path): Entry(*value) for path, value in data.items()}


def scan(base: Path) -> Listing:
    """Everything in a git directory but objects, beatctl's own refs, sockets, and other worktrees' folders."""
    found: Listing = {}
    _scan(os.fsencode(base), b"", found, time.time_ns())
    return found


def stores(listing: Listing, base: Path) -> list[bytes]:
    """Folders of objects in a git directory: its own, those of its submodules, and large-file stores."""
    heads = {path.rpartition(b"/")[0] for path in listing if path.rpartition(b"/")[2] == b"HEAD"}
    found = []
    for head in sorted(heads):
        for name in (b"objects", b"lfs/objects", b"annex/objects"):
            path = head + b"/" + name if head else name
            if os.path.isdir(os.path.join(os.fsencode(base), path)):
                found.append(path)
    return found


def _scan(base: bytes, folder: bytes, found: Listing, now: int) -> None:
    try:
        entries = list(os.scandir(os.path.join(base, folder) if folder else base))
    except (FileNotFoundError, NotADirectoryError):
        return
    except PermissionError:
        os.chmod(os.path.join(base, folder), 0o700)
        entries = list(os.scandir(os.path.join(base, folder)))
    names = {entry.name for entry in entries}
    for entry in entries:
        name = entry.name
        path = folder + b"/" + name if folder else name
        if name.startswith(b"fsmonitor--daemon") or is_in_use(name):
            continue
        try:
            at = entry.stat(follow_symlinks=False)
            mode = stat.S_IMODE(at.st_mode)
            if stat.S_ISDIR(at.st_mode):
                if name == b"beatctl" and folder in (b"refs", b"logs/refs"):
                    continue
                if name in _STORES and _is_git_dir(folder, names):
                    if name == b"objects":
                        _alternates(base, path, found, now)
                    continue
                if path == b"worktrees":
                    continue
                found[path] = Entry("d", mode, [])
                _scan(base, path, found, now)
            elif stat.S_ISLNK(at.st_mode):
                found[path] = Entry("l", mode, signature(at), to_text(os.readlink(os.path.join(base, path))))
            elif stat.S_ISREG(at.st_mode):
                found[path] = Entry("f", mode, signature(at), sure=now - at.st_ctime_ns > _UNSURE_NS)
        except FileNotFoundError:
            continue


def _is_git_dir(folder: bytes, names: set[bytes]) -> bool:
    """Whether a folder in a git directory is one itself (a submodule's), also when half of it was deleted."""
    return not folder or (folder.startswith(b"modules/") and not names.isdisjoint((b"HEAD", b"config", b"index")))


def _alternates(base: bytes, store: bytes, found: Listing, now: int) -> None:
    path = store + b"/info/alternates"
    at = lstat(os.path.join(base, path))
    if at is not None and stat.S_ISREG(at.st_mode):
        found[path] = Entry("f", stat.S_IMODE(at.st_mode), signature(at), sure=now - at.st_ctime_ns > _UNSURE_NS)


class Copies:
    """Contents kept by their hash."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, path: bytes) -> str:
        """Keep a file's content; a very large file is kept as a second name. Returns where it is."""
        if os.lstat(path).st_size > LARGE:
            name = f"large-{hashlib.sha256(path).hexdigest()[:16]}-{os.lstat(path).st_ino}-{os.lstat(path).st_mtime_ns}"
            self.folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.link(path, os.fsencode(self.folder / name))
            return name
        with open(path, "rb") as file:
            data = file.read()
        name = hashlib.sha256(data).hexdigest()
        if not (self.folder / name).exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / name, data)
        return name

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def same(self, path: bytes, name: str) -> bool:
        """Whether a file has the content kept under `name`."""
        with contextlib.suppress(FileNotFoundError):
            if name.startswith("large-"):
                return os.path.samestat(os.lstat(path), os.stat(self.folder / name))
            if os.lstat(path).st_size == os.stat(self.folder / name).st_size:
                with open(path, "rb") as file:
                    return file.read() == self.read(name)
        return False

    def drop_others(self, names: set[str]) -> None:
        """Forget what no listing needs any more."""
        if self.folder.is_dir():
            for entry in os.scandir(self.folder):
                if entry.name not in names:
                    os.unlink(entry.path)


def differing(base: Path, held: Listing, now: Listing, copies: Copies) -> list[bytes]:
    """Paths that are not as they were: added, gone, or other in kind, mode or content."""
    found = []
    for path in held.keys() | now.keys():
        old, new = held.get(path), now.get(path)
        if old is not None and path.endswith(b".lock"):
            continue  # the user's own, held or left behind when it was listed: neither put back nor removed
        if old is None or new is None or (old.kind, old.mode) != (new.kind, new.mode):
            found.append(path)
        elif old.kind == "l":
            if old.content != new.content:
                found.append(path)
        elif (
            old.kind == "f"
            and (old.signature != new.signature or not old.sure)
            and not copies.same(os.path.join(os.fsencode(base), path), old.content)
        ):
            found.append(path)
    return sorted(found)


def adopt(base: Path, held: Listing, now: Listing, changed: list[bytes], copies: Copies) -> Listing:
    """The listing that makes `now` the truth; contents of the paths that changed are kept."""
    fresh = set(changed)
    result: Listing = {}
    for path, entry in now.items():
        if entry.kind != "f":
            result[path] = entry
            continue
        try:
            known = path not in fresh and held[path].content
            content = known or copies.take(os.path.join(os.fsencode(base), path))
        except FileNotFoundError:
            continue
        result[path] = Entry("f", entry.mode, entry.signature, content, entry.sure)
    return result


def refreshed(base: Path, held: Listing, copies: Copies) -> Listing:
    """The same truth with the signatures that its files have now."""
    now = {path: entry for path, entry in scan(base).items() if path in held}
    return {**held, **adopt(base, held, now, differing(base, held, now, copies), copies)}


def same_signatures(held: Listing, now: Listing) -> bool:
    """Whether a listing is as good as a new one, if no content differs."""
    return held.keys() == now.keys() and all(
        held[path].signature == entry.signature and held[path].sure == entry.sure for path, entry in now.items()
    )


def put_back(base: Path, held: Listing, changed: list[bytes], copies: Copies) -> None:
    """Make these paths what they were: remove what was added, write what is gone or differs."""
    root = os.fsencode(base)
    for path in sorted(changed, reverse=True):
        if path not in held:
            remove_tree(os.path.join(root, path))
    os.makedirs(root, exist_ok=True)
    for path in sorted(changed):
        entry = held.get(path)
        if entry is None:
            continue
        final = os.path.join(root, path)
        at = lstat(final)
        if entry.kind == "d":
            if at is not None and not stat.S_ISDIR(at.st_mode):
                os.unlink(final)
                at = None
            if at is None:
                os.makedirs(final)
            os.chmod(final, entry.mode)
            continue
        os.makedirs(os.path.dirname(final), exist_ok=True)
        if at is not None and stat.S_ISDIR(at.st_mode):
            remove_tree(final)
        temporary = temporary_name(final)
        if entry.kind == "l":
            os.symlink(to_bytes(entry.content), temporary)
        else:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(copies.read(entry.content))
                os.fchmod(file.fileno(), entry.mode)
            # git tells by the index's own time which of its entries it cannot trust.
            os.utime(temporary, ns=(entry.signature[2], entry.signature[2]))
        os.rename(temporary, final)
