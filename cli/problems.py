"""What can go wrong in words a person can act on. `entry` prints these as one line and exits with their code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beatctl.activities.records import Status

ENDED_WITHOUT = 1
USAGE = 2
ENVIRONMENT = 3
CANCELLED = 4
DETACHED = 130


class Problem(Exception):
    """Printed as it is, never as a traceback."""

    exit_code = ENDED_WITHOUT

    def __init__(self, text: str, *, help_of: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.help_of = help_of
        """The command whose help answers the question, as typed: `start`."""


class Usage(Problem):
    """What was typed can't be done. Nothing was started, nothing was changed."""

    exit_code = USAGE


class Unavailable(Problem):
    """What beatctl needs is not there: an agent, a server, a home folder that can be written."""

    exit_code = ENVIRONMENT


class Elsewhere(Problem):
    """The loop that was meant is on another host; `app` runs the command there. Where that can't be, this is told."""

    def __init__(self, loop: Status, word: str) -> None:
        super().__init__(f"Loop {loop.id} is on host {loop.host}, and this is another.")
        self.loop = loop
        self.word = word
        """How it was named."""
