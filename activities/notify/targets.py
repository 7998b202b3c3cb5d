"""Where a loop's notifications go. The addresses hold secrets: they lie in the loop's private folder only."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from beatctl.activities.notify.happened import Event
from beatctl.activities.processes import save_private


class Targets(BaseModel):
    """Addresses for apprise, and a command."""

    urls: list[str] = []
    command: str | None = None
    """For `sh -c`."""
    directory: str | None = None
    """Where the command runs."""
    environment: dict[str, str] = {}
    """Of the shell that started the loop, for the command: the loop's own copy is gone by its last message."""
    on: list[Event] | None = None
    """What is told, as the user said last, where no server knows the loop any more; None: as it was started with."""


def keep(place: Path, targets: Targets) -> None:
    """Write them for the loop: private to the user, whole or not there."""
    save_private(place, targets.model_dump())


def kept(place: Path) -> Targets | None:
    """None where there are none (any more)."""
    try:
        return Targets.model_validate(json.loads(place.read_bytes()))
    except (OSError, ValueError):
        return None
