"""Files of old runs that lie compressed beside where they were: `agent.1.stdout.gz`. Whoever reads finds either.

The compressed file is whole before the other one goes; where both are there, a packing was cut short, and the other one
counts. Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from pathlib import Path
from typing import BinaryIO, cast

LEAST = 4096
"""Bytes; a smaller file takes a block of the disk either way."""
_CHUNK = 256 << 10
_DRAFT = re.compile(r"\.packing-([0-9]+)-")


def place_of(path: Path) -> Path:
    """The file that holds it: itself, or its compressed form where only that is there."""
    packed = _packed(path)
    return packed if not path.exists() and packed.exists() else path


def opened(path: Path) -> BinaryIO:
    """The file's content, to read forwards. Raises OSError where there is neither form."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        return _unpacking(path)


def _unpacking(path: Path) -> BinaryIO:
    import gzip  # here: most commands never need it

    try:
        return cast(BinaryIO, gzip.open(_packed(path), "rb"))
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None


def tail(path: Path, most: int) -> bytes:
    """The file's last bytes; empty where it can't be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most))
            return file.read(most)
    except FileNotFoundError:
        with contextlib.suppress(OSError, EOFError), _unpacking(path) as file:
            return _end_of_stream(file, most)
    except OSError:
        pass
    return b""


def _end_of_stream(file: BinaryIO, most: int) -> bytes:
    """The last bytes of what can only be read forwards."""
    end = b""
    while chunk := file.read(_CHUNK):
        end = (end + chunk)[-most:]
    return end


def pack(path: Path) -> None:
    """Compress a file that nobody writes any more, where that pays. May be killed and repeated at any moment.

    Raises OSError.
    """
    import gzip

    try:
        with path.open("rb") as source:
            at = os.fstat(source.fileno())
            if at.st_size < LEAST:
                return
            draft = path.with_name(f".packing-{os.getpid()}-{path.name}")
            try:
                with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                    with gzip.GzipFile("", "wb", 6, file, at.st_mtime) as target:
                        shutil.copyfileobj(source, target, _CHUNK)
                    file.flush()
                    os.fsync(file.fileno())
                os.utime(draft, ns=(at.st_atime_ns, at.st_mtime_ns))
                os.rename(draft, _packed(path))
            except BaseException:
                with contextlib.suppress(OSError):
                    draft.unlink()
                raise
        path.unlink()
    except FileNotFoundError:
        return  # another worker, or gc, was quicker


def is_left_behind(name: str) -> bool:
    """Whether a name is that of a draft whose packing was killed."""
    found = _DRAFT.match(name)
    if found is None:
        return False
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # somebody else's
    return False


def _packed(path: Path) -> Path:
    return path.with_name(f"{path.name}.gz")
