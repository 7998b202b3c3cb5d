"""Secrets of a loop's environment, kept out of what beatctl stores and prints. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import AnyStr

MASK = "***"
_SHORTEST = 8
_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL|_HEADERS$|^BEATCTL_NOTIFY$", re.IGNORECASE)
# A number of tokens; what a key names, or where it lies; a setting of git's by its name.
_NONE = re.compile(r"TOKENS$|^KEYBOARD|_KEY_(?:FILE|PATH|ID|NAME)$|^GIT_CONFIG_KEY_\d+$|^TOKENIZERS?_", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name looks like a secret."""
    return bool(_NAME.search(name)) and not _NONE.search(name)


def secrets_of(environ: Mapping[str, str]) -> list[str]:
    """The values not to be shown, the longest first, each also as JSON writes it.

    A path (GOOGLE_APPLICATION_CREDENTIALS) is no secret, what lies there is; of a value with several lines each counts.
    """
    found: set[str] = set()
    for name, value in environ.items():
        if not is_secret_name(name) or value.startswith(("/", "~/", "./")):
            continue
        for text in (value, *value.splitlines()):
            if len(text.strip()) >= _SHORTEST:
                found |= {text.strip(), json.dumps(text.strip())[1:-1]}
    return sorted(found, key=lambda text: (-len(text), text))


def masked(text: str, secrets: Sequence[str]) -> str:
    """`text` with `***` for each secret, also for the beginning of one that it was cut off in."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    whole = text.rstrip("…")
    held = cut_off(whole, secrets, least=_SHORTEST)
    return whole[:-held] + MASK + text[len(whole) :] if held else text


def masked_bytes(content: bytes, secrets: Sequence[bytes]) -> bytes:
    for secret in secrets:
        content = content.replace(secret, MASK.encode())
    return content


def cut_off(text: AnyStr, secrets: Sequence[AnyStr], *, least: int = 1) -> int:
    """How much of the end of `text` is the beginning of a secret; 0 for less than `least`."""
    longest = 0
    for secret in secrets:
        for size in range(min(len(secret) - 1, len(text)), max(least - 1, longest), -1):
            if text.endswith(secret[:size]):
                longest = size
                break
    return longest
