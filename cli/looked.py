"""What the user saw when last looking, in a small file of the home folder. It may be missing, torn or of another
version at any time: then nothing was seen. Two who look at once both see what is new."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beatctl.activities.home import Home
    from beatctl.activities.records import Status


@dataclass(frozen=True)
class Seen:
    """A loop as it was shown."""

    iteration: int
    state: str
    reason: str | None
    best: int | None
    """The best's iteration."""

    @classmethod
    def of(cls, loop: Status) -> Seen:
        return cls(loop.iteration, loop.state, loop.reason, loop.best.iteration if loop.best else None)


@dataclass(frozen=True)
class Looked:
    """When the user last looked (unix seconds; None: never), and at what."""

    at: float | None = None
    loops: dict[str, Seen] = field(default_factory=dict)


def read(home: Home) -> Looked:
    """What was seen last."""
    try:
        found = json.loads(_file(home).read_text(encoding="utf-8"))
        loops = {str(loop): _seen(seen) for loop, seen in found["loops"].items()}
        return Looked(float(found["at"]), loops)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Looked()


def _seen(found: Any) -> Seen:
    iteration, state, reason, best = found
    return Seen(
        int(iteration), str(state), None if reason is None else str(reason), None if best is None else int(best)
    )


def note(home: Home, loops: Iterable[Status]) -> None:
    """Remember these loops as seen. Where that can't be written they are shown again."""
    seen = {loop.id: Seen.of(loop) for loop in loops}
    text = json.dumps(
        {
            "at": time.time(),
            "loops": {loop: [one.iteration, one.state, one.reason, one.best] for loop, one in seen.items()},
        }
    )
    draft = _file(home).with_name(f".looked.{os.getpid()}")
    with contextlib.suppress(OSError):
        try:
            draft.write_text(text, encoding="utf-8")
            draft.replace(_file(home))
        finally:
            draft.unlink(missing_ok=True)


def _file(home: Home) -> Path:
    return home.root / "looked.json"
