"""What this terminal can show, and how fast it is drawn anew."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping

from beatctl.cli.live.notices import Notices, noticed
from beatctl.cli.live.screen import Screen
from beatctl.cli.live.sparkline import ASCII_BARS, BARS
from beatctl.cli.live.styled import Text, ansi
from beatctl.cli.output import colour

_LOOK_S = 0.25
_PACE_S = 0.1
"""Between two frames, however fast keys and changes of size come."""


class Terminal:
    """The terminal this command was started on: frames go to stderr, keys come from stdin."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._colours = colour(sys.stderr, environ)
        self._encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        self.bars = BARS if environ.get("TERM") != "linux" and self._can(BARS) else ASCII_BARS
        self._ellipsis = self._can("…")
        self.screen = Screen(sys.stderr.fileno(), sys.stdin.fileno(), self._encoding)
        self._drawn: object = None
        self._last = 0.0

    @contextlib.contextmanager
    def taken(self) -> Iterator[Notices]:
        """The terminal is the view's for the block; what is said meanwhile is said again when it was given back."""
        with noticed() as notices, self.screen.open():
            yield notices

    def _can(self, text: str) -> bool:
        try:
            text.encode(self._encoding)
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def written(self, line: Text) -> str:
        text = ansi(line, colours=self._colours)
        return text if self._ellipsis else text.replace("…", "~")

    def show(self, key: object, frame: Callable[[], list[Text]], columns: int) -> None:
        """Draw the frame, unless what it was made of, `key`, is on the screen already, or it is too early for one.

        Raises Vanished.
        """
        if not self._wants(key) or time.monotonic() - self._last < _PACE_S:
            return
        lines = frame()
        full = {place for place, line in enumerate(lines) if line.cell_len >= columns}
        self.screen.draw([self.written(line) for line in lines], full)
        self._drawn, self._last = key, time.monotonic()

    def typed(self, key: object) -> str:
        """What was typed since; returns soon after `key`, which the next frame is made of, can be drawn."""
        return self.screen.wait(_PACE_S if self._wants(key) else _LOOK_S)

    def _wants(self, key: object) -> bool:
        return self.screen.is_open and (key != self._drawn or self.screen.is_stale)
