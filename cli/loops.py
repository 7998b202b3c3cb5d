"""This home's loops, and which of them a command means."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from beatctl.cli.problems import Unavailable, Usage

if TYPE_CHECKING:
    from beatctl.activities.doing import Doing
    from beatctl.activities.home import Home, LoopFolder
    from beatctl.activities.ledger import Ledger
    from beatctl.activities.records import Row, Status

# Without what is easily taken for something else: no l, i, o, u, 0, 1.
_LETTERS = "abcdefghjkmnpqrstvwxyz"
_CHARACTERS = _LETTERS + "23456789"

TURN = "turn"
"""The reason of a wait for other loops' agents or evaluators."""


class NoSuchLoop(Usage):
    """This home has no loop of the name that was typed."""


class Loops:
    """The loops of one home. Looking creates nothing."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.environ = os.environ if environ is None else environ

    @cached_property
    def home(self) -> Home:
        from beatctl.activities.home import Home

        return Home.locate(self.environ)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger to write to: creates it."""
        import sqlite3

        from beatctl.activities.ledger import Ledger
        from beatctl.cli.crash import refused, unusable

        try:
            self.home.create()
            ledger = Ledger(self.home.ledger)
            ledger.status("")
        except (OSError, sqlite3.Error) as error:
            raise Unavailable(refused(error, self.home) or unusable(self.home.root, error)) from error
        return ledger

    def check_home(self) -> None:
        """Raises Unavailable where nothing could be kept."""
        _ = self.ledger

    def _is_there(self) -> bool:
        """Whether anything was ever kept. Raises Unavailable where that can't be told."""
        from beatctl.cli.crash import unusable

        try:
            self.home.ledger.stat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise Unavailable(unusable(self.home.root, error)) from error
        return True

    def all(self) -> list[Status]:
        """Every loop, newest first, times as of now."""
        if not self._is_there():
            return []
        return [self._at_this_moment(status) for status in self.ledger.statuses()]

    def status(self, loop: str) -> Status:
        """One loop as it is now. Raises Usage when it is gone."""
        status = self.ledger.status(loop) if self._is_there() else None
        if status is None:
            raise Usage(f"No loop {loop}. `beatctl list` shows them.")
        return self._at_this_moment(status)

    def _at_this_moment(self, status: Status) -> Status:
        """Time goes on, and a run that waits for its turn is known here alone: its loop's workflow has let it go."""
        if status.state != "running":
            return as_of_now(status)
        from beatctl.activities.doing import told

        return in_line(as_of_now(status), told(self.folder(status.id).now))

    def find(self, word: str | None, directory: Path | None = None) -> Status:
        """The loop a command means. Raises Usage; Elsewhere where it is another host's."""
        known = self.all()
        try:
            return find(known, word, directory or _here(word))
        except NoSuchLoop:
            from beatctl.cli import elsewhere

            elsewhere.refuse_here(self, word or "")
            raise

    def named(self, word: str | None, verb: str, directory: Path | None = None) -> Status:
        """As `find`, for what must never be a guess. Raises Usage with the candidates."""
        if word is not None:
            return self.find(word)
        raise Usage(_which(self.all(), verb, directory or _here()))

    def folder(self, loop: str) -> LoopFolder:
        return self.home.loop(loop)

    def rows(self, loop: str, after: int = -1) -> list[Row]:
        return self.ledger.rows(loop, after=after)

    def rows_by_number(self, loop: str) -> RowsByNumber:
        return RowsByNumber(self.ledger, loop)

    def is_live(self, loop: str) -> bool:
        """Whether the loop still owns its folder."""
        status = self.ledger.status(loop)
        return status is not None and status.state != "finished"


class RowsByNumber(Mapping[int, "Row"]):
    """A loop's rows by iteration, newest first, each read when it is asked for: a loop may have thousands."""

    def __init__(self, ledger: Ledger, loop: str) -> None:
        self._ledger = ledger
        self._loop = loop
        self._read: dict[int, Row | None] = {}

    def __getitem__(self, number: int) -> Row:
        if number not in self._read:
            self._read[number] = self._ledger.row(self._loop, number)
        row = self._read[number]
        if row is None:
            raise KeyError(number)
        return row

    def __iter__(self) -> Iterator[int]:
        return iter(self._ledger.numbers(self._loop))

    def __len__(self) -> int:
        return len(self._ledger.numbers(self._loop))


def as_of_now(status: Status) -> Status:
    """`elapsed_s` counted up to now for a loop that has not ended."""
    if status.state == "finished" or not status.started_at:
        return status
    started = datetime.fromisoformat(status.started_at).timestamp()
    # The clock may have been set back since.
    elapsed = max(status.elapsed_s, time.time() - started - status.idle_s)
    return status.model_copy(update={"elapsed_s": round(elapsed, 3)})


def in_line(status: Status, note: Doing | None) -> Status:
    """The status of a loop that runs, as `waiting` where its note says that it waits for its turn."""
    if note is None or not note.waiting:
        return status
    what = note.what if note.iteration == 0 else f"#{note.iteration} {note.what}"
    return status.model_copy(update={"state": "waiting", "reason": TURN, "now": f"{what}: {note.waiting}"})


def find(loops: Sequence[Status], word: str | None, directory: Path) -> Status:
    """The loop `word` names in full or by its beginning; without a word, the unfinished loop of the folder `directory`
    lies in, else that folder's newest. `loops` are newest first. Raises Usage."""
    if word is not None:
        return _by_id(loops, word)
    here = in_folder(loops, directory)
    if here:
        return next((loop for loop in here if loop.state != "finished"), here[0])
    if not loops:
        raise Usage('No loops yet. Start one: beatctl start "fix the failing test" --until "npm test"')
    raise Usage(f"No loop in {directory}. Name one:\n{candidates(loops)}")


def _by_id(loops: Sequence[Status], word: str) -> Status:
    exact = [loop for loop in loops if loop.id == word]
    found = exact or [loop for loop in loops if word and loop.id.startswith(word.lower())]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NoSuchLoop(
            f'No loop "{word}".' + (f" There are:\n{candidates(loops)}" if loops else " There are none yet.")
        )
    raise Usage(f'"{word}" could be any of these loops:\n{candidates(found)}')


def in_folder(loops: Sequence[Status], directory: Path) -> list[Status]:
    """The loops whose folder is, or contains, `directory`; the innermost folder's only.

    A loop with a worktree of its own is also one of the folder that was made from.
    """
    here = Path(os.path.realpath(directory))
    found = [
        (len(root.parts), loop) for loop in loops for root in _started_in(loop) if root == here or root in here.parents
    ]
    innermost = max((depth for depth, _ in found), default=0)
    return [loop for depth, loop in found if depth == innermost]


def in_the_way(loops: Sequence[Status], root: Path) -> Status | None:
    """An unfinished loop that uses the folder `root`, one inside it or one around it."""
    here = Path(os.path.realpath(root))
    for loop in loops:
        theirs = _root(loop)
        if loop.state != "finished" and (theirs == here or theirs in here.parents or here in theirs.parents):
            return loop
    return None


def folder_in_use(loop: str) -> Usage:
    return Usage(f"Loop {loop} is using this folder: beatctl watch {loop}, or add --worktree.")


def candidates(loops: Sequence[Status], most: int = 8) -> str:
    """A line a loop, for a person to choose from."""
    lines = [f"  {loop.id}  {loop.outcome or loop.state:<9}  {_short(loop.goal)}" for loop in loops[:most]]
    if len(loops) > most:
        lines.append(f"  … and {len(loops) - most} more: beatctl list")
    return "\n".join(lines)


def _which(loops: Sequence[Status], verb: str, directory: Path) -> str:
    going = [loop for loop in loops if loop.state != "finished"]
    here = in_folder(going, directory)
    choose = here or going
    if not choose:
        return f"There is no loop to {verb}" + (": all have ended." if loops else ".")
    return f"Which loop? {verb} never guesses: beatctl {verb} {choose[0].id}\n{candidates(choose)}"


def _started_in(loop: Status) -> list[Path]:
    """The folders whose loop it is: its own, and for one with a worktree of its own the one that was made from."""
    return [_root(loop), *([Path(os.path.realpath(loop.origin))] if loop.origin else [])]


def _root(loop: Status) -> Path:
    return Path(os.path.realpath(loop.worktree or loop.directory))


def _short(goal: str, most: int = 60) -> str:
    line = " ".join(goal.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def new_id(taken: set[str]) -> str:
    """A short id that starts with a letter, is not taken and begins like no other's whole id."""
    import random  # here: a tenth of what `--help` may take

    chance = random.SystemRandom()
    for length in (4, 4, 4, 4, 4, 4, 4, 4, 5, 6, 8):
        found = chance.choice(_LETTERS) + "".join(chance.choice(_CHARACTERS) for _ in range(length - 1))
        if found not in taken:
            return found
    raise Unavailable("No free loop id was found; try again.")


def wanted_id(environ: Mapping[str, str]) -> str | None:
    """The id that a new loop shall have, where a worker starts it. Raises Usage."""
    import re

    wanted = environ.get("BEATCTL_LOOP_ID")
    if wanted and not re.fullmatch(r"[a-z][a-z0-9-]{1,59}", wanted):
        raise Usage(f'"{wanted}" can be no loop\'s id: small letters, digits and dashes, a letter first.')
    return wanted or None


class Taken(Usage):
    """Another loop has the id."""


def taken(loop: str) -> Taken:
    """For an id that another loop has."""
    from beatctl.activities.launching import taken_words

    return Taken(taken_words(loop))


def _here(word: str | None = None) -> Path:
    """Where the user stands. Raises Usage where that is gone and a loop was not named by `word`."""
    try:
        return Path.cwd()
    except OSError:
        if word is not None:
            return Path("/")
        raise Usage("The folder you are in is gone: change to another, or name the loop (beatctl list).") from None
