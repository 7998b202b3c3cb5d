"""The diffs a page holds: read all at once, and cut so that the page stays small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from beatctl.activities.home import LoopFolder
from beatctl.activities.records import Row
from beatctl.activities.workspace import Workspace, WorkspaceProblem
from beatctl.cli.report.model import Report

KEPT_BYTES, KEPT_EACH = 800_000, 60_000
OTHER_BYTES, OTHER_EACH = 900_000, 16_000
_LEAST = 200


class Shown(NamedTuple):
    """A diff as the page shows it. `size`: bytes of the whole."""

    text: str
    size: int
    cut: bool


class Diffs(NamedTuple):
    """By iteration. `problem`: why there are none, in a sentence."""

    shown: dict[int, Shown]
    problem: str = ""


def collected(folder: LoopFolder, report: Report, rows: Sequence[Row]) -> Diffs:
    """What each experiment changed, as far as there is room. Never raises: a page without diffs is a page too."""
    known = {row.iteration: row for row in rows}
    pairs: dict[int, tuple[str, str]] = {}
    for row in rows:
        parent = known.get(row.parent) if row.parent is not None else None
        if parent is not None and parent.snapshot and row.snapshot:
            pairs[row.iteration] = (parent.snapshot, row.snapshot)
    if not pairs:
        return Diffs({})
    kept = {entry.iteration for entry in report.kept} | ({report.best.iteration} if report.best else set())
    try:
        workspace = Workspace.load(folder)
        found = workspace.diffs([pair for number, pair in pairs.items() if number not in kept], most=OTHER_EACH)
        found |= workspace.diffs([pair for number, pair in pairs.items() if number in kept], most=KEPT_EACH)
    except (WorkspaceProblem, OSError) as problem:
        return Diffs({}, f"The changes can't be shown: {problem}")
    texts = {
        number: Shown(readable(diff.text.decode("utf-8", "replace")), diff.size, len(diff.text) < diff.size)
        for number, pair in pairs.items()
        if (diff := found.get(pair)) and diff.size
    }
    if not texts and not any(pair in found for pair in pairs.values()):
        return Diffs({}, "The changes can't be shown: the snapshots are not in the repository any more.")
    first = {number: text for number, text in texts.items() if number in kept}
    others = {number: text for number, text in texts.items() if number not in kept}
    return Diffs(fitted(first, KEPT_BYTES, KEPT_EACH) | fitted(others, OTHER_BYTES, OTHER_EACH))


def readable(text: str) -> str:
    """Without what a page can't show: control characters and those that turn the direction of writing."""
    return "".join(c if c in "\n\t" or c.isprintable() else "" if c == "\r" else "\ufffd" for c in text)


def fitted(texts: Mapping[int, Shown], room: int, each: int) -> dict[int, Shown]:
    """As much of each text as there is room for: short ones whole, the longer ones cut alike, at a line's end."""
    found: dict[int, Shown] = {}
    left = room
    shortest_first = sorted(texts.items(), key=lambda item: (weight(item[1].text), item[0]))
    for place, (number, diff) in enumerate(shortest_first):
        share = min(each, left // (len(texts) - place))
        part = diff.text if weight(diff.text) <= share else _beginning(diff.text, share)
        left -= weight(part)
        found[number] = Shown(part, diff.size, diff.cut or len(part) < len(diff.text))
    return found


def weight(text: str) -> int:
    """About how many bytes a text takes in a page, where some characters are written as longer ones."""
    return len(text.encode("utf-8", "replace")) + 5 * sum(map(text.count, "<>&'\"\\")) + text.count("\n")


def _beginning(text: str, most: int) -> str:
    if most < _LEAST:
        return ""
    part = text[:most]
    while part and weight(part) > most:
        part = part[: int(len(part) * min(0.95, most / weight(part)))]
    return part[: part.rfind("\n") + 1]
