"""What the plain output of a program tells of a limit, where there are no events of a known shape to go by."""

from __future__ import annotations

from typing import Literal, NamedTuple

from beatctl.activities.agents.outcome import Ended, paragraph
from beatctl.activities.agents.output import event_of, lines_with
from beatctl.activities.agents.troubles import CLEAR_WORDS, RESET_WORDS, clear_trouble


class PlainTrouble(NamedTuple):
    kind: Literal["rate-limited", "overloaded"]
    said: str
    """The line that tells."""
    reset_at: float | None
    """Unix seconds."""


def plain_trouble(ended: Ended) -> PlainTrouble | None:
    """The last line of a failed run that tells of a limit or an overload, from the whole of what it printed.

    Standard error goes before standard output. When the limit ends is read from that line, else from the last lines
    that tell such a time.
    """
    for path in (ended.stderr, ended.stdout):
        for line in reversed([line for line in lines_with(path, CLEAR_WORDS) if _is_its_own(line)]):
            if kind := clear_trouble(line):
                return PlainTrouble(kind, paragraph(line, 500), _reset(ended, line) if kind == "rate-limited" else None)
    return None


def _reset(ended: Ended, line: str) -> float | None:
    if (at := ended.reset_in(line)) is not None:
        return at
    lines = [*lines_with(ended.stdout, RESET_WORDS), *lines_with(ended.stderr, RESET_WORDS)]
    return ended.reset_in("\n".join(line for line in lines if _is_its_own(line)))


def _is_its_own(line: str) -> bool:
    """Whether a line is the program's own. Of the events that a wrapped agent prints only errors are: the others quote
    what was asked, read and said."""
    if not line.startswith("{"):
        return True
    event = event_of(line.encode()) or {}
    kind = event.get("type")
    return kind in ("error", "turn.failed") or (kind == "result" and event.get("is_error") is True)
