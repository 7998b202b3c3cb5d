"""Reading what an agent printed: files that may be huge, cut short, or full of what nobody expected."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from beatctl.activities import packed

Event = dict[str, Any]

_LONGEST_LINE = 16 << 20
_TAIL = 64 << 10
_CHUNK = 1 << 20
_LONGEST_QUOTED = 16 << 10
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)")


def events(path: Path) -> Iterator[Event]:
    """The JSON objects of a file, one a line, in order; every other line is passed over.

    One line is held in memory at a time; a line over 16 MiB is passed over too.
    """
    try:
        file = packed.opened(path)
    except OSError:
        return
    with file:
        while line := file.readline(_LONGEST_LINE):
            if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
                while (rest := file.readline(_LONGEST_LINE)) and not rest.endswith(b"\n"):
                    pass
                continue
            if (event := event_of(line)) is not None:
                yield event


def event_of(line: bytes) -> Event | None:
    """The JSON object that a line is; None for any other."""
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        event = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def last_lines(path: Path, most: int = 1, but: re.Pattern[str] | None = None) -> list[str]:
    """The last lines of a file that say something, oldest first, without colours and without overwritten progress.

    Lines whose beginning matches `but` say nothing.
    """
    return [line for line in said_lines(tail_of(path)) if not (but and but.match(line))][-most:]


def said_lines(tail: bytes) -> list[str]:
    """The lines that say something, oldest first, without colours and without overwritten progress."""
    lines = tail.decode("utf-8", "replace").split("\n")
    return [said for line in lines if (said := _ESCAPES.sub("", line).strip().rpartition("\r")[2].strip())]


def lines_with(path: Path, words: Sequence[bytes], most: int = 100) -> list[str]:
    """The last lines of a whole file, oldest first, that have one of these words (small letters) in them.

    Of a line over 16 KiB, what is around the word. A megabyte is held in memory at a time.
    """
    found: deque[str] = deque(maxlen=most)
    rest = b""
    try:
        with packed.opened(path) as file:
            while chunk := file.read(_CHUNK):
                whole, newline, rest = (rest + chunk).rpartition(b"\n")
                if not newline and len(rest) > 2 * _CHUNK:  # a line without an end
                    whole, rest = rest, b""
                found.extend(_lines_with(whole, words))
    except (OSError, EOFError):
        pass
    found.extend(_lines_with(rest, words))
    return list(found)


def _lines_with(text: bytes, words: Sequence[bytes]) -> Iterator[str]:
    small = text.lower()
    lines: dict[int, int] = {}
    for word in words:  # much faster than one expression for all
        at = small.find(word)
        while at >= 0:
            lines.setdefault(text.rfind(b"\n", 0, at) + 1, at)
            end = text.find(b"\n", at)
            at = small.find(word, end) if end >= 0 else -1
    for start, at in sorted(lines.items()):
        begin = max(start, at - _LONGEST_QUOTED // 4)
        end = text.find(b"\n", begin, begin + _LONGEST_QUOTED)
        yield _ESCAPES.sub(
            "", text[begin : end if end >= 0 else begin + _LONGEST_QUOTED].decode("utf-8", "replace")
        ).strip()


def tail_of(path: Path, most: int = _TAIL) -> bytes:
    """A file's last bytes; empty where it can't be read."""
    return packed.tail(path, most)


def string(event: Event, *keys: str) -> str | None:
    """The text at a path of keys; None when it is not there, empty, or no text."""
    value = _at(event, keys)
    return value if isinstance(value, str) and value else None


def number(event: Event, *keys: str) -> float | None:
    value = _at(event, keys)
    return None if isinstance(value, bool) or not isinstance(value, (int, float)) else float(value)


def count(event: Event, *keys: str) -> int | None:
    value = number(event, *keys)
    return int(value) if value is not None and 0 <= value < 1e15 else None


def _at(event: Event, keys: tuple[str, ...]) -> object:
    value: object = event
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
