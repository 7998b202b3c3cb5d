"""The entry of beatctl in a client's settings, JSON or TOML: everything else in the text stays as it is. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

NAME = "beatctl"


class Unreadable(Exception):
    """Why a text can't be added to, for a person."""


class Taken(Exception):
    """There is another entry of that name: it holds `found`."""

    def __init__(self, found: str) -> None:
        super().__init__(found)
        self.found = found


def in_json(text: str, entry: dict[str, Any], *, force: bool) -> str:
    """The text with `mcpServers.beatctl` in it; the same where it holds that already. Raises Unreadable, Taken."""
    if not text.strip():
        return json.dumps({"mcpServers": {NAME: entry}}, indent=2) + "\n"
    try:
        before = json.loads(text)
    except ValueError as wrong:
        raise Unreadable(f"it is not JSON: {wrong}") from None
    if not isinstance(before, dict) or not isinstance(before.get("mcpServers", {}), dict):
        raise Unreadable("it holds something else than an object with mcpServers in it")
    known = before.get("mcpServers", {}).get(NAME)
    if known == entry:
        return text
    if known is not None and not force:
        raise Taken(json.dumps(known))
    tab = found[1] if (found := re.search(r"^([ \t]+)\S", text, re.MULTILINE)) else "  "
    top = _read(text, text.index("{"))
    servers = top.members.get("mcpServers")
    if servers is None:
        after = _added(text, top, "mcpServers", {NAME: entry}, tab, 1)
    else:
        inside = _read(text, servers[0])
        there = inside.members.get(NAME)
        if there is None:
            after = _added(text, inside, NAME, entry, tab, 2)
        else:
            after = text[: there[0]] + _indented(entry, tab, 2) + text[there[1] :]
    expected = {**before, "mcpServers": {**before.get("mcpServers", {}), NAME: entry}}
    if json.loads(after) != expected:
        raise Unreadable("it names something twice")
    return after


@dataclass(frozen=True)
class _Object:
    """Where a JSON object's parts are in its text."""

    members: dict[str, tuple[int, int]]
    """Each value's begin and end."""
    end: int
    """Behind its last value, or behind its brace where it is empty."""


def _read(text: str, begin: int) -> _Object:
    """An object of a text that is JSON; `begin` is where its brace stands."""
    decoder = json.JSONDecoder()
    members: dict[str, tuple[int, int]] = {}
    end = place = begin + 1
    while (quote := _next(text, place)) < len(text) and text[quote] == '"':
        name, place = decoder.raw_decode(text, quote)
        start = _next(text, _next(text, place) + 1)
        _, end = decoder.raw_decode(text, start)
        members[name] = (start, end)
        place = _next(text, end) + 1  # behind the comma, or the brace
    return _Object(members, end)


def _next(text: str, place: int) -> int:
    """The first character from `place` on that is no white space."""
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def _added(text: str, to: _Object, name: str, value: Any, tab: str, depth: int) -> str:
    """The text with another member at the end of an object `depth` levels deep."""
    member = f"\n{tab * depth}{json.dumps(name)}: {_indented(value, tab, depth)}"
    if to.members:
        return f"{text[: to.end]},{member}{text[to.end :]}"
    brace = _next(text, to.end)
    return f"{text[: to.end]}{member}\n{tab * (depth - 1)}{text[brace:]}"


def _indented(value: Any, tab: str, depth: int) -> str:
    return json.dumps(value, indent=tab, ensure_ascii=False).replace("\n", "\n" + tab * depth)


def in_toml(text: str, entry: dict[str, Any], *, force: bool) -> str:
    """The text with a table `[mcp_servers.beatctl]` in it; the same where it holds that already. Raises Unreadable,
    Taken."""
    import tomllib

    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(text)
    except TOMLKitError as wrong:
        raise Unreadable(f"it is not TOML: {wrong}") from None
    servers = document.get("mcp_servers", {})
    if not isinstance(servers, dict):
        raise Unreadable("its mcp_servers is no table")
    known = servers.get(NAME)
    if known is not None:
        plain = known.unwrap() if hasattr(known, "unwrap") else known
        if isinstance(plain, dict) and all(plain.get(key) == entry[key] for key in ("command", "args")):
            return text
        if not force:
            raise Taken(json.dumps(plain, default=str))
        for key, value in entry.items():
            known[key] = value
        return tomlkit.dumps(document)
    # At the end, as a table of its own: whatever stands before, comments too, is not even looked at.
    table = tomlkit.table()
    table.update(entry)
    new = f"[mcp_servers.{NAME}]\n{tomlkit.dumps(table)}"
    after = f"{text.rstrip()}\n\n{new}" if text.strip() else new
    try:
        tomllib.loads(after)
    except tomllib.TOMLDecodeError:  # mcp_servers is written on a line: { name = { … } }
        servers[NAME] = entry
        after = tomlkit.dumps(document)
    return after
