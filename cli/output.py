"""What goes where: data on stdout, words on stderr, colour only on a terminal that wants it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, TextIO

from beatctl.cli.problems import Problem

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def colour(stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Whether `stream` is a terminal that shows colours."""
    environ = os.environ if environ is None else environ
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return False
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def paint(text: str, *styles: str, on: bool) -> str:
    """`text` in `styles`, where `on`."""
    if not on or not styles or not text:
        return text
    return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"


def visible(text: str) -> str:
    """`text` on one line, without what would move the cursor or change colours: agents' words are not ours."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def from_home(path: str, home: str | None = None) -> str:
    """A path as people write it: `~/work/shop`. `home`: another home folder than this user's."""
    home = (os.path.expanduser("~") if home is None else home).rstrip("/")  # Path.home() raises where there is none
    return "~" + path[len(home) :] if home and (path == home or path.startswith(home + os.sep)) else path


_heard: ContextVar[Callable[[str], None] | None] = ContextVar("heard", default=None)


@contextlib.contextmanager
def heard(tell: Callable[[str], None] | None = None) -> Iterator[list[str]]:
    """What `say` says in this block, in the list instead of on stderr; told at once, too, where `tell` is given."""
    lines: list[str] = []

    def hear(text: str) -> None:
        lines.append(text)
        if tell is not None:
            tell(text)

    before = _heard.set(hear)
    try:
        yield lines
    finally:
        _heard.reset(before)


def say(text: str = "") -> None:
    """A line for the person, on stderr. A terminal that went away is no reason to stop."""
    hear = _heard.get()
    if hear is not None:
        hear(text)
    else:
        _write(sys.stderr, text + "\n")


def out(text: str) -> None:
    """A line of what was asked for, on stdout."""
    with _told():
        sys.stdout.write(_encodable(text + "\n", sys.stdout))
        sys.stdout.flush()


def out_bytes(content: bytes) -> None:
    """Content as it is (a diff, a log), on stdout."""
    with _told():
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def out_json(value: Any) -> None:
    """One JSON document on stdout."""
    with _told():
        sys.stdout.write(json.dumps(value, ensure_ascii=True, indent=2) + "\n")
        sys.stdout.flush()


def width(stream: TextIO | None = None, *, elsewhere: int = 100) -> int:
    """Columns to write in: those of the terminal `stream` (stdout) is, at least 60, else `elsewhere`."""
    try:
        return max(60, os.get_terminal_size((stream or sys.stdout).fileno()).columns)
    except (OSError, ValueError):
        return elsewhere


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """A full disk below stdout, in words. A reader that went away stays what it is: `entry` ends without a word."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is left in the buffer would fail again when Python ends.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Problem(f"The output can't be written: {(error.strerror or str(error)).lower()}.") from error


def _encodable(text: str, stream: TextIO) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding, "replace")


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(_encodable(text, stream))
        stream.flush()
    except (OSError, ValueError):
        pass
