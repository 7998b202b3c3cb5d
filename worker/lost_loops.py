"""Loops that the ledger has and the server does not: a start that was killed, or a server whose data is gone or older.

The worker looks for them from time to time, and writes what it finds into the ledger, where every command reads it.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from pathlib import Path

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from beatctl.activities.being_started import CUT_SHORT, forget_start, is_being_started
from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Status, timestamp
from beatctl.activities.tickets import overtake
from beatctl.activities.workspace import release
from beatctl.worker.connection import Connection, workflow_id

log = logging.getLogger("beatctl.worker")

_EVERY_S = 5.0
LOST = "server-lost"
"""The reason of the pause."""


async def look_for_lost_loops(client: Client, home: Home, connection: Connection) -> None:
    """For as long as the worker lives. A loop is lost when it was so twice: a command may be in the middle of it."""
    ledger, suspected = Ledger(home.ledger), set[str]()
    while True:
        await asyncio.sleep(_EVERY_S)
        try:
            unfinished = await asyncio.to_thread(ledger.unfinished) if home.ledger.exists() else []
            mine = [status for status in unfinished if status.connection == connection.label and status.reason != LOST]
            lost = {status.id for status in mine if not await _is_known(client, status.id)}
            for loop in lost & suspected:
                await asyncio.to_thread(_settle, home, ledger, loop)
            suspected = lost
        except (RPCError, OSError, sqlite3.Error) as problem:  # the server may be away; a disk may be full
            suspected = set()
            log.debug("could not look for lost loops: %s", problem)


async def _is_known(client: Client, loop: str) -> bool:
    try:
        found = await client.get_workflow_handle(workflow_id(loop)).describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return False
        raise
    return found.status == WorkflowExecutionStatus.RUNNING


def _settle(home: Home, ledger: Ledger, loop: str) -> None:
    """Write down what has become of it, unless a command or its workflow was quicker."""
    folder, status = home.loop(loop), ledger.status(loop)
    if status is None or status.state == "finished" or is_being_started(folder):
        return
    forget_start(folder)
    now = given_up(status, time.time()) if never_began(status) else told(status)
    log.warning("%s: %s", loop, now.detail)
    if folder.root.is_dir():
        overtake(folder)
    ledger.write(now, lasting=True)
    if now.state == "finished":
        folder.forget_secrets()
        release(home, Path(status.worktree or status.directory), loop)


def never_began(status: Status) -> bool:
    """Whether its workflow has never said anything."""
    return status.version == 0


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


def told(status: Status) -> Status:
    """A loop that the server does not know any more, as commands show it. Pure."""
    return status.model_copy(
        update={
            "state": "paused",
            "reason": LOST,
            "detail": "The Temporal server does not run this loop any more: its data is gone, or older than it, or "
            "somebody ended its workflow there. "
            f"Nothing of the loop is lost: beatctl resume {status.id} goes on from its ledger.",
            "now": "",
            "version": status.version + 1,
        }
    )
