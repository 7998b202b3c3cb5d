"""Small file operations that never follow a link and never leave half a file.

Paths below a root are bytes with `/` between names, as git prints them: file names need not be valid UTF-8.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import re
import shutil
import stat
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_counter = itertools.count()
_TEMPORARY = re.compile(rb"\.beatctl-(\d+)-\d+-\d+")
Signature = list[int]
"""A file's inode, size, times of change and mode: differs when the file changed."""


def shown(path: bytes) -> str:
    """A path for people and for JSON: bytes that are not UTF-8 are escaped."""
    return path.decode("utf-8", "backslashreplace")


def to_text(path: bytes) -> str:
    """A path as text from which `to_bytes` gets every byte back."""
    return path.decode("utf-8", "surrogateescape")


def to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def signature(found: os.stat_result) -> Signature:
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, stat.S_IMODE(found.st_mode)]


def lstat(path: bytes | str | Path) -> os.stat_result | None:
    """What is there, or None; a path below something that is no folder is not there."""
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_regular(path: bytes | str | Path) -> bytes | None:
    """A regular file's content; None for anything else, also for a pipe, which would be waited for for ever."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(handle, "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(handle).st_mode) else None


def is_special(entry: os.DirEntry[bytes]) -> bool:
    """Whether an entry is a pipe, a socket or a device."""
    return not (entry.is_symlink() or entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False))


def parents(path: bytes) -> Iterator[bytes]:
    """The folders above a path, outermost first; the root (an empty path) left out."""
    at = path.find(b"/")
    while at != -1:
        yield path[:at]
        at = path.find(b"/", at + 1)


def write_whole(path: Path, data: bytes, mode: int = 0o600, *, lasting: bool = False) -> None:
    """Replace a file's content in one step: whoever reads it sees the old or the new, also after a crash."""
    temporary = f"{path}.{os.getpid()}-{next(_counter)}.tmp"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(handle, "wb", closefd=True) as file:
            file.write(data)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_json(path: Path, value: Any, *, lasting: bool = False) -> None:
    write_whole(path, json.dumps(value, separators=(",", ":")).encode(), lasting=lasting)


def read_json(path: Path) -> Any:
    """The file's value; None when it is not there."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def write_note(path: Path, value: Any, *, lasting: bool = False) -> None:
    """Write a value over what the file held, in place, with a checksum by which a torn note reads as none.

    Hundreds of small files made and removed a minute slow a file system down (ext4 searches past every inode freed in
    the last minutes); these are written many times a second.
    """
    data = json.dumps(value, separators=(",", ":")).encode()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(handle, b"%08x %d\n" % (zlib.crc32(data), len(data)) + data, 0)
        if lasting:
            os.fsync(handle)
    finally:
        os.close(handle)


def read_note(path: Path) -> Any:
    """The value last written whole; None when there is none."""
    try:
        head, _, rest = path.read_bytes().partition(b"\n")
        checksum, length = head.split()
        data = rest[: int(length)]
        return json.loads(data) if b"%08x" % zlib.crc32(data) == checksum else None
    except (FileNotFoundError, ValueError):
        return None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file for one operation; waits for whoever holds it. The system frees it when the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether somebody holds a lock file. Who looks at the same moment is not taken for that."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def temporary_name(path: bytes) -> bytes:
    """A name in the same folder for what will be renamed to `path`."""
    folder, _, _ = path.rpartition(b"/")
    name = b".beatctl-%d-%d-%d" % (os.getpid(), next(_counter), time.monotonic_ns())
    return folder + b"/" + name if folder else name


def is_in_use(name: bytes) -> bool:
    """Whether a name is one of `temporary_name` that a process which still runs may be about to rename."""
    found = _TEMPORARY.fullmatch(name)
    if found is None:
        return False
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # somebody else's
    return True


def is_left_behind(path: bytes) -> bool:
    """Whether a path is a temporary file of an operation that was killed."""
    name = path.rpartition(b"/")[2]
    return _TEMPORARY.fullmatch(name) is not None and not is_in_use(name)


def link_or_copy(source: bytes, target: bytes) -> None:
    """A second name for the same file, or a copy where the file system or its rules allow no link."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        pass
    except FileNotFoundError:
        raise
    except OSError:
        temporary = temporary_name(target)
        shutil.copy2(source, temporary, follow_symlinks=False)
        os.rename(temporary, target)


def remove_tree(path: bytes) -> None:
    """Remove a file, a link or a folder with all it holds, also where permissions are in the way."""

    def make_writable_and_try_again(function: Any, name: Any, _: Any) -> None:
        folder = os.path.dirname(name)
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700)
        found = lstat(name)
        if found is None:
            return
        if stat.S_ISDIR(found.st_mode):
            os.chmod(name, 0o700)
            if function is not os.rmdir:
                shutil.rmtree(name, onerror=make_writable_and_try_again)
                return
        function(name)

    found = lstat(path)
    if found is None:
        return
    if stat.S_ISDIR(found.st_mode):
        shutil.rmtree(path, onerror=make_writable_and_try_again)
    else:
        os.unlink(path)
