"""`[agents.NAME]` in the user's config.toml: agents that beatctl does not know, and settings of those it knows.

Only there: a command that runs is never picked up from where one happens to stand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from beatctl.cli.problems import Usage
from beatctl.cli.settings import nearest

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from beatctl.activities.agents.definition import AgentTables, Strict

KEY = "agents"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}", re.IGNORECASE)
_HEADER = re.compile(r"\s*\[\s*([^\[\]#]+?)\s*\]\s*(?:#.*)?$")
_PAIR = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_WORD = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
_UNTOLD = re.compile(r"^(?:Value error|Assertion failed), ")


def read(environ: Mapping[str, str]) -> AgentTables:
    """What the user's configuration says of agents. Raises Usage."""
    from beatctl.activities.agents.definition import AgentTables
    from beatctl.cli import levels, loop_file

    place = next((one for one in levels.standing(None, environ) if one.level == "user"), None)
    if place is None or not place.is_there():
        return AgentTables()
    text = loop_file.text_of(place.path, place.shown)
    content = loop_file.parsed(text, place.shown).get(KEY, {})
    return checked(content, text, place.shown)


def names(environ: Mapping[str, str]) -> list[str]:
    """The agents that the user's configuration names, unchecked; for a shell's completion, which has no time."""
    import tomllib

    from beatctl.cli import levels

    try:
        found = tomllib.loads(levels.user_file(environ).read_text(encoding="utf-8-sig")).get(KEY, {})
    except (OSError, ValueError):
        return []
    return [name for name in found if isinstance(found[name], dict)] if isinstance(found, dict) else []


def checked(content: object, text: str, shown: str) -> AgentTables:
    """The tables in a file's `agents`. `text`: the file's, to tell lines by; `shown`: how messages name it. Raises
    Usage."""
    from pydantic import ValidationError

    from beatctl.activities.agents.definition import AgentDefinition, AgentTables, KnownSettings
    from beatctl.activities.agents.registry import KNOWN

    lines = lines_of(text)

    def wrong(path: Sequence[str], words: str) -> Usage:
        line = next((lines[tuple(path[:end])] for end in range(len(path), 0, -1) if tuple(path[:end]) in lines), 1)
        return Usage(f"{shown}:{line}: {'.'.join(path)}: {words}", help_of="start")

    tables = AgentTables()
    for name, table in content.items() if isinstance(content, dict) else ():
        path = [KEY, name]
        if not _NAME.fullmatch(name):
            raise wrong(path, "a name has letters, digits, - and _ alone")
        if not isinstance(table, dict):
            raise wrong(path, f"is a table: [agents.{name}]")
        model: type[AgentDefinition | KnownSettings] = KnownSettings if name in KNOWN else AgentDefinition
        try:
            read = model.model_validate(table)
        except ValidationError as mistakes:
            raise wrong(*_first(mistakes, path, model, known=name in KNOWN)) from None
        if isinstance(read, KnownSettings):
            tables.known[name] = read
        else:
            tables.defined[name] = read
    return tables


def _first(
    mistakes: ValidationError, path: Sequence[str], model: type[Strict], *, known: bool
) -> tuple[Sequence[str], str]:
    """Where the first mistake is, and what it is."""
    mistake = mistakes.errors(include_url=False)[0]
    # Texts that pydantic puts between the keys: names of a union's members.
    where = [str(part) for part in mistake["loc"] if not str(part).endswith("]") and str(part) not in ("str", "int")]
    return [*path, *where], _words(mistake, where, model, path[-1], known=known)


def _words(mistake: ErrorDetails, where: Sequence[str], model: type[Strict], name: str, *, known: bool) -> str:
    kind = mistake["type"]
    if kind == "extra_forbidden":
        if known and len(where) == 1 and where[0] == "command":
            return f"{name} is known: how it is run stays. path names its program, args adds arguments"
        there = _fields(model, where[:-1])
        meant = nearest(where[-1], there)
        return "no such key." + (f" Did you mean {meant}?" if meant else f" There are: {', '.join(there)}.")
    if kind == "missing":
        return 'is missing. Write what is run, such as command = "my-agent --yes {prompt}"'
    said = _UNTOLD.sub("", mistake["msg"])
    if kind == "value_error":  # our own words
        return said
    said = said.replace("Input should be", "should be").replace("a valid ", "a ").replace("dictionary", "table")
    return said[:1].lower() + said[1:]


def _fields(model: Any, where: Sequence[str]) -> list[str]:
    """The keys of a table, or of one in it."""
    from beatctl.activities.agents.definition import Output, Reading

    inner = [model, Output, Reading][min(len(where), 2)]
    return list(inner.model_fields)


def lines_of(text: str) -> dict[tuple[str, ...], int]:
    """The line on which each table and key of a TOML document begins, counted from 1; keys inside of inline tables are
    not told apart."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _parts(header[1])
            found.setdefault(table, number)
        elif pair := _PAIR.match(line):
            found.setdefault((*table, *_parts(pair[1])), number)
    for path, number in list(found.items()):
        for end in range(1, len(path)):
            found.setdefault(path[:end], number)
    return found


def _parts(text: str) -> tuple[str, ...]:
    return tuple(word.strip("\"'") for word in _WORD.findall(text))
