"""The versions of the ledger's file, and the way from each to the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from beatctl import __version__


def _first_tables(db: sqlite3.Connection, home: Path) -> None:
    """From 0, which is an empty file, or one with these tables that was written before ledgers had a version."""
    db.execute(
        "create table if not exists rows "
        "(loop text not null, iteration integer not null, row text not null, primary key (loop, iteration)) "
        "without rowid"
    )
    db.execute(
        "create table if not exists loops "
        "(loop text primary key, started real not null, version integer not null, status text not null, "
        "spec text not null)"
    )


def _runs_files_beside_each_other(db: sqlite3.Connection, home: Path) -> None:
    from beatctl.activities.old_runs import flatten  # here: once in a home's life

    flatten(home / "loops")


TREE = "json_extract(row, '$.tree')"
KEPT = "json_extract(row, '$.verdict') in ('keep', 'pass')"
"""As queries have to write them too, for the indexes below to be used; they name the index, or SQLite takes the key."""


def _indexes_for_prompts(db: sqlite3.Connection, home: Path) -> None:
    db.execute(f"create index if not exists rows_by_tree on rows (loop, {TREE}, iteration)")
    db.execute(f"create index if not exists rows_kept on rows (loop, iteration) where {KEPT}")


Migration = Callable[[sqlite3.Connection, Path], None]

_MIGRATIONS: list[Migration] = [_first_tables, _runs_files_beside_each_other, _indexes_for_prompts]
"""Each takes the ledger, and what its version vouches for of the home it lies in, from the version that is its place in
this list to the next. What it does to files may be cut short at any moment, and is repeated then.

Nothing is ever taken out or changed here. The worker of the version before may go on writing into its open ledger until
it is replaced: columns are added with a default, none is removed or renamed.
"""


class NewerLedger(sqlite3.DatabaseError):
    """The ledger was written by a newer beatctl. Its text is for the person."""


def missing_migrations(db: sqlite3.Connection, path: Path) -> list[Migration]:
    """Those that this ledger has not had. Raises NewerLedger."""
    found, known = int(db.execute("pragma user_version").fetchone()[0]), len(_MIGRATIONS)
    if found > known:
        raise NewerLedger(
            f"The ledger {path} was written by a newer beatctl (ledger version {found}; beatctl {__version__} knows "
            f"{known}): use that one, or name another folder in BEATCTL_HOME. Is it the worker that is older? "
            "beatctl down, then beatctl up -d, replaces it."
        )
    return _MIGRATIONS[found:]


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring the ledger up to date, wholly or not at all."""
    db.execute("begin immediate")
    try:
        for migration in missing_migrations(db, path):  # none where another process has just done it
            migration(db, path.parent)
        db.execute(f"pragma user_version = {len(_MIGRATIONS)}")
    except BaseException:
        db.execute("rollback")
        raise
    db.execute("commit")
