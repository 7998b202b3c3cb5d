"""What a loop's child is doing at this moment: a note in the loop's folder, for whoever looks."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

_NOTE_BYTES = 1024


@dataclass(frozen=True)
class Doing:
    """What a loop's child is doing at this moment, or waits for."""

    what: str
    iteration: int
    since: float
    run: str
    """Its path, see run_files.py."""
    waiting: str = ""
    """Why it does not run yet; `since` is when its wait began then."""
    waited_s: float = 0.0
    """How long it has waited for its turn."""


def tell(
    place: Path,
    what: str,
    iteration: int,
    run: Path,
    *,
    since: float | None = None,
    waiting: str = "",
    waited_s: float = 0.0,
) -> None:
    """Note what is about to run, for whoever looks. Never in the way of the run itself.

    Written in place, over the note before: a rename would cost more than all else here, and a torn note is none.
    """
    note = {"what": what, "iteration": iteration, "since": time.time() if since is None else since, "run": str(run)}
    text = json.dumps({**note, "waiting": waiting, "waited_s": waited_s})
    with contextlib.suppress(OSError):
        handle = os.open(place, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(handle, text.ljust(_NOTE_BYTES).encode() + b"\n", 0)
        finally:
            os.close(handle)


def told(place: Path) -> Doing | None:
    """What was last noted, or None."""
    try:
        found = json.loads(place.read_bytes().partition(b"\n")[0])
        return Doing(
            str(found["what"]),
            int(found["iteration"]),
            float(found["since"]),
            str(found["run"]),
            str(found.get("waiting", "")),
            float(found.get("waited_s", 0.0)),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
