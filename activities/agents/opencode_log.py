"""The errors in opencode's log, which it prints on standard error: its events tell nothing of one that it sits out, and
of some only that there was one."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from beatctl.activities.agents.output import lines_with

_ERROR = re.compile(
    r"^timestamp=(\S+) level=ERROR .*?\bmessage=(?:\"stream error\"|failed|process)\s.*?"
    r"\berror(?:\.error)?=\"((?:[^\"\\]|\\.)*)"
)
_ASIDE = "small=true"
"""The model that gives a session its title."""


class Logged(NamedTuple):
    said: str
    at: float
    """Unix seconds."""


def last_error(stderr: Path) -> Logged | None:
    """The last error that the run's own model, or the start, met."""
    for line in reversed(lines_with(stderr, (b"level=error",))):
        found = _ERROR.match(line)
        if found is None or _ASIDE in line:
            continue
        said = re.sub(r"^\w*Error: ", "", found[2].replace("\\n", "\n").replace('\\"', '"').partition("\n")[0])
        with suppress(ValueError):
            return Logged(said, datetime.fromisoformat(found[1]).timestamp())
    return None
