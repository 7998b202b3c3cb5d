"""Which keys there are at a moment, and what is typed means. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from beatctl.cli.cells import cut_left

if TYPE_CHECKING:
    from beatctl.activities.records import Status

_ASKS = {"p": "pause", "r": "resume", "s": "stop", "q": "detach"}
_HELP = "   Enter sends, Esc leaves"
_LONGEST_NOTE = 4000
_ESCAPE, _RUBOUT, _CLEAR = "\x1b", "\x7f\b", "\x15"


@dataclass(frozen=True)
class Asked:
    """What a key asks for: `pause`, `resume`, `stop`, `cancel`, `detach`, or `note` with its text."""

    what: str
    text: str = ""


def keys(status: Status, *, ends_with_us: bool) -> list[str]:
    """The keys that do something, each with its words."""
    leave = [] if ends_with_us else ["q detach"]  # where leaving cancels the loop, that is what x is for
    if status.asked == "cancel":
        return leave
    shown = []
    if status.state == "paused" or status.asked == "pause":
        shown.append("r resume")
    elif status.asked is None:
        shown.append("p pause")
    if status.asked != "stop":
        shown.append("s stop after this" if status.state in ("running", "waiting") else "s stop")
    return [*shown, "n note", *leave, "x cancel"]


@dataclass
class Typing:
    """What is being typed: a key, the answer to a question, or a note."""

    asking: bool = False
    """Whether to cancel."""
    note: str | None = None
    """The note so far; None while no note is written."""

    def question(self, loop: str, columns: int) -> str:
        """What stands in the place of the keys; empty while there is nothing to ask."""
        if self.asking:
            return f"Cancel {loop} now? Its agent is ended. y yes, any other key no"
        if self.note is None:
            return ""
        room = columns - len(" note: _") - len(_HELP)
        return f"note: {cut_left(self.note, max(10, room))}_" + (_HELP if room >= 10 else "")

    def take(self, typed: str, status: Status, *, ends_with_us: bool) -> Asked | None:
        """What the typed text asks for."""
        if self.note is not None:
            return self._write(typed)
        # Several characters at once were pasted: nobody meant them as keys.
        key = typed.lower() if len(typed) == 1 else ""
        if not key:
            return None
        if self.asking:
            self.asking = False
            return Asked("cancel") if key == "y" else None
        if key in [shown[0] for shown in keys(status, ends_with_us=ends_with_us)]:
            self.asking = key == "x"
            self.note = "" if key == "n" else None
            return Asked(_ASKS[key]) if key in _ASKS else None
        return None

    def _write(self, typed: str) -> Asked | None:
        assert self.note is not None
        ends = typed.endswith(("\r", "\n"))
        for character in typed[:-1] if ends else typed:
            if character == _ESCAPE:
                self.note = None
                return None
            if character in _RUBOUT:
                self.note = self.note[:-1]
            elif character == _CLEAR:
                self.note = ""
            elif len(self.note) < _LONGEST_NOTE:  # only the last line end is the note's
                self.note += " " if character in "\r\n\t" else character if character.isprintable() else ""
        if not ends:
            return None
        text, self.note = self.note.strip(), None
        return Asked("note", text) if text else None
