"""Which experiments a loop's result is made of: pure functions from ledger rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beatctl.activities.records import Row, Status

_UNJUDGED = "before it was judged"


def is_edits(row: Row) -> bool:
    """Whether a row holds the user's own edits: no agent ran."""
    return row.iteration > 0 and row.agent is None and row.summary.startswith("your edits")


def lineage(rows: Mapping[int, Row], last: int) -> list[Row]:
    """The rows that lead from the baseline to `last`, oldest first, without the baseline."""
    found: list[Row] = []
    row = rows.get(last)
    while row is not None and row.iteration > 0 and row.parent is not None:
        found.append(row)
        row = rows.get(row.parent) if row.parent < row.iteration else None
    return found[::-1]


def result_of(status: Status, rows: Mapping[int, Row], *, reverts: bool) -> int:
    """The row whose snapshot is the loop's result: the best, or where none passed the last try (0 when they are put
    back, `reverts`)."""
    if status.best is not None:
        return status.best.iteration
    if status.strategy == "optimize" or reverts:
        return 0
    return next((number for number in sorted(rows, reverse=True) if _is_a_try(rows[number])), 0)


def _is_a_try(row: Row) -> bool:
    return bool(row.snapshot) and _UNJUDGED not in (row.reason or "")


def kept(status: Status, rows: Mapping[int, Row]) -> list[list[Row]]:
    """The experiments a loop keeps, each as the rows its commit is made of; the last of them names it.

    Optimize: one a keep. Retry: all tries that what passed rests on, as one.
    """
    if status.best is None:
        return []
    ours = [row for row in lineage(rows, status.best.iteration) if not is_edits(row)]
    if status.strategy == "optimize":
        return [[row] for row in ours]
    return [ours] if ours else []


def links(rows: Mapping[int, Row], chosen: Sequence[Row]) -> list[tuple[int, str, str]]:
    """Number, snapshot before and snapshot after, of each row that has both."""
    found = []
    for row in chosen:
        parent = rows.get(row.parent) if row.parent is not None else None
        if parent is not None and parent.snapshot and row.snapshot:
            found.append((row.iteration, parent.snapshot, row.snapshot))
    return found
