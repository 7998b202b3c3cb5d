"""A real terminal for the real command: a pty, what it shows as an emulator draws it, and every byte written to it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyte

from tests.support import Beatctl, wait_until


class Terminal:
    """One program on a terminal of its own, its session's leader."""

    def __init__(
        self, beatctl: Beatctl, argv: list[str], cwd: Path, columns: int = 80, lines: int = 24, **environ: str
    ) -> None:
        self.near, far = pty.openpty()
        self.written = b""
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._set_size(columns, lines)
        self.modes = termios.tcgetattr(far)
        self._far = far  # held open, so that modes can be read after the program has ended

        def own_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**beatctl.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", **environ},
            stdin=far,
            stdout=far,
            stderr=far,
            start_new_session=True,
            preexec_fn=own_terminal,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @classmethod
    def running(cls, beatctl: Beatctl, *words: str, cwd: Path, **more: Any) -> Terminal:
        """`beatctl WORDS` on a terminal."""
        return cls(beatctl, [str(beatctl.program), *words], cwd, **more)

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self.near, 1 << 16)
            except OSError:
                return
            if not piece:
                return
            with self._lock:
                self.written += piece
                self._stream.feed(piece)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.near, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """As a window does: the emulator changes, then the kernel tells the program."""
        with self._lock:
            self._screen.resize(lines, columns)
            self._set_size(columns, lines)

    def type(self, text: str) -> None:
        os.write(self.near, text.encode())

    def shown(self) -> list[str]:
        """The lines on the screen, without spaces at their ends."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    def until(self, holds: Callable[[list[str]], object], what: str) -> list[str]:
        """The screen once `holds`."""

        def look() -> list[str] | None:
            lines = self.shown()
            return lines if holds(lines) else None

        try:
            return wait_until(look, what) or []
        except AssertionError as late:
            raise AssertionError(f"{late}; on the screen:\n" + "\n".join(self.shown())) from None

    def until_line(self, words: str) -> list[str]:
        """The screen once a line of it has these words."""
        return self.until(lambda lines: any(words in line for line in lines), repr(words))

    def until_written(self, words: str) -> None:
        wait_until(lambda: words.encode() in self.written, f"{words!r} in what was written")

    def modes_now(self) -> list[Any]:
        return termios.tcgetattr(self._far)

    @property
    def is_given_back(self) -> bool:
        """Its modes as before, and its first screen."""
        return self.is_first_screen and self.modes_now() == self.modes

    @property
    def is_first_screen(self) -> bool:
        """The terminal's own screen, with its cursor shown and lines that wrap."""
        last = {name: self.written.rfind(code) for name, code in _CODES.items()}
        return last["leave"] >= last["enter"] and last["show"] >= last["hide"] and last["wrap"] >= last["cut"]

    def said_since(self) -> str:
        """What was written after the view was gone, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.written.rpartition(_CODES["leave"])[2].decode())

    def hang_up(self) -> None:
        """The window is closed."""
        os.close(self._far)
        os.close(self.near)
        self._far = self.near = -1

    def ended(self) -> int:
        """Its exit code, with everything read that it wrote."""
        code = self.process.wait(60)
        if self.near >= 0:
            mark = b"\x1b]9999;end\x07"  # what comes through the terminal after all that was written to it
            os.write(self._far, mark)
            wait_until(lambda: mark in self.written, "the end of what was written")
            self.written = self.written.replace(mark, b"")
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        for end in (self._far, self.near):
            if end >= 0:
                with contextlib.suppress(OSError):
                    os.close(end)


_CODES = {
    "enter": b"\x1b[?1049h",
    "leave": b"\x1b[?1049l",
    "hide": b"\x1b[?25l",
    "show": b"\x1b[?25h",
    "cut": b"\x1b[?7l",
    "wrap": b"\x1b[?7h",
}
