"""The ledger: every iteration of every loop, for ever, and each loop's latest status.

One SQLite file in the home folder. Rows are keyed by loop and iteration and written by upsert, so that an activity that
runs twice writes one row. It outlives the Temporal server's retention and is readable with no server running.

The file has a version, see ledger_versions.py. What lies in it as JSON (rows, statuses, specifications) has none: a new
field has a default, which old JSON gets. A field is renamed by adding the new one, with a
`model_validator(mode="before")` that takes its value from the old one's where only that is there; the old name is never
used for anything else. What cannot be said so is a migration that rewrites the JSON.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter

from beatctl.activities.ledger_versions import KEPT, TREE, migrate, missing_migrations
from beatctl.activities.records import Experiment, Row, Status

_ON = "coalesce(json_extract(status, '$.connection'), 'embedded') = ?"
"""SQL: the loop is on that server."""

_EXPERIMENTS = TypeAdapter(list[Experiment])


class Ledger:
    """The ledger of one home. One connection a thread; every call is a transaction of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
            missing = missing_migrations(connection, self._path)  # before anything is written into a newer one
            connection.execute("pragma journal_mode=wal")
            connection.execute("pragma synchronous=normal")
            if missing:
                migrate(connection, self._path)
            self._local.connection = connection
        return connection

    @contextmanager
    def _transaction(self, *, lasting: bool = False) -> Iterator[sqlite3.Connection]:
        """`lasting`: it outlives a power cut, and all that was written before it does."""
        connection = self._connection()
        connection.execute(f"pragma synchronous={'full' if lasting else 'normal'}")
        try:
            connection.execute("begin immediate")
            try:
                yield connection
                connection.execute("commit")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("rollback")
                raise
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path)) from error

    def add_loop(self, status: Status, spec: str, started: float) -> bool:
        """Record a new loop. False when the id is taken."""
        with self._transaction(lasting=True) as db:
            done = db.execute(
                "insert into loops (loop, started, version, status, spec) values (?, ?, ?, ?, ?) "
                "on conflict do nothing",
                (status.id, started, status.version, status.model_dump_json(), spec),
            )
            return done.rowcount == 1

    def replace(self, status: Status, known: int) -> bool:
        """Write a status that rests on the one of version `known`. False where it is another by now."""
        with self._transaction(lasting=True) as db:
            done = db.execute(
                "update loops set version = ?, status = ? where loop = ? and version = ?",
                (status.version, status.model_dump_json(), status.id, known),
            )
            return done.rowcount == 1

    def remove_loop(self, loop: str) -> None:
        """Forget a loop that never started."""
        with self._transaction() as db:
            db.execute("delete from loops where loop = ?", (loop,))
            db.execute("delete from rows where loop = ?", (loop,))

    def write(self, status: Status, *rows: Row, lasting: bool = False) -> int | None:
        """Upsert rows and the status they lead to, together; a status older than what is there is passed over: then the
        version that is there is returned.

        One that tells of more iterations is never the older: where the server has forgotten signals, it has counted
        fewer changes. `lasting`: on the disk itself when this returns, which takes it some milliseconds.
        """
        with self._transaction(lasting=lasting) as db:
            db.executemany(
                "insert into rows (loop, iteration, row) values (?, ?, ?) on conflict do update set row = excluded.row",
                [(status.id, row.iteration, row.model_dump_json()) for row in rows],
            )
            done = db.execute(
                "update loops set version = max(version, :version), "
                "status = json_set(:status, '$.version', max(version, :version)) where loop = :loop "
                "and (version <= :version or json_extract(status, '$.iteration') < :iteration)",
                {
                    "version": status.version,
                    "status": status.model_dump_json(),
                    "loop": status.id,
                    "iteration": status.iteration,
                },
            )
            if done.rowcount:
                return None
            there = db.execute("select version from loops where loop = ?", (status.id,)).fetchone()
            return None if there is None else int(there[0])

    def status(self, loop: str) -> Status | None:
        found = self._connection().execute("select status from loops where loop = ?", (loop,)).fetchone()
        return Status.model_validate_json(found[0]) if found else None

    def spec(self, loop: str) -> str | None:
        """The loop's specification, as the JSON it was started with."""
        found = self._connection().execute("select spec from loops where loop = ?", (loop,)).fetchone()
        return str(found[0]) if found else None

    def statuses(self) -> list[Status]:
        """Every loop, newest first."""
        found = self._connection().execute("select status from loops order by started desc").fetchall()
        return [Status.model_validate_json(text) for (text,) in found]

    def unfinished(self) -> list[Status]:
        """Every loop that has not ended."""
        words = "select status from loops where json_extract(status, '$.state') <> 'finished'"
        return [Status.model_validate_json(text) for (text,) in self._connection().execute(words).fetchall()]

    def row(self, loop: str, iteration: int) -> Row | None:
        words = "select row from rows where loop = ? and iteration = ?"
        found = self._connection().execute(words, (loop, iteration)).fetchone()
        return Row.model_validate_json(found[0]) if found else None

    def has(self, loop: str) -> bool:
        return self._connection().execute("select 1 from loops where loop = ?", (loop,)).fetchone() is not None

    def ended_with(self, loop: str) -> int | None:
        """The version of the status with which a loop has ended; None while it has not."""
        words = "select version from loops where loop = ? and json_extract(status, '$.state') = 'finished'"
        found = self._connection().execute(words, (loop,)).fetchone()
        return None if found is None else int(found[0])

    def newest(self, loop: str) -> int:
        """The number of a loop's last row; -1 where it has none."""
        words = "select coalesce(max(iteration), -1) from rows where loop = ?"
        return int(self._connection().execute(words, (loop,)).fetchone()[0])

    def missing(self, loop: str, below: int) -> list[int]:
        """The numbers less than `below` for which there is no row: none, where nothing was lost."""
        words = "select iteration from rows where loop = ? and iteration < ?"
        found = (
            self._connection().execute(words.replace("iteration from", "count(*) from", 1), (loop, below)).fetchone()
        )
        if found[0] == below:
            return []
        there = {number for (number,) in self._connection().execute(words, (loop, below))}
        return [number for number in range(below) if number not in there]

    def rows(self, loop: str, *, after: int = -1, newest_first: bool = False, limit: int = -1) -> list[Row]:
        """A loop's rows with `iteration > after`, oldest first unless told otherwise."""
        order = "desc" if newest_first else "asc"
        words = f"select row from rows where loop = ? and iteration > ? order by iteration {order} limit ?"
        found = self._connection().execute(words, (loop, after, limit)).fetchall()
        return [Row.model_validate_json(text) for (text,) in found]

    def experiments(self, loop: str, *, newest: int) -> list[Experiment]:
        """The newest rows but the baseline's, newest first: cheap, since every prompt reads them."""
        words = "select row from rows where loop = ? and iteration > 0 order by iteration desc limit ?"
        found = self._connection().execute(words, (loop, newest)).fetchall()
        return _EXPERIMENTS.validate_json("[" + ",".join(text for (text,) in found) + "]")

    def kept_experiments(self, loop: str, *, before: int, newest: int) -> list[Experiment]:
        """The newest of the rows with `0 < iteration < before` that were kept or passed, newest first."""
        words = (
            f"select row from rows indexed by rows_kept where loop = ? and iteration > 0 and iteration < ? and {KEPT} "
            "order by iteration desc limit ?"
        )
        found = self._connection().execute(words, (loop, before, newest)).fetchall()
        return _EXPERIMENTS.validate_json("[" + ",".join(text for (text,) in found) + "]")

    def first_with(self, loop: str, tree: str, *, before: int) -> int | None:
        """The earliest row with `iteration < before` whose snapshot has these files."""
        words = (
            f"select min(iteration) from rows indexed by rows_by_tree where loop = ? and {TREE} = ? and iteration < ?"
        )
        (found,) = self._connection().execute(words, (loop, tree, before)).fetchone()
        return None if found is None else int(found)

    def course(self, loop: str, *, after: int = -1) -> list[tuple[int, str, float | None]]:
        """Iteration, verdict and score of the rows with `iteration > after`, oldest first: quick for thousands."""
        words = (
            "select iteration, json_extract(row, '$.verdict'), json_extract(row, '$.score') from rows "
            "where loop = ? and iteration > ? order by iteration"
        )
        return list(self._connection().execute(words, (loop, after)).fetchall())

    def counts(self, loop: str, *, after: int = -1) -> dict[str, int]:
        """How many of the rows with `iteration > after` have each verdict."""
        words = (
            "select json_extract(row, '$.verdict'), count(*) from rows where loop = ? and iteration > ? "
            "group by 1 order by min(iteration)"
        )
        return dict(self._connection().execute(words, (loop, after)).fetchall())

    def kept(self, loop: str, *, after: int, newest: int) -> list[Row]:
        """The newest of the rows with `iteration > after` that were kept or passed, newest first."""
        words = (
            "select row from rows where loop = ? and iteration > ? "
            "and json_extract(row, '$.verdict') in ('keep', 'pass') order by iteration desc limit ?"
        )
        found = self._connection().execute(words, (loop, after, newest)).fetchall()
        return [Row.model_validate_json(text) for (text,) in found]

    def numbers(self, loop: str) -> list[int]:
        """The iterations that have a row, newest first."""
        words = "select iteration from rows where loop = ? order by iteration desc"
        return [number for (number,) in self._connection().execute(words, (loop,)).fetchall()]

    def standings(self) -> list[tuple[str, str, int]]:
        """Id, state and last iteration of every loop: quick for thousands."""
        words = "select loop, json_extract(status, '$.state'), json_extract(status, '$.iteration') from loops"
        return list(self._connection().execute(words).fetchall())

    def verdicts(self, connection: str) -> list[tuple[str, str, int]]:
        """Strategy, verdict and number of the rows of all loops on a server (see Status.connection)."""
        words = (
            "select json_extract(status, '$.strategy'), verdicts.key, sum(verdicts.value) "
            f"from loops, json_each(status, '$.counts') as verdicts where {_ON} group by 1, 2"
        )
        return list(self._connection().execute(words, (connection,)).fetchall())

    def spent(self, connection: str) -> list[tuple[str, float, float]]:
        """Strategy, dollars and tokens of all loops on a server."""
        words = (
            "select json_extract(status, '$.strategy'), total(json_extract(status, '$.cost_usd')), "
            f"total(json_extract(status, '$.tokens')) from loops where {_ON} group by 1"
        )
        return list(self._connection().execute(words, (connection,)).fetchall())

    def states(self, connection: str) -> list[tuple[str, str | None, int]]:
        """How many loops on a server are in each state; of those paused or waiting, with their reason."""
        words = (
            "select json_extract(status, '$.state'), case when json_extract(status, '$.state') "
            "in ('paused', 'waiting') then json_extract(status, '$.reason') end, count(*) "
            f"from loops where {_ON} group by 1, 2"
        )
        return list(self._connection().execute(words, (connection,)).fetchall())

    def last_score(self, loop: str) -> float | None:
        """The score of the newest row that has one."""
        words = (
            "select json_extract(row, '$.score') from rows where loop = ? "
            "and json_extract(row, '$.score') is not null order by iteration desc limit 1"
        )
        found = self._connection().execute(words, (loop,)).fetchone()
        return None if found is None else float(found[0])

    def changes(self) -> int:
        """A number that is another once any other connection has written."""
        return int(self._connection().execute("pragma data_version").fetchone()[0])
