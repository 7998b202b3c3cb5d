"""The messages of the commits that `apply` makes: what the agent said, and the score as trailers."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from beatctl.cli import render
from beatctl.cli.cells import cut
from beatctl.cli.output import visible

if TYPE_CHECKING:
    from beatctl.activities.records import Row, Status

_SUBJECT = 72
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(`])")


def subject(row: Row, status: Status) -> str:
    """An experiment in a line: the first sentence of what the agent said, cut where it is long."""
    words = _said(row)
    return _first(words) if words else f"Experiment {row.iteration} of loop {status.id}"


def _first(words: str) -> str:
    return cut(_SENTENCE.split(words, maxsplit=1)[0].removesuffix("."), _SUBJECT)


def _said(row: Row) -> str:
    return visible(row.summary).strip(" #*-`>")


def of_one(row: Row, status: Status, template: str | None) -> str:
    """One experiment's message. In a template {n}, {summary} and {score} are filled in."""
    body = [filled(template, row, status) if template else subject(row, status)]
    rest = _rest(row)
    if rest and not template:
        body.append(rest)
    return "\n\n".join([*body, _trailers(status, [row])]) + "\n"


def of_all(rows: Sequence[Row], status: Status, template: str | None) -> str:
    """The message of one commit for several experiments."""
    if len(rows) == 1:
        return of_one(rows[0], status, template)
    head = filled(template, rows[-1], status) if template else cut(visible(status.goal), _SUBJECT)
    lines = [f"- #{row.iteration} {_scored(row)}{subject(row, status)}" for row in rows]
    return "\n\n".join([head, "\n".join(lines), _trailers(status, rows)]) + "\n"


def filled(template: str, row: Row, status: Status) -> str:
    """The user's words, with this experiment's in their places."""
    score = render.score(row.score) if row.score is not None else ""
    for name, value in (("{n}", str(row.iteration)), ("{score}", score), ("{summary}", subject(row, status))):
        template = template.replace(name, value)
    return template.strip()


def _rest(row: Row) -> str:
    """All that the agent said, where that is more than the first line."""
    words = _said(row)
    return textwrap.fill(words, 76, break_long_words=False) if words.removesuffix(".") != _first(words) else ""


def _scored(row: Row) -> str:
    return f"({render.score(row.score)}) " if row.score is not None else ""


def _trailers(status: Status, rows: Sequence[Row]) -> str:
    lines = [f"Beatctl-Loop: {status.id}", *(f"Beatctl-Iteration: {row.iteration}" for row in rows)]
    if rows[-1].score is not None:
        lines.append(f"Beatctl-Score: {rows[-1].score!r}")
    if status.baseline is not None and status.baseline.score is not None:
        lines.append(f"Beatctl-Baseline: {status.baseline.score!r}")
    return "\n".join(lines)
