"""Which of two versions of beatctl is the older one. Pure; standard library only."""

from __future__ import annotations

import re

_FORM = re.compile(r"(\d+(?:\.\d+)*)(?:[._-]?(dev|a|b|rc)[._-]?(\d*))?")
_BEFORE_RELEASE = ("dev", "a", "b", "rc")


def is_older(version: str, than: str) -> bool:
    """False also where one of them can't be read: nothing is replaced on a guess."""
    first, second = _key(version), _key(than)
    return first is not None and second is not None and first < second


def _key(version: str) -> tuple[tuple[int, ...], int, int] | None:
    found = _FORM.match(version)
    if found is None:
        return None
    release = [int(part) for part in found[1].split(".")]
    while release and release[-1] == 0:
        release.pop()
    rank = _BEFORE_RELEASE.index(found[2]) if found[2] else len(_BEFORE_RELEASE)
    return tuple(release), rank, int(found[3] or 0)
