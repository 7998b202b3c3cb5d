"""Writing a report where it was asked for: whole or not at all, and over nothing but an older report."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from beatctl.cli.loops import Loops
from beatctl.cli.output import out_bytes, say
from beatctl.cli.problems import Unavailable, Usage
from beatctl.cli.units import size


def check(loops: Loops, file: str, *, starts_with: str) -> Path | None:
    """The file to write; None for stdout. Raises Usage for what must not be written over, or not now."""
    if file == "-":
        return None
    path = Path(file).expanduser()
    if path.is_file() or not path.exists():  # else a pipe or a device, whose name leads nowhere when it is resolved
        path = Path(os.path.realpath(path))
    if path.is_dir():
        raise Usage(f"{path.absolute()} is a folder. Name a file in it: {path / 'report.html'}")
    if not path.parent.is_dir():
        raise Usage(f"There is no folder {path.parent}. Make it first, or name another.")
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as there:
            if there.read(len(starts_with)) != starts_with.encode():
                raise Usage(f"{path} is there already, and is no report of this kind: nothing was written over it.")
    for loop in loops.all():
        root = Path(os.path.realpath(loop.worktree or loop.directory))
        if loop.state != "finished" and root in path.parents:
            raise Usage(
                f"Loop {loop.id} is using {root}: a new file there would be taken for an edit of yours. "
                f"Write it elsewhere, for example {Path(tempfile.gettempdir()) / path.name}"
            )
    return path


def write(loops: Loops, file: str, text: str, *, starts_with: str) -> None:
    """Write a report and say where it is. Raises Usage as `check` does, Unavailable where it can't be written."""
    data = text.encode("utf-8", "replace")
    path = check(loops, file, starts_with=starts_with)
    if path is None:
        out_bytes(data)
        return
    try:
        _put(path, data)
    except OSError as error:
        raise Unavailable(f"{path} could not be written: {(error.strerror or str(error)).lower()}.") from error
    say(f"{path} ({size(len(data))})")


def _put(path: Path, data: bytes) -> None:
    try:
        special = not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        special = False
    if special:  # a pipe, a device: nothing to put in its place
        path.write_bytes(data)
        return
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
