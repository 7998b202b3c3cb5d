"""Schemas as short as they can be: a client may put every tool's into each of its prompts. Pure."""

from __future__ import annotations

from typing import Any


def tidy(schema: dict[str, Any], *, optional: bool = False) -> dict[str, Any]:
    """A JSON schema as pydantic makes it, without its own titles; with `optional`, what may be left out is just that,
    not also null."""
    tidied: dict[str, Any] = _tidy(schema, optional)
    return tidied


def _tidy(value: Any, optional: bool, *, names: bool = False) -> Any:
    """`names`: the keys of this object are names of properties, not words of JSON schema."""
    if isinstance(value, list):
        return [_tidy(each, optional) for each in value]
    if not isinstance(value, dict):
        return value
    found = {
        key: _tidy(each, optional, names=not names and key in ("properties", "$defs"))
        for key, each in value.items()
        if names or key != "title"
    }
    if names or not optional:
        return found
    kinds = [kind for kind in found.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1 and len(found["anyOf"]) == 2:
        del found["anyOf"]
        found = {**kinds[0], **found}
    if found.get("default", ...) is None:
        del found["default"]
    return found
