"""The ledger finds what was tried before, and what was kept, also in a file that an older version wrote."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from beatctl.activities import ledger_versions
from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Row, Status

VERDICTS = {"a": "keep", "b": "discard", "z": "discard"}


def row(iteration: int, tree: str, verdict: str = "discard") -> Row:
    return Row.model_validate(
        {
            "iteration": iteration,
            "verdict": verdict,
            "tree": tree,
            "started_at": "2026-01-01T00:00:00Z",
            "duration_s": 1,
        }
    )


def test_the_earliest_experiment_with_the_same_files_is_found_after_an_upgrade(place: Path) -> None:
    path = place / "ledger.db"
    older = sqlite3.connect(path)
    for migration in ledger_versions._MIGRATIONS[:2]:
        migration(older, place)
    older.execute("pragma user_version = 2")
    old = row(4, "old").model_dump_json(exclude={"tree", "repeat_of"})
    older.execute("insert into rows (loop, iteration, row) values ('k3f9', 4, ?)", (old,))
    older.commit()
    older.close()
    ledger = Ledger(path)
    for loop, numbers in {"k3f9": {5: "a", 6: "b", 7: "a", 9: "b"}, "other": {1: "b", 2: "z"}}.items():
        status = Status(id=loop, goal="x", strategy="optimize", state="running", directory="/w")
        ledger.write(status, *(row(number, tree, VERDICTS[tree]) for number, tree in numbers.items()))
    assert [ledger.first_with("k3f9", tree, before=9) for tree in ("a", "b", "old", "z")] == [5, 6, None, None]
    assert ledger.first_with("k3f9", "a", before=5) is None
    assert [found.iteration for found in ledger.kept_experiments("k3f9", before=9, newest=5)] == [7, 5]
    assert [found.iteration for found in ledger.kept_experiments("k3f9", before=7, newest=5)] == [5]
