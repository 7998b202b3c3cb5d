"""Which snapshots of a loop that has ended may go. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from beatctl.cli.lineage import is_edits, lineage, result_of

if TYPE_CHECKING:
    from beatctl.activities.records import Row, Status

_OF_ROW = re.compile(r"(?:agent/)?([0-9]+)(?:[-/].*)?")
_OF_DRY_RUN = re.compile(r"(?:agent/)?0(?:[-/].*)?")


def kept_rows(status: Status, rows: Mapping[int, Row], *, reverts: bool) -> set[int]:
    """The rows whose snapshots stay: the baseline, all that lead to the result, and the user's own edits.

    With these `diff`, `apply`, `undo` and `resume` do what they did before.
    """
    ends = {result_of(status, rows, reverts=reverts)}
    ends |= {mark.iteration for mark in (status.best, status.base) if mark is not None}
    leading = {row.iteration for end in ends for row in lineage(rows, end)}
    return {0} | ends | leading | {row.iteration for row in rows.values() if is_edits(row)}


def may_go(end: str, kept: set[int], rows: Mapping[int, Row]) -> bool:
    """Whether the ref with this end (`12`, `12-step1`, `12-left`, `agent/12/heads/x`) is of an experiment not kept.

    What is of no row stays: what an undo put aside, say.
    """
    found = _OF_ROW.fullmatch(end)
    return found is not None and int(found[1]) in rows and int(found[1]) not in kept


def may_go_of_dry_run(end: str) -> bool:
    """The same for a dry run that was killed: what it found changed and put aside stays."""
    return _OF_DRY_RUN.fullmatch(end) is not None
