"""When a program that ended is started again, whether its ends are a crash loop, and how that is told. Pure; times in
unix seconds. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

HEALTHY_S = 60.0
"""Who served this long was well: its end is an accident, not a habit."""
FIRST_S, LONGEST_S = 0.2, 60.0
LONGEST_AFTER_KILL_S = 1.0
MANY = 5
"""Ends in a row without a healthy run between them that make a crash loop …"""
FEW = 3
"""… and so many where it did not even come to serve."""


@dataclass(frozen=True)
class End:
    """A program's end."""

    at: float
    served_s: float | None
    """How long it had served; None where it never came to that."""
    killed: bool = False
    """By a SIGKILL, which nobody sends itself: a person, or a system without memory."""


@dataclass(frozen=True)
class CrashLoop:
    """A program that ends again and again, as the supervisor's state tells it."""

    what: str
    """`worker` or `Temporal server`."""
    how: str
    """`ends right after its start`, …"""
    times: int
    since: float
    last: float
    """The newest end."""
    next: float | None
    """The next start; None: it has been started."""
    serves: bool
    """Whether it serves at this moment."""
    said: str
    log: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def since_healthy(ends: Sequence[End]) -> list[End]:
    """The newest ends, oldest first, that have no healthy run between them."""
    found: list[End] = []
    for end in reversed(ends):
        found.insert(0, end)
        if end.served_s is not None and end.served_s >= HEALTHY_S:
            break
    return found


def delay(ends: Sequence[End]) -> float:
    """Seconds from the newest end to the next start: none after the first, then doubling up to a minute. One that
    somebody killed did not fail by itself, and may be what a loop waits for."""
    count = len(since_healthy(ends))
    if count <= 1:
        return 0.0
    longest = LONGEST_AFTER_KILL_S if ends[-1].killed else LONGEST_S
    return float(min(longest, FIRST_S * 2 ** min(count - 2, 20)))


def came_to_nothing(ends: Sequence[End]) -> int:
    """How many of the newest ends in a row came before the program served."""
    count = 0
    for end in reversed(ends):
        if end.served_s is not None:
            break
        count += 1
    return count


def habit(ends: Sequence[End]) -> str | None:
    """How a program ends again and again, in words; None where it does not."""
    if came_to_nothing(ends) >= FEW:
        return "is killed right after its start" if ends[-1].killed else "ends right after its start"
    recent = since_healthy(ends)
    if len(recent) < MANY:
        return None
    return "is killed again and again" if all(end.killed for end in recent) else "ends again and again"


def words(loop: CrashLoop, now: float) -> str:
    """One line for people, with what to do."""
    if loop.serves:
        then = "it runs again at the moment"
    elif loop.next is None or loop.next <= now:
        then = "it is being started again"
    else:
        then = f"next try in {_in_words(loop.next - now)}"
    count = f"{loop.times} times in {_in_words(max(1.0, loop.last - loop.since))}"
    return f"The {loop.what} {loop.how} ({count}; {then}).{_why(loop)} Log: {loop.log}; beatctl doctor"


def words_after(loop: CrashLoop) -> str:
    """The same where nothing tries any more."""
    return f"The {loop.what} had come to nothing {loop.times} times.{_why(loop)} Log: {loop.log}"


def _why(loop: CrashLoop) -> str:
    said = f' Its last words: "{loop.said}".' if loop.said else ""
    killed = " Has the machine run out of memory?" if "killed" in loop.how else ""
    return said + killed


def last_line(text: str, most: int = 300) -> str:
    """The last line that says something, without what a terminal would obey."""
    line = next((line for line in reversed(text.splitlines()) if line.strip()), "").strip()
    line = "".join(char if char.isprintable() else " " for char in line)
    return line if len(line) <= most else line[: most - 1] + "…"


def _in_words(seconds: float) -> str:
    whole = round(seconds)
    if whole < 90:
        return f"{max(1, whole)} s"
    return f"{round(whole / 60)} min" if whole < 5400 else f"{round(whole / 3600)} h"
