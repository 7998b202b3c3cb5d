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
    """What a loop's child is doing at this moment, for `status` and `logs`."""

    what: str
    iteration: int
    since: float
    run: str
    """Its path, see run_files.py."""


def tell(place: Path, what: str, iteration: int, run: Path) -> None:
    """Note what is about to run, for whoever looks. Never in the way of the run itself.

    Written in place, over the note before: a rename would cost more than all else here, and a torn note is none.
    """
    text = json.dumps({"what": what, "iteration": iteration, "since": time.time(), "run": str(run)})
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
        return Doing(str(found["what"]), int(found["iteration"]), float(found["since"]), str(found["run"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
