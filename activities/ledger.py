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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter

from beatctl.activities.ledger_versions import KEPT, TREE, migrate, missing_migrations
from beatctl.activities.sessions import Session

_ON = "coalesce(json_extract(status, '$.connection'), 'embedded') = ?"
"""SQL: the loop is on that server."""

Verdict = Literal["baseline", "pass", "fail", "keep", "discard", "inconclusive", "crash", "timeout", "tampered"]
State = Literal["running", "paused", "waiting", "finished"]
Outcome = Literal["reached", "improved", "unchanged", "failed", "cancelled"]


def timestamp(seconds: float) -> str:
    """ISO 8601 in UTC with milliseconds, as every time in JSON output."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class AgentRow(BaseModel):
    """What an iteration's agent run (in a pipeline: all of them together) was and cost."""

    name: str
    version: str | None = None
    model: str | None = None
    exit_code: int | None = None
    session_id: str | None = None
    cost_usd: float | None = None
    cost_estimated: bool = False
    """Some of the cost is the tokens' by the price table, not the agent's own figure."""
    tokens: int | None = None
    input_tokens: int | None = None
    """What was sent, cached or not, by runs that no limit interrupted; null where the agent does not tell it apart."""
    output_tokens: int | None = None
    duration_s: float = 0.0
    adopted: bool = False
    lost: int = 0
    """Tries that died with their shim before this one; the workspace was restored before each new try."""
    steps: list[AgentRow] | None = None
    """A pipeline's runs, one a step; null elsewhere."""


class Wait(BaseModel):
    """A wait for a limit's reset, which is no iteration: the agent is run again after it."""

    agent: str
    reason: Literal["rate-limit", "overloaded"]
    error: str = ""
    """What the agent said of the limit."""
    since: str
    until: str
    """When it was to end."""
    waited_s: float = 0.0
    """How long it was: less than planned where the user ended it, 0 where another agent took over."""
    cost_usd: float | None = None
    """Of the run that the limit interrupted; in its iteration's cost, too."""
    cost_estimated: bool = False
    tokens: int | None = None


class EvaluatorRow(BaseModel):
    exit_code: int | None = None
    duration_s: float = 0.0


class Row(BaseModel):
    """One iteration in the ledger, as `show --json` prints it."""

    iteration: int
    verdict: Verdict
    score: float | None = None
    samples: list[float] = []
    started_at: str
    duration_s: float
    agent: AgentRow | None = None
    evaluator: EvaluatorRow | None = None
    snapshot: str | None = None
    tree: str | None = None
    """What git calls the snapshot's content: the same for the same files."""
    repeat_of: int | None = None
    """The earliest experiment (0: the baseline) with the same files; where it changed nothing, its parent."""
    parent: int | None = None
    summary: str = ""
    reason: str | None = None
    logs: str | None = None
    metrics: dict[str, float] = {}
    waits: list[Wait] = []
    """For limits, before its agent runs came through."""
    notes: list[str] = []
    """The user's notes that this iteration's prompt was the first to carry."""


def sum_of_steps(runs: list[AgentRow], *, pipeline: bool) -> AgentRow | None:
    """An iteration's agent row: its one run, or a pipeline's runs added up, with the steps."""
    if not runs:
        return None
    if not pipeline:
        return runs[0]
    costs = [run.cost_usd for run in runs if run.cost_usd is not None]
    tokens = [run.tokens for run in runs if run.tokens is not None]
    return AgentRow(
        name=", ".join(dict.fromkeys(run.name for run in runs)),
        version=runs[-1].version,
        model=runs[-1].model,
        exit_code=runs[-1].exit_code,
        session_id=runs[-1].session_id,
        cost_usd=round(sum(costs), 6) if costs else None,
        cost_estimated=any(run.cost_estimated for run in runs),
        tokens=sum(tokens) if tokens else None,
        input_tokens=_sum_of_all([run.input_tokens for run in runs]),
        output_tokens=_sum_of_all([run.output_tokens for run in runs]),
        duration_s=round(sum(run.duration_s for run in runs), 3),
        adopted=any(run.adopted for run in runs),
        lost=sum(run.lost for run in runs),
        steps=runs,
    )


def _sum_of_all(told: list[int | None]) -> int | None:
    """None where one is not told: half a sum would mislead."""
    known = [one for one in told if one is not None]
    return sum(known) if len(known) == len(told) else None


def with_interrupted(agent: AgentRow, waits: list[Wait]) -> AgentRow:
    """An iteration's agent row with what the runs cost that a limit interrupted before."""
    costs = [wait.cost_usd for wait in waits if wait.cost_usd is not None]
    tokens = [wait.tokens for wait in waits if wait.tokens is not None]
    changes: dict[str, Any] = {}
    if costs:
        changes["cost_usd"] = round((agent.cost_usd or 0.0) + sum(costs), 6)
        changes["cost_estimated"] = agent.cost_estimated or any(wait.cost_estimated for wait in waits)
    if tokens:
        changes["tokens"] = (agent.tokens or 0) + sum(tokens)
    return agent.model_copy(update=changes)


class Experiment(BaseModel):
    """What a prompt tells of a row."""

    iteration: int
    verdict: str
    score: float | None = None
    summary: str = ""
    reason: str | None = None
    parent: int | None = None
    repeat_of: int | None = None


_EXPERIMENTS = TypeAdapter(list[Experiment])


class Note(BaseModel):
    """What the user told the agent on the way."""

    text: str
    at: str
    """When it was given."""
    iteration: int | None = None
    """The first whose prompt carries it; null: the next will."""


class Mark(BaseModel):
    """An iteration that counts: the baseline, or the best."""

    iteration: int
    score: float | None = None
    snapshot: str | None = None


class Push(BaseModel):
    """How a loop's branch was pushed to the repository that it was started from."""

    state: Literal["pushed", "failed", "nothing"]
    """`nothing`: there was nothing to push."""
    branch: str | None = None
    commit: str | None = None
    kept: int = 0
    """Experiments that were kept by then."""
    detail: str = ""
    """Why it was not pushed, git's words included."""
    at: str


class Status(BaseModel):
    """A loop's status object, as `status --json` prints it."""

    id: str
    goal: str
    strategy: Literal["retry", "optimize"]
    state: State
    outcome: Outcome | None = None
    reason: str | None = None
    iteration: int = 0
    failures: int = 0
    baseline: Mark | None = None
    best: Mark | None = None
    cost_usd: float = 0.0
    tokens: int = 0
    elapsed_s: float = 0.0
    ui_url: str | None = None
    directory: str
    # Beyond the promised fields.
    asked: Literal["pause", "stop", "cancel"] | None = None
    """Asked for, and not yet done."""
    detail: str = ""
    """The pause's or the end's reason in a sentence."""
    now: str = ""
    """What the loop is doing at this moment."""
    waiting_until: str | None = None
    """When the wait for a limit's reset ends."""
    fallback_until: str | None = None
    """While the fallback works: when the loop's own agent is back."""
    cost_estimated: bool = False
    """Some of the cost is the tokens' by the price table."""
    direction: Literal["minimize", "maximize"] | None = None
    agent: str = ""
    limits: dict[str, Any] = {}
    kept: int = 0
    counts: dict[str, int] = {}
    """Rows by verdict."""
    started_at: str | None = None
    ended_at: str | None = None
    worktree: str = ""
    """The workspace's root: the repository's top level, or the folder itself."""
    origin: str | None = None
    """Where `worktree` is a git worktree made for the loop: the top level of the folder it was made from."""
    branch: str | None = None
    """That worktree's branch; for a loop in the user's folder the one `apply` makes."""
    repo: str | None = None
    """The URL of the repository that `worktree` is a clone of, made for the loop."""
    ref: str | None = None
    """The branch, tag or commit of it that the loop began with."""
    push: Push | None = None
    """What became of its branch there; null before the end, and until it was tried."""
    connection: str = "embedded"
    """`embedded`, or `address/namespace` of a shared Temporal server."""
    host: str | None = None
    """The host that its files are on, and its worker."""
    schedule: str | None = None
    """The schedule that started it."""
    waiting_for: str | None = None
    """What it lacks to go on, as commands find it: `no worker on build-2 since 03:12`."""
    away_since: str | None = None
    """Since when no worker of its host asks for work, as far as the server can tell."""
    queued: bool = False
    """Its host is to start it and has not yet."""
    partial: bool = False
    """Known from the Temporal server alone, its host being away: its counters and scores are not."""
    base: Mark | None = None
    """What the folder holds between iterations: where the next one starts."""
    edit_rows: int = 0
    """Rows that hold the user's own edits; they don't count as iterations."""
    idle_s: float = 0.0
    """Between an end and going on, in all: no part of `elapsed_s`."""
    notes: list[Note] = []
    """What the user told the agent, oldest first: every prompt carries them."""
    warnings: list[str] = []
    """What of the folder could not be protected, in sentences."""
    sessions: list[Session] = []
    """With `--memory session`: those that the agents' next runs go on with."""
    notify_problems: list[str] = []
    """Where its latest message could not be sent to; `status` adds it, it is not in the ledger."""
    version: int = 0
    """Grows with each change; an older status never replaces a newer one."""


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

    def reopen(self, status: Status, ended: int) -> bool:
        """Record that a loop which ended with the version `ended` goes on. False where it is another by now."""
        with self._transaction(lasting=True) as db:
            done = db.execute(
                "update loops set version = ?, status = ? where loop = ? and version = ?",
                (status.version, status.model_dump_json(), status.id, ended),
            )
            return done.rowcount == 1

    def remove_loop(self, loop: str) -> None:
        """Forget a loop that never started."""
        with self._transaction() as db:
            db.execute("delete from loops where loop = ?", (loop,))
            db.execute("delete from rows where loop = ?", (loop,))

    def write(self, status: Status, *rows: Row, lasting: bool = False) -> None:
        """Upsert rows and the status they lead to, together; a status older than what is there is passed over.

        `lasting`: on the disk itself when this returns, which takes it some milliseconds.
        """
        with self._transaction(lasting=lasting) as db:
            db.executemany(
                "insert into rows (loop, iteration, row) values (?, ?, ?) on conflict do update set row = excluded.row",
                [(status.id, row.iteration, row.model_dump_json()) for row in rows],
            )
            db.execute(
                "update loops set version = ?, status = ? where loop = ? and version <= ?",
                (status.version, status.model_dump_json(), status.id, status.version),
            )

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
