"""The keys that encrypt what beatctl sends to a shared Temporal server: from a variable or a file, never remembered.

What is remembered of a connection is the id of its key, which tells nothing of the key: a command without it is refused
before it could send a goal in the clear. Standard library only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

VARIABLE = "BEATCTL_PAYLOAD_KEY"
FILE_VARIABLE = "BEATCTL_PAYLOAD_KEY_FILE"
BYTES = 32
MAKE_ONE = "(umask 077; head -c 32 /dev/urandom | base64 > beatctl.key)"
"""For the shell."""


class BadPayloadKey(Exception):
    """Payloads can't be encrypted or read; the text says why and what to do."""


@dataclass(frozen=True)
class Key:
    id: str
    """Stands beside what it encrypted."""
    secret: bytes = field(repr=False)


def keys(environ: Mapping[str, str]) -> list[Key]:
    """The keys of this environment, the one that encrypts first; empty where none is given. Raises BadPayloadKey."""
    given, file = environ.get(VARIABLE), environ.get(FILE_VARIABLE)
    if given:
        return _read(given.split(), VARIABLE)
    if not file:
        return []
    try:
        text = Path(file).read_text(encoding="ascii")
    except OSError as problem:
        raise BadPayloadKey(f"{FILE_VARIABLE} names {file}, which can't be read ({problem.strerror}).") from None
    except UnicodeDecodeError:
        raise BadPayloadKey(f"{file} ({FILE_VARIABLE}) is no text. Make a key: {MAKE_ONE}") from None
    lines = (line.strip() for line in text.splitlines())
    found = _read([line for line in lines if line and not line.startswith("#")], file)
    if not found:
        raise BadPayloadKey(f"{file} ({FILE_VARIABLE}) has no key in it. Make one: {MAKE_ONE}")
    return found


def _read(words: Sequence[str], place: str) -> list[Key]:
    return [_key(word, f"{place}, key {number}" if len(words) > 1 else place) for number, word in enumerate(words, 1)]


def _key(word: str, place: str) -> Key:
    """The key itself is in no message."""
    try:
        secret = base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        raise BadPayloadKey(f"{place}: a payload key is {BYTES} bytes in base64. Make one: {MAKE_ONE}") from None
    if len(secret) != BYTES:
        raise BadPayloadKey(
            f"{place}: a payload key is {BYTES} bytes in base64, this is {len(secret)}. Make one: {MAKE_ONE}"
        )
    return Key(hashlib.sha256(b"beatctl payload key\0" + secret).hexdigest()[:12], secret)


def check_against(found: Sequence[Key], remembered: str | None, where: str, note: Path) -> None:
    """Whether these keys fit the connection, whose last key is known by its id. Raises BadPayloadKey."""
    if remembered is None or any(key.id == remembered for key in found):
        return
    if not found:
        raise BadPayloadKey(
            f"Loops on {where} are encrypted with key {remembered}, and no key is given: set {FILE_VARIABLE} or "
            f"{VARIABLE}. To send them in the clear from now on, remove {note}"
        )
    raise BadPayloadKey(
        f"Loops on {where} are encrypted with key {remembered}; the key given is {found[0].id}. Give that one. A new "
        f"key goes before it, in the file that {FILE_VARIABLE} names: the first encrypts, all decrypt."
    )


def whole_paths(environ: Mapping[str, str]) -> dict[str, str]:
    """The variable that names a file, as somebody in another folder needs it."""
    file = environ.get(FILE_VARIABLE)
    return {FILE_VARIABLE: os.path.abspath(file)} if file else {}
