"""The terminal: a screen of its own that is given back as it was, drawn with few bytes; and the keys that come from it.

Lines never wrap: the terminal is told so, since terminals don't agree on how wide each character is. Each frame is one
write. The screen is the terminal's second one, so that a change of size leaves nothing torn in the scrollback.
"""

from __future__ import annotations

import atexit
import codecs
import contextlib
import os
import re
import select
import signal
import termios
from collections.abc import Iterator
from types import FrameType
from typing import Any

_OPEN = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[H\x1b[2J"
_CLOSE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_TOGETHER, _SHOWN = "\x1b[?2026h", "\x1b[?2026l"
_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?<]*[ -/]*[@-~]|O.|.)")
_ENDING = (signal.SIGQUIT,)


class Vanished(Exception):
    """The terminal has gone."""


class Screen:
    """The terminal on descriptors `out` and `keys`. `open` is to be closed; being stopped and continued is seen to."""

    def __init__(self, out: int, keys: int, encoding: str) -> None:
        self._out = out
        self._keys = keys
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._saved: list[Any] | None = None
        self._drawn: list[str] = []
        self._size = (0, 0)
        self._resized = False
        self._stop = False

    @contextlib.contextmanager
    def open(self) -> Iterator[Screen]:
        """Take the terminal, and give it back however the block ends."""
        wake, woken = os.pipe()
        self._woken = wake
        for end in (wake, woken):
            os.set_blocking(end, False)
        before = {number: signal.getsignal(number) for number in (signal.SIGWINCH, signal.SIGTSTP, *_ENDING)}
        signal.signal(signal.SIGWINCH, self._note_size)
        if before[signal.SIGTSTP] == signal.SIG_DFL:  # a shell without job control ignores it
            signal.signal(signal.SIGTSTP, self._note_stop)
        for number in _ENDING:
            signal.signal(number, self._end)
        old_wake = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        atexit.register(self.close)
        try:
            self._take()
            yield self
        finally:
            self.close()
            atexit.unregister(self.close)
            signal.set_wakeup_fd(old_wake)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(wake)
            os.close(woken)

    @property
    def is_open(self) -> bool:
        return self._saved is not None

    @property
    def is_stale(self) -> bool:
        """It was taken anew, or its size has changed, since something was drawn."""
        return self._resized or not self._drawn

    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        try:
            found = os.get_terminal_size(self._out)
        except OSError:
            return 80, 24
        return found.columns or 80, found.lines or 24

    def draw(self, lines: list[str], full: set[int] | None = None) -> None:
        """Show these lines, writing only what has changed. `full`: those that fill their line to its end.

        Raises Vanished.
        """
        if not self.is_open:
            return
        size = self.size()
        anew = size != self._size or self._resized
        self._size, self._resized = size, False
        before = [] if anew else self._drawn
        pieces = []
        for place, line in enumerate(lines):
            if place >= len(before) or before[place] != line:
                # After a line that is full the cursor stands on its last cell, which must not be erased.
                pieces.append(f"\x1b[{place + 1};1H{line}" + ("" if full and place in full else "\x1b[K"))
        if len(lines) < len(before):
            pieces.append(f"\x1b[{len(lines) + 1};1H\x1b[J")
        self._drawn = list(lines)
        if not pieces and not anew:
            return
        text = "".join(pieces)
        if anew or len(pieces) > 1:
            text = _TOGETHER + ("\x1b[H\x1b[2J" if anew else "") + text + _SHOWN
        self._write(text)

    def wait(self, timeout_s: float) -> str:
        """What was typed, as soon as something is or a signal comes; empty after `timeout_s` seconds.

        Escape sequences (arrows, function keys) are left out. Raises Vanished.
        """
        readers = [self._woken, *([self._keys] if self.is_open else [])]
        try:
            ready, _, _ = select.select(readers, [], [], timeout_s)
        except OSError as gone:
            raise Vanished from gone
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 4096)
        if self._stop:
            self._suspend()
            return ""
        if not self.is_open:
            self._take()
            return ""
        if self._keys not in ready:
            return ""
        try:
            typed = os.read(self._keys, 4096)
        except OSError as gone:
            raise Vanished from gone
        if not typed:
            raise Vanished
        return _SEQUENCE.sub("", self._decoder.decode(typed))

    def is_ours(self) -> bool:
        """Whether the shell has this process in the foreground: another one's terminal is not to be written to."""
        try:
            return os.tcgetpgrp(self._keys) == os.getpgrp()
        except OSError:
            return False

    def _take(self) -> None:
        if self.is_open or not self.is_ours():
            return
        try:
            self._saved = termios.tcgetattr(self._keys)
            changed = termios.tcgetattr(self._keys)
            changed[3] &= ~(termios.ICANON | termios.ECHO)  # signals stay: Ctrl-C, Ctrl-Z
            changed[6][termios.VMIN], changed[6][termios.VTIME] = 1, 0
            termios.tcsetattr(self._keys, termios.TCSANOW, changed)
        except termios.error as gone:
            raise Vanished from gone
        self._drawn, self._resized = [], True
        self._write(_OPEN)

    def close(self) -> None:
        """Give the terminal back as it was. May be called again."""
        saved, self._saved = self._saved, None
        if saved is None:
            return
        with contextlib.suppress(Vanished):
            self._write(_CLOSE)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._keys, termios.TCSANOW, saved)

    def _write(self, text: str) -> None:
        left = text.encode(self._encoding, "replace")
        while left:
            try:
                left = left[os.write(self._out, left) :]
            except BlockingIOError:  # whoever shares the terminal has made it so
                select.select([], [self._out], [], 1.0)
            except OSError as gone:
                raise Vanished from gone

    def _note_size(self, _number: int, _frame: FrameType | None) -> None:
        self._resized = True

    def _note_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop = True

    def _suspend(self) -> None:
        """Ctrl-Z: give the terminal back, stop, and go on from here."""
        self._stop = False
        self.close()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._note_stop)
        self._take()

    def _end(self, number: int, _frame: FrameType | None) -> None:
        self.close()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
