"""The messages of the commits that `apply` makes: what the agent said, and the score as trailers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from beatctl.cli import render
from beatctl.cli.cells import cut
from beatctl.cli.output import visible

if TYPE_CHECKING:
    from beatctl.activities.ledger import Row, Status

_SUBJECT = 72


def subject(row: Row, status: Status) -> str:
    """An experiment in a line, from what the agent said."""
    first = next((line for line in row.summary.splitlines() if line.strip(" #*-`>")), "")
    words = visible(first).strip(" #*-`>")
    return cut(words, _SUBJECT) if words else f"Experiment {row.iteration} of loop {status.id}"


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
    """What the agent said beyond the first line."""
    said = row.summary.strip()
    lines = [visible(line).rstrip() for line in said.splitlines()]
    if len(lines) < 2 and len(said) <= _SUBJECT:
        return ""
    return "\n".join(lines if len(lines[0]) > _SUBJECT else lines[1:]).strip()


def _scored(row: Row) -> str:
    return f"({render.score(row.score)}) " if row.score is not None else ""


def _trailers(status: Status, rows: Sequence[Row]) -> str:
    lines = [f"Beatctl-Loop: {status.id}", *(f"Beatctl-Iteration: {row.iteration}" for row in rows)]
    if rows[-1].score is not None:
        lines.append(f"Beatctl-Score: {rows[-1].score!r}")
    if status.baseline is not None and status.baseline.score is not None:
        lines.append(f"Beatctl-Baseline: {status.baseline.score!r}")
    return "\n".join(lines)
