"""What an agent says it is doing, in a few words for a person: pure functions of the end of what it printed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from beatctl.activities.agents.output import Event, event_of

_LONGEST = 500
_MARKS = re.compile(r"^(?:[#>*+-]+|\d+[.)])\s+")
_SHELL = re.compile(r"^(?:/\S*/)?(?:ba|z|da)?sh\s+-l?c\s+(.+)$", re.DOTALL)


def newest_first(tail: bytes) -> Iterator[Event]:
    """The JSON objects among the lines of `tail`, the last one first; a line cut off at either end is passed over."""
    for line in reversed(tail.split(b"\n")):
        if (event := event_of(line)) is not None:
            yield event


def sentence(text: str | None, *, last: bool = False) -> str:
    """The first line (or the last) of a message that says something, without Markdown's marks."""
    for line in reversed((text or "").splitlines()) if last else (text or "").splitlines():
        words = _MARKS.sub("", " ".join(line.split()))
        words = words.replace("**", "").replace("`", "").strip()
        if words.strip("-=_*#|:. "):
            return words[:_LONGEST]
    return ""


def on(verb: str, what: str | None, directory: str = "") -> str:
    """`editing src/range.ts`: a path below `directory` as people there write it. Empty where `what` is."""
    if not what:
        return ""
    flat = " ".join(what.split())
    if directory and flat.startswith(os.path.join(directory, "")):
        flat = os.path.relpath(flat, directory)
    return f"{verb} {flat}"[:_LONGEST]


def running(command: str | None) -> str:
    """`running npm test`, without the shell that an agent wraps around it."""
    wrapped = _SHELL.match(command or "")
    inner = wrapped[1].strip() if wrapped else command
    if wrapped and inner and len(inner) > 1 and inner[0] == inner[-1] and inner[0] in "'\"":
        inner = inner[1:-1]
    return on("running", inner)


def several(verb: str, paths: Sequence[str], directory: str = "") -> str:
    """`editing src/a.ts and 2 more`."""
    if not paths:
        return ""
    return on(verb, paths[0], directory) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
