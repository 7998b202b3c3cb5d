"""The user's notes in the loop's folder, where prompts are made: each run's history would repeat them."""

from __future__ import annotations

import json

from pydantic import BaseModel

from beatctl.activities.home import Home, LoopFolder
from beatctl.activities.snapshot_workspace import told_as_problem
from beatctl.activities.tickets import Ticket

MOST_NOTES = 20
MOST_BYTES = 4096
"""Of one note."""


class NotesInput(BaseModel):
    loop: str
    notes: list[str]
    """All of them, oldest first."""
    ticket: Ticket | None = None


def keep_notes(home: Home, given: NotesInput) -> None:
    """Write the notes for the prompts that follow."""
    place = home.loop(given.loop).notes
    with told_as_problem():
        draft = place.with_suffix(".part")
        draft.write_text(json.dumps(given.notes), encoding="utf-8")
        draft.replace(place)


def kept_notes(loop: LoopFolder, count: int) -> list[str]:
    """The first `count` notes, oldest first."""
    return [str(note) for note in json.loads(loop.notes.read_bytes())][:count] if count else []
