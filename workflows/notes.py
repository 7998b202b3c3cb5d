"""Notes: what the user tells the agent on the way. A note is in every prompt from the next one on, until cleared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beatctl.activities.notes import MOST_NOTES
from beatctl.activities.records import Note, timestamp
from beatctl.workflows.state import LoopState

if TYPE_CHECKING:
    from beatctl.workflows.iteration import Experiment, Loop


def add(state: LoopState, text: str, now: float) -> bool:
    """Take a note. False for one too many, which the command has refused before: this is the net below it."""
    if not text.strip() or len(state.notes) >= MOST_NOTES:
        return False
    state.notes.append(Note(text=text.strip(), at=timestamp(now)))
    state.notes_kept = False
    return True


def clear(state: LoopState) -> bool:
    """Forget every note. False where there is none."""
    there = bool(state.notes)
    state.notes = []
    for session in state.sessions:
        session.notes_taken_back = session.notes_taken_back or session.notes > 0
        session.notes = 0
    return there


async def hand_out(loop: Loop, it: Experiment) -> list[Note]:
    """Put the notes where the next prompt is made. Returns those that no prompt has carried before."""
    state = loop.state
    while not state.notes_kept:
        state.notes_kept = True
        await loop.calls.keep_notes([note.text for note in state.notes])
    new = [note for note in state.notes if note.iteration is None]
    for note in new:
        note.iteration = it.number
        it.notes.append(note.text)
    if new:
        loop.changed()
    return new


def take_back(it: Experiment, new: list[Note]) -> None:
    """The agent was not run: its notes are still to be sent."""
    for note in new:
        note.iteration = None
        it.notes.remove(note.text)
