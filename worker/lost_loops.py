"""Loops that the ledger has and the server does not: a start that was killed, or a server whose data is gone or older.
Loops, too, that the server holds at a pause or a wait which the ledger knows to be over: its data was set back.

The worker looks for them from time to time, and writes what it finds into the ledger, where every command reads it.
Whom a loop tells of its pauses is told of this one by the worker: there is no workflow that could.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from pathlib import Path

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowQueryFailedError
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from beatctl.activities.being_started import CUT_SHORT, forget_start, has_begun, is_being_started
from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.activities.notify import record
from beatctl.activities.notify.happened import happened
from beatctl.activities.notify.targets import kept
from beatctl.activities.notify.telling import deliver
from beatctl.activities.notify.texts import message
from beatctl.activities.records import Status, timestamp, with_pause
from beatctl.activities.tickets import overtake
from beatctl.activities.workspace import release
from beatctl.worker.connection import Connection, workflow_id

log = logging.getLogger("beatctl.worker")

_EVERY_S = 5.0
_STATE = SearchAttributeKey.for_keyword("BeatctlState")
_WAITING = ("paused", "waiting")
_TRIES_AFTER_S = (0.0, 1.0, 4.0)
LOST = "server-lost"
"""The reason of the pause."""


async def look_for_lost_loops(client: Client, home: Home, connection: Connection) -> None:
    """For as long as the worker lives. A loop is lost when it was so twice: a command may be in the middle of it."""
    ledger, suspected, telling = Ledger(home.ledger), set[str](), _Telling(home)
    behind = set[str]()
    while True:
        await asyncio.sleep(_EVERY_S)
        try:
            unfinished = await asyncio.to_thread(ledger.unfinished) if home.ledger.exists() else []
            mine = [status for status in unfinished if status.connection == connection.label]
            found = {status.id: await _found(client, status.id) for status in mine if status.reason != LOST}
            lost = {loop for loop, state in found.items() if state is None}
            waits = {status.id for status in mine if status.state == "running" and found.get(status.id) in _WAITING}
            for loop in waits & behind:
                await _wake(client, ledger, loop)
            behind = waits
            for loop in lost & suspected:
                await asyncio.to_thread(_settle, home, ledger, loop)
            suspected = lost
            telling.of([status for status in mine if status.reason == LOST])
        except (
            RPCError,
            WorkflowQueryFailedError,
            OSError,
            sqlite3.Error,
        ) as problem:  # the server may be away; a disk may be full
            suspected, behind = set(), set()
            log.debug("could not look for lost loops: %s", problem)


async def _found(client: Client, loop: str) -> str | None:
    """The loop's state as the server shows it; None where it does not run the loop."""
    try:
        found = await client.get_workflow_handle(workflow_id(loop)).describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise
    return (
        (found.typed_search_attributes.get(_STATE) or "") if found.status == WorkflowExecutionStatus.RUNNING else None
    )


async def _wake(client: Client, ledger: Ledger, loop: str) -> None:
    """Have the loop look into its ledger, where that is ahead of the server: nobody would end that wait any more."""
    handle = client.get_workflow_handle(workflow_id(loop))
    seen: Status = await handle.query("status", result_type=Status)
    known = await asyncio.to_thread(ledger.status, loop)
    if known is not None and known.state != seen.state and known.version > seen.version:
        log.warning("%s: the server's data is older than the ledger, from which it goes on", loop)
        await handle.signal("look_into_ledger")


def _settle(home: Home, ledger: Ledger, loop: str) -> None:
    """Write down what has become of it, unless a command or its workflow was quicker."""
    folder, status = home.loop(loop), ledger.status(loop)
    if status is None or status.state == "finished" or is_being_started(folder):
        return
    now = told(status, time.time()) if has_begun(folder, status) else given_up(status, time.time())
    forget_start(folder)
    log.warning("%s: %s", loop, now.detail)
    if folder.root.is_dir():
        overtake(folder)
    if not ledger.replace(now, status.version):  # somebody was quicker
        return
    if now.state == "finished":
        folder.forget_secrets()
        release(home, Path(status.worktree or status.directory), loop)


class _Telling:
    """Tells of lost loops, one after the other: with the server's data all of them may be lost at once."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._ledger = Ledger(home.ledger)
        self._seen = set[str]()
        self._under_way: asyncio.Task[None] | None = None

    def of(self, lost: list[Status]) -> None:
        """Begin with those that this worker has not told of yet; not while others are under way."""
        new = [status for status in lost if _message_id(status) not in self._seen]
        if new and (self._under_way is None or self._under_way.done()):
            self._under_way = asyncio.create_task(self._tell_all(new))

    async def _tell_all(self, lost: list[Status]) -> None:
        for status in lost:
            self._seen.add(_message_id(status))
            try:
                await self._tell(status)
            except (OSError, ValueError, sqlite3.Error) as problem:
                log.warning("%s: nobody was told that it is lost: %s", status.id, problem)

    async def _tell(self, status: Status) -> None:
        folder, id = self._home.loop(status.id), _message_id(status)
        targets = kept(folder.notify)
        wanted = targets.on if targets is not None else []
        if wanted is None:
            wanted = json.loads(await asyncio.to_thread(lambda: self._ledger.spec(status.id) or "{}")).get("notify", [])
        if targets is None or "pause" not in wanted:
            return
        what = message(happened("pause", status, timestamp(time.time())))
        for pause_s in _TRIES_AFTER_S:
            if record.is_settled(folder, id):  # by the worker before this one, too
                break
            await asyncio.sleep(pause_s)
            await deliver(targets, what, id, folder)
        for text in record.problems(folder):
            log.warning("%s: %s", status.id, text)


def _message_id(status: Status) -> str:
    return f"{status.id}-lost-{status.version}"


def given_up(status: Status, now: float) -> Status:
    """A loop whose start was cut short. Pure."""
    return status.model_copy(
        update={
            "state": "finished",
            "outcome": "cancelled",
            "reason": "cancelled",
            "detail": CUT_SHORT,
            "now": "",
            "ended_at": timestamp(now),
            "version": status.version + 1,
        }
    )


def told(status: Status, now: float) -> Status:
    """A loop that the server does not know any more, as commands show it. Pure."""
    return status.model_copy(
        update={
            "state": "paused",
            "reason": LOST,
            "detail": "The Temporal server does not run this loop any more: its data is gone, or older than it, or "
            "somebody ended its workflow there. "
            f"Nothing of the loop is lost: beatctl resume {status.id} goes on from its ledger.",
            "now": "",
            "pauses": with_pause(status.pauses, LOST, status.iteration, timestamp(now)),
            "version": status.version + 1,
        }
    )
