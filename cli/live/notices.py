"""What is said while the view has the terminal: shown in it, and said again when it is gone."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator

from beatctl.cli.output import say

_SHOWN_S = 60.0
_MOST_SHOWN = 3
_MOST_KEPT = 50


class Notices(io.TextIOBase):
    """Stands in for stderr: whoever says something there does not write into the view."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self._lines: list[tuple[float, str]] = []
        self._open = ""
        self._lasting: list[str] = []
        self._lasted: set[str] = set()

    def write(self, text: str) -> int:
        *lines, self._open = (self._open + text).split("\n")
        for line in lines:
            if line.strip():
                if self._lines and self._lines[-1][1] == line:
                    self._lines.pop()  # said again: one line, the newest
                self._lines.append((time.monotonic(), line))
        del self._lines[:-_MOST_KEPT]
        return len(text)

    def shown(self, *lasting: str | None) -> list[str]:
        """The newest ones, for a minute, after those that are `lasting`; one that lasted and is over is not shown."""
        since = time.monotonic() - _SHOWN_S
        self._lasting = [line for line in lasting if line]
        self._lasted.update(self._lasting)
        return self._lasting + self._told(since)[-_MOST_SHOWN:]

    def all(self) -> list[str]:
        return self._told() + self._lasting

    def _told(self, since: float = 0.0) -> list[str]:
        """What is still so."""
        lines = [line for said, line in self._lines if said > since and line not in self._lasted]
        # `Waiting for the worker …` is over with whatever is said next.
        return [line for place, line in enumerate(lines, 1) if place == len(lines) or not line.endswith("…")]


@contextlib.contextmanager
def noticed() -> Iterator[Notices]:
    """Take what is said on stderr; say it there at the end of the block."""
    notices = Notices()
    try:
        with contextlib.redirect_stderr(notices):
            yield notices
    finally:
        for line in notices.all():
            say(line)
