"""Refs read and written as files, as git's "files" backend keeps them. Reftable repositories are refused at start."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from .files import read_regular

_NAME = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def is_object_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def parse_packed(content: bytes) -> dict[str, str]:
    """The refs of a packed-refs file."""
    refs = {}
    for line in content.decode("utf-8", "surrogateescape").splitlines():
        name, _, ref = line.partition(" ")
        if ref and is_object_name(name):
            refs[ref] = name
    return refs


def packed(common: Path) -> dict[str, str]:
    return parse_packed(read_regular(common / "packed-refs") or b"")


def loose(common: Path, below: str = "refs") -> dict[str, str]:
    """Refs that have a file of their own, at or below a name; values are object names or `ref: …`."""
    refs: dict[str, str] = {}
    for folder, _, names in os.walk(common / below):
        for name in names:
            if name.endswith(".lock"):
                continue
            path = Path(folder, name)
            content = read_regular(path)
            if content is not None:
                refs[str(path.relative_to(common))] = _text(content)
    return refs


def all_refs(common: Path) -> dict[str, str]:
    return {**packed(common), **loose(common)}


def read(common: Path, ref: str) -> str | None:
    """The object a ref names, or None."""
    content = read_regular(common / ref)
    return packed(common).get(ref) if content is None else _text(content)


def write(common: Path, ref: str, name: str) -> None:
    """Make a ref name an object, in one step."""
    path = common / ref
    line = f"{name}\n".encode()
    with contextlib.suppress(OSError):
        if path.stat().st_size == len(line):  # one write of a few bytes is one step, and spares a file made and removed
            handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.pwrite(handle, line, 0)
            finally:
                os.close(handle)
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = f"{path}.lock"
    with open(temporary, "wb") as file:
        file.write(line)
    os.rename(temporary, path)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape").strip()
