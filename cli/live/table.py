"""The live view of every loop: a pure function to lines of styled text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from beatctl.cli import render
from beatctl.cli.cells import cells as width_of
from beatctl.cli.cells import pad
from beatctl.cli.live.frame import STATES, Look, bottom
from beatctl.cli.live.styled import Text, cut, plain
from beatctl.cli.units import in_words

if TYPE_CHECKING:
    from beatctl.activities.records import Status
    from beatctl.cli.live.seen import Running

_WIDE = 110
_RIGHT = ("ITER", "BEST", "CHANGE", "ELAPSED")


def table(loops: Sequence[Status], running: Mapping[str, Running], look: Look, now: float) -> list[Text]:
    """Unfinished loops first, then the newest, on at most `look.lines` lines. `running`: by loop, what runs."""
    columns, room = max(1, look.columns), max(1, look.lines)
    ordered = sorted(loops, key=lambda loop: loop.state == "finished")
    below = bottom(look, columns) if room > 3 else []
    notices = [Text.assemble(" ", (plain(notice), "yellow")) for notice in look.notices][: max(0, room - 4)]
    shown = ordered[: max(1, room - 1 - len(below) - len(notices))]
    if len(shown) < len(ordered) and len(shown) > 1:
        shown.pop()
        notices.append(Text(f" and {len(ordered) - len(shown)} more: beatctl list --all", "dim"))
    if not loops:
        notices.append(Text(" No loops yet."))
    lines = _lines(shown, running, columns, now) if shown else []
    return [cut(line, columns) for line in [*lines, *notices, *below]][:room]


def _lines(loops: Sequence[Status], running: Mapping[str, Running], columns: int, now: float) -> list[Text]:
    cells = [_cells(loop, running.get(loop.id), now, wide=columns >= _WIDE) for loop in loops]
    names = list(cells[0])
    widths = {name: max(width_of(name), *(width_of(row[name]) for row in cells)) for name in names[:-1]}
    # A narrow terminal keeps what a person looks for first; the goal has what is left, and that is something.
    for name in ("ELAPSED", "CHANGE", "BEST", "ITER", "NOW"):
        if sum(widths.values()) + 2 * len(widths) + 13 > columns:
            widths.pop(name, None)
    header = Text(" ")
    for name, width in widths.items():
        header.append(f"{pad(name, width, right=name in _RIGHT)}  ")
    header.append(names[-1])
    header.stylize("dim")
    lines = [header]
    for row in cells:
        line = Text(" ")
        for name, width in widths.items():
            style = "bold" if name == "ID" else STATES.get(row[name], "") if name == "STATE" else ""
            line.append(pad(row[name], width, right=name in _RIGHT), style)
            line.append("  ")
        line.append(row[names[-1]])
        lines.append(line)
    return lines


def _cells(loop: Status, child: Running | None, now: float, *, wide: bool) -> dict[str, str]:
    scored = loop.strategy == "optimize" and loop.best is not None
    most = render.last_allowed(loop)
    change = ""
    if scored and loop.best and loop.baseline and loop.best.iteration != loop.baseline.iteration:
        change = render.change(loop.best.score, loop.baseline.score)
    number = max(loop.iteration, child.iteration if child else 0)
    cells = {
        "ID": loop.id,
        "STATE": render.state_word(loop),
        "ITER": f"{number}{f'/{most}' if most else ''}",
        "BEST": render.score(loop.best.score) if scored and loop.best else "-",
        "CHANGE": change,
        "ELAPSED": in_words(int(loop.elapsed_s)),
    }
    if wide:
        took = f" {in_words(int(max(0.0, now - child.since)))}" if child else ""
        waits = "its turn" if loop.reason == "turn" else loop.reason or ""
        cells["NOW"] = f"{plain(child.what)}{took}" if child else waits
    return {**cells, "GOAL": plain(loop.goal)}
