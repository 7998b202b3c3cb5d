"""Text from outside, as JSON, protobuf and SQLite can carry it. Standard library only."""

from __future__ import annotations


def clean(text: str) -> str:
    """`text` with a question mark for each lone surrogate: half an emoji in an agent's JSON, a byte of a branch's name
    that is not UTF-8. No encoder takes those."""
    return text.encode("utf-8", "replace").decode()
