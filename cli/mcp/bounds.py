"""How much a result holds at most: an agent reads all of it. Pure."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel

Model = TypeVar("Model", bound=BaseModel)

GOAL = 2_000
"""Characters of a text in a status or a row."""
LINE = 300
"""Characters of a goal in a list."""
ITEMS = 30
"""Entries of a list inside a report."""


def cut(text: str, most: int, rest: str = "") -> str:
    """The text, or its beginning with a word on what is missing."""
    if len(text) <= most:
        return text
    return f"{text[:most]}… [{len(text) - most:,} more characters. {rest}".rstrip() + "]"


def bounded(model: Model, most: int = GOAL) -> Model:
    """A status or a row whose texts have `most` characters at most."""
    return type(model).model_validate(_texts(model.model_dump(), most))


def _texts(value: Any, most: int) -> Any:
    if isinstance(value, str):
        return cut(value, most)
    if isinstance(value, dict):
        return {key: _texts(each, most) for key, each in value.items()}
    return [_texts(each, most) for each in value] if isinstance(value, list) else value


def few(found: dict[str, Any], *, most: int = ITEMS, text: int = GOAL) -> tuple[dict[str, Any], dict[str, int]]:
    """A JSON object whose lists hold `most` entries, the newest, and whose texts are short; and how many entries each
    list that was cut really has."""
    cut_lists = {key: len(value) for key, value in found.items() if isinstance(value, list) and len(value) > most}
    return _texts({key: value[-most:] if key in cut_lists else value for key, value in found.items()}, text), cut_lists


def part(text: str, offset: int, most: int) -> tuple[str, int | None]:
    """`most` characters of the text from `offset` on, and where to go on, None at the end."""
    end = offset + most
    return text[offset:end], end if end < len(text) else None
