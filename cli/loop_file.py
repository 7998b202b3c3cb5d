"""Reading loop.toml, beatctl.toml and config.toml: flat TOML, each key a flag of `start`. Every mistake is told with
file, line and key.

Imports the TOML reader only when there is a file to read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from beatctl.activities.notify.addresses import FROM_ENVIRONMENT
from beatctl.cli import agent_tables, units
from beatctl.cli.problems import Usage
from beatctl.cli.settings import HOST_KEYS, KEYS, Key, Setting, Value, nearest, typed_of
from beatctl.cli.start_options import check_values

_LARGEST = 1024 * 1024
_TAKES = {
    "text": 'a text in quotes: {name} = "…"',
    "number": "a number, or a text in quotes as on the command line",
    "switch": "true or false",
    "list": 'a list of texts: {name} = ["…", "…"]',
}
_ALIASES = {"step": "steps"}


def read(path: Path, shown: str, level: str) -> dict[str, Setting]:
    """The settings in a file, by key, each value understood.

    `shown` is how messages name the file. `level` is `loop file`, or `repository` or `user`, which take fewer keys.
    Raises Usage.
    """
    text = text_of(path, shown)
    content = parsed(text, shown)
    lines = lines_of_keys(text)
    found: dict[str, Setting] = {}
    written: dict[str, str] = {}
    for name, value in content.items():
        where = f"{shown}:{lines.get(name, 1)}"
        if name == agent_tables.KEY and isinstance(value, dict):
            if level != "user":
                raise _wrong(
                    f"{where}: {name}: says which programs run, so it stands in your own config.toml. "
                    "agent names one of those."
                )
            agent_tables.checked(value, text, shown)
            continue
        key = _key(name, value, where, level)
        if key.name in found:
            raise _wrong(f"{where}: {name}: the same as {written[key.name]}, which is there already. Keep one of them.")
        written[key.name] = name
        told = _value(key, name, value, where)
        if key.name == "permissions" and told == "full" and level == "repository":
            raise _wrong(
                f"{where}: {name}: a repository can't give an agent full permissions. Type --permissions full, "
                "or write it into your own config.toml or the loop file."
            )
        if level == "repository" and key.name == "notify" and not _names_variables(told):
            raise _wrong(
                f"{where}: {name}: a repository can't say where your results are sent. It may name a variable that "
                'holds the address: notify = ["env:SLACK_URL"]. Addresses stand in your own config.toml.'
            )
        if key.field in ("directory", "prompt_template"):
            told = str(path.parent / Path(str(told)).expanduser())
        if key.name in HOST_KEYS:
            try:
                units.whole(str(told), f"{where}: {name}")
            except units.BadValue as wrong:
                raise _wrong(str(wrong)) from None
        found[key.name] = Setting(told, where, f"{where}: {name}", level)
    check_values(typed_of(found))
    return found


def lines_of_keys(text: str) -> dict[str, int]:
    """The line on which each top-level key of a valid TOML document stands, counted from 1.

    A document is cut where what came so far is a document by itself: that is after each key with its whole value.
    """
    import tomllib

    found: dict[str, int] = {}
    begin, part = 1, ""
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if not part:
            begin = number
        elif not any(closing in line for closing in ('"""', "'''", "]", "}")):
            part += line + "\n"
            continue
        part += line + "\n"
        try:
            keys = tomllib.loads(part)
        except ValueError:
            continue
        for key in keys:
            found.setdefault(key, begin)
        part = ""
    return found


def text_of(path: Path, shown: str) -> str:
    """A file of settings. Raises Usage."""
    if path.is_dir():
        raise _wrong(f"{shown} is a folder. A file is needed, such as {shown.rstrip('/')}/loop.toml.")
    if not path.exists():
        raise _wrong(f"There is no file {shown}. beatctl init {shown} writes one.")
    if not path.is_file():
        raise _wrong(f"{shown} is no ordinary file.")
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as problem:
        raise _wrong(f"{shown} can't be read: {problem.strerror or problem}.") from None
    if len(content) > _LARGEST:
        raise _wrong(f"{shown} is larger than 1 MiB: that is no file of settings.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise _wrong(f"{shown}:{line}: not UTF-8. Save the file in that encoding.") from None


def parsed(text: str, shown: str) -> dict[str, Any]:
    """Its keys. Raises Usage."""
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        message = str(problem)
    except RecursionError:
        message = "Too many brackets"
    place = re.search(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    line = place[1] if place and place[1] else str(text.rstrip().count("\n") + 1)
    column = f", column {place[2]}" if place and place[2] else ""
    what = (message[: place.start()] if place else message).replace("\n", "\\n")
    hint = ' Texts stand in quotes: until = "npm test"' if what == "Invalid value" else ""
    if what == "Cannot overwrite a value":
        what, column = "this key is there twice", ""
    raise _wrong(f"{shown}:{line}: not TOML: {what}{column}.{hint}")


def _key(name: str, value: object, where: str, level: str) -> Key:
    plain = name.replace("-", "_")
    host = HOST_KEYS if level == "user" else {}
    key = {**KEYS, **host}.get(_ALIASES.get(plain, plain))
    allowed = [*(key for key in KEYS.values() if _may_give(level, key)), *host.values()]
    if plain in HOST_KEYS and not host:
        raise _wrong(
            f"{where}: {name}: is said of this machine, not of a loop, so it stands in your own config.toml "
            f"or in {HOST_KEYS[plain].variable}, or goes with beatctl up."
        )
    if key is None:
        meant = nearest(plain.lower(), (key.name for key in allowed))
        instead = f" Did you mean {meant}?" if meant else f" There are: {', '.join(key.name for key in allowed)}."
        if isinstance(value, dict) and not meant:
            instead = " There are no sections: keys stand one below the other."
        raise _wrong(f"{where}: {name}: no such key.{instead}")
    if level == "repository" and key.everywhere and not key.in_repository:
        raise _wrong(
            f"{where}: {name}: says where your results are sent, so it stands in your own config.toml, in a loop file "
            "or on the command line."
        )
    if key not in allowed:
        raise _wrong(
            f"{where}: {name}: says what one loop is about, so it stands in a loop file "
            "(beatctl start -f loop.toml) or on the command line."
        )
    return key


def _names_variables(value: Value) -> bool:
    return isinstance(value, tuple) and all(FROM_ENVIRONMENT.fullmatch(text) for text in value)


def _may_give(level: str, key: Key) -> bool:
    return level == "loop file" or (key.in_repository if level == "repository" else key.everywhere)


def _value(key: Key, name: str, value: object, where: str) -> Value:
    """The value as it would have been typed. Raises Usage where it is of another kind."""
    texts: list[str] = []
    told: Value | None = None
    if key.kind == "switch":
        told = value if isinstance(value, bool) else None
    elif isinstance(value, str):
        told = value if key.kind != "list" else (value,) if key.secret else None
        texts = [value]
    elif key.kind == "number" and isinstance(value, int | float) and not isinstance(value, bool):
        told = repr(value)
    elif key.kind == "list" and isinstance(value, list) and all(isinstance(each, str) for each in value):
        told = tuple(value)
        texts = value
    if told is None:
        raise _wrong(f"{where}: {name}: takes {_TAKES[key.kind].format(name=name)}, not {_shown(value)}.")
    if any("\0" in text for text in texts):
        raise _wrong(f"{where}: {name}: holds a NUL character, which no command can be given.")
    return told


def _shown(value: object) -> str:
    """A TOML value as it looks in the file, or what it is."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value[:40]}"'
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return next((f"a list with {_shown(each)} in it" for each in value if not isinstance(each, str)), "a list")
    return "a section" if isinstance(value, dict) else "a date or time"


def _wrong(text: str) -> Usage:
    return Usage(text, help_of="start")
