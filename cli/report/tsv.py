"""The ledger in the form autoresearch users know: commit, metric, status, description. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from beatctl.activities.records import Row
from beatctl.cli.output import visible

HEADER = "commit\tmetric\tstatus\tdescription"
_STATUS = {"baseline": "keep", "keep": "keep", "pass": "keep", "crash": "crash", "timeout": "crash"}


def lines(rows: Iterable[Row]) -> list[str]:
    """A header, and a line for each row. Whatever has no score has an empty metric."""
    return [HEADER, *(_line(row) for row in rows)]


def _line(row: Row) -> str:
    # A quote would make table readers take the lines that follow for one field.
    said = visible(row.summary or row.reason or ("baseline" if row.verdict == "baseline" else "")).replace('"', "'")
    return "\t".join(((row.snapshot or "")[:7], _exact(row.score), _STATUS.get(row.verdict, "discard"), said))


def _exact(score: float | None) -> str:
    if score is None:
        return ""
    return str(int(score)) if score == int(score) and abs(score) < 1e15 else repr(score)
