"""What a prompt tells of the past, within its budget: the user's notes, the end of the last output, experiments. Pure.

Each part's room, headings included, comes out of one budget: notes may take half of it, the output a quarter, and the
experiments whatever is left. What is left out is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from beatctl.activities.figures import number
from beatctl.activities.records import Experiment

DEFAULT_BUDGET = 4000
"""Tokens."""
BUDGETS = range(250, 200_001)
_CHARACTERS = 4
"""Of a token, about: no two models count alike."""
_LINE = 100
"""Characters of an experiment's line, about."""
_SUMMARY = 160
_LEFT_OUT = 40
"""Room for saying how many were left out."""
_GAP = 2
"""Between sections."""
NOTES_HEAD = "## Notes from the user, newest last\nWhere two contradict each other, the later one holds.\n"
NEW_NOTES_HEAD = "## New notes from the user, newest last\n"
OUTPUT_HEAD = "## The end of the last evaluator output\n"


def most_rows(budget: int) -> int:
    """How many of the newest experiments, and how many older kept ones, are worth reading for a budget in tokens."""
    return max(20, budget * _CHARACTERS // _LINE)


@dataclass(frozen=True)
class Heads:
    """The headings of the sections."""

    notes: str
    output: str
    experiments: str


@dataclass(frozen=True)
class Told:
    """What fits of the past."""

    notes: list[str]
    """Oldest first; the newest may be cut."""
    output: str
    experiments: list[Experiment]
    """Newest first."""
    left_out: int
    """Experiments."""
    sections: dict[str, str]
    """`notes`, `output` and `experiments` as text, with their headings; those with nothing to tell are not there."""


def told(
    rows: Sequence[Experiment],
    output: str,
    notes: Sequence[str],
    *,
    budget: int,
    heads: Heads,
    total: int,
    whole: bool = False,
) -> Told:
    """What of it fits into `budget` tokens. `rows` newest first, with gaps where they are not all; `total`: how many
    there are; `whole`: what an agent said is told at length."""
    room = budget * _CHARACTERS
    sections: dict[str, str] = {}
    fitting, notes_text = _fitting_notes(notes, heads.notes, room // 2)
    if notes_text:
        sections["notes"] = notes_text
    end = _fitting_output(output, room // 4 - len(heads.output) - len("```\n\n```") - _GAP)
    if end:
        sections["output"] = f"{heads.output}```\n{end}\n```"
    used = sum(len(text) + _GAP for text in sections.values())
    chosen, tried = _fitting_experiments(rows, total, room - used - len(heads.experiments) - _GAP, whole=whole)
    if tried:
        sections["experiments"] = heads.experiments + tried
    return Told(fitting, end, chosen, max(0, total - len(chosen)), sections)


def _fitting_notes(notes: Sequence[str], head: str, room: int) -> tuple[list[str], str]:
    """The newest notes that fit, the very newest cut where it does not; with the text."""
    if not notes:
        return [], ""
    left = room - len(head) - _GAP
    found: list[str] = []
    lines: list[str] = []
    for note in reversed(notes):
        line = "- " + note.strip().replace("\n", "\n  ")
        more = _LEFT_OUT if len(found) + 1 < len(notes) else 0
        if len(line) + 1 + more > left:
            if not found:
                line = line[: max(4, left - more - 2)] + "…"
                found.append(line[2:])
                lines.append(line)
            break
        left -= len(line) + 1
        found.append(note)
        lines.append(line)
    if len(found) < len(notes):
        lines.append(f"({len(notes) - len(found)} older ones left out)")
    return found[::-1], head + "\n".join(reversed(lines))


def _fitting_output(output: str, room: int) -> str:
    text = output.strip()
    return text[-room:] if room > 0 else ""


def _fitting_experiments(
    rows: Sequence[Experiment], total: int, room: int, *, whole: bool
) -> tuple[list[Experiment], str]:
    """All of them; else the newest, then those that were kept, then the others, each newest first, while they fit."""
    if not rows or room <= _LEFT_OUT:
        return [], ""
    lines = {row.iteration: experiment_line(row, whole=whole) for row in rows}
    if total <= len(rows) and sum(len(line) + 1 for line in lines.values()) <= room:
        return list(rows), "\n".join(lines.values())
    left = room - _LEFT_OUT
    newest, *others = rows
    if len(lines[newest.iteration]) + 1 > left:
        lines[newest.iteration] = lines[newest.iteration][: left - 2] + "…"
    left -= len(lines[newest.iteration]) + 1
    chosen = {newest.iteration}
    for is_kept in (True, False):
        for row in others:
            if _is_kept(row) is not is_kept:
                continue
            if len(lines[row.iteration]) + 1 > left:
                break
            left -= len(lines[row.iteration]) + 1
            chosen.add(row.iteration)
    found = [row for row in rows if row.iteration in chosen]
    missing = total - len(found)
    text = "\n".join(lines[row.iteration] for row in found)
    if missing:
        in_a_row = found[0].iteration - found[-1].iteration == len(found) - 1
        text += f"\n… and {missing} {'older ones' if in_a_row else 'others left out'}."
    return found, text


def _is_kept(row: Experiment) -> bool:
    return row.verdict in ("keep", "pass")


def experiment_line(row: Experiment, *, whole: bool = False) -> str:
    """One experiment in one line; `whole`: with all that the agent said."""
    words = " ".join((row.summary or "").split())
    if not whole and len(words) > _SUMMARY:
        words = words[: _SUMMARY - 1] + "…"
    why = " ".join((row.reason or "").split())[:_SUMMARY]
    if row.repeat_of is not None and row.repeat_of != row.parent:
        same = f"the same change as #{row.repeat_of}" if row.repeat_of else "the same files as the baseline"
        why = f"{same}; {why}" if why else same
    score = "" if row.score is None else f" {number(row.score)}"
    return f"#{row.iteration} {row.verdict}{score}" + (f" ({why})" if why else "") + (f": {words}" if words else "")
