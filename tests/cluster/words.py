"""Words that must not be in a database's dump: looked for as they are, in bytes, and in base64."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

_BYTES = re.compile(r"\\\\?x((?:[0-9a-f]{2})+)")


def found_in(dump: str, words: Iterable[str]) -> list[str]:
    """Those of the words that the dump holds, in whatever way it writes bytes."""
    whole = dump.encode() + b"\n" + b"\n".join(bytes.fromhex(match[1]) for match in _BYTES.finditer(dump))
    return [word for word in words if any(form in whole for form in _forms(word.encode()))]


def _forms(word: bytes) -> list[bytes]:
    """The word, and what is certain of it in base64, wherever in three bytes it begins."""
    encoded = []
    for before in range(3):
        text = base64.b64encode(b"\0" * before + word).rstrip(b"=")
        # The letters at both ends also carry bits of what stands beside the word.
        encoded.append(text[(0, 2, 3)[before] : len(text) - (1 if (before + len(word)) % 3 else 0)])
    return [word, *encoded]
