"""Staying with a loop of another host: a line for each verdict and each change of state, as far as they are known."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from beatctl.cli import elsewhere, problems, render
from beatctl.cli.follow import exit_code, noted_signals, paused_words
from beatctl.cli.output import out_json, say, visible
from beatctl.cli.problems import Unavailable
from beatctl.cli.remote import HostAway, ask

if TYPE_CHECKING:
    from temporalio.client import Client

    from beatctl.activities.records import Status
    from beatctl.cli.follow import Signals
    from beatctl.worker.connection import Connection

_LOOK_S = 1.0
_ROWS = 20
"""Verdicts that are told at once, of those that came meanwhile."""


def watch(
    shared: Connection, environ: Mapping[str, str], loop: Status, *, as_json: bool, ends_with_us: bool = False
) -> int:
    """Tell of the loop until it has ended, or the person leaves, which with `ends_with_us` cancels it. Returns the exit
    code. Raises Unavailable."""
    nobody_there = ends_with_us or not sys.stderr.isatty()

    async def stay(client: Client) -> Status:
        last = await _follow(client, shared.label, loop, signals, leave_when_paused=nobody_there)
        if ends_with_us and last.state not in ("finished", "paused"):
            say(f"Cancelling {loop.id} …")
            last = await _cancelled(client, shared.label, last)
        return last

    with noted_signals() as signals:
        last = elsewhere.reach(shared, environ, stay, None)
    if as_json:
        out_json(last.model_dump(mode="json"))
    if last.state == "paused" and signals.came is None:
        return problems.ENDED_WITHOUT  # why, and how to go on, has been said
    if last.state != "finished" and ends_with_us:
        return problems.CANCELLED
    if last.state != "finished":
        say(f"Detached. {last.id} goes on on {last.host}. Come back: beatctl watch {last.id}")
        return problems.DETACHED
    for line in render.ending_lines(last):
        say(line)
    return exit_code(last)


async def _cancelled(client: Client, label: str, loop: Status) -> Status:
    """The loop, with its end asked for; its host need not be there for that."""
    from beatctl.worker import far_loops

    if loop.queued and await far_loops.take_back(client, loop.id):
        return loop
    try:
        await ask(client, loop, ["cancel", loop.id])
    except HostAway as gone:
        say(str(elsewhere.waiting(loop, gone.away).waiting_for))
        return loop
    found = await far_loops.find(client, loop.id, label)
    return await far_loops.whole(client, found[0][0]) if found else loop


async def _follow(client: Client, label: str, loop: Status, signals: Signals, *, leave_when_paused: bool) -> Status:
    from temporalio.service import RPCError

    from beatctl.worker import far_loops

    teller, status = _Teller(loop), loop
    while True:
        try:
            found = [pair for pair in await far_loops.find(client, loop.id, label) if pair[0].id == loop.id]
            if not found:
                raise Unavailable(f"The Temporal server does not know loop {loop.id} any more.")
            known, away = found[0]
            status = elsewhere.waiting(known, away)
            if away is None:
                status = await far_loops.whole(client, known)
                if not status.partial and (status.baseline is not None or status.iteration):
                    await teller.rows(client, status)
            teller.state(status)
        except RPCError as error:
            teller.trouble(f"The Temporal server does not answer ({error.message}): trying again.")
        if status.state == "finished" or signals.came is not None:
            return status
        if status.state == "paused" and leave_when_paused and not status.waiting_for:
            return status
        await asyncio.sleep(_LOOK_S)


class _Teller:
    """Says each row and each change once."""

    def __init__(self, loop: Status) -> None:
        self.told = -1
        self._loop = loop
        self._scores: dict[int, float | None] = {}
        self._said = ""

    async def rows(self, client: Client, status: Status) -> None:
        """Those that are new, from the host."""
        from beatctl.activities.records import Row

        first = max(self.told + 1, status.iteration - _ROWS + 1)
        for number in range(first, status.iteration + 1):
            with contextlib.suppress(HostAway, Unavailable, ValueError):
                answer = await ask(client, self._loop, ["show", status.id, str(number), "--json"])
                if answer.exit_code:
                    return
                row = Row.model_validate(json.loads(answer.read()[0]))
                self._scores[row.iteration] = row.score
                say(render.row_line(row, render.parent_score(row, self._scores)))
                self.told = number

    def state(self, status: Status) -> None:
        if status.waiting_for:
            words = f"{status.id} waiting: {status.waiting_for}"
        elif status.state == "paused":
            words = paused_words(status) if not status.partial else f"{status.id} is paused."
        elif status.waiting_until:
            words = f"{status.id} waits: {visible(status.detail)}"
        else:
            words = ""
        if not words and self._said and status.state == "running":
            say(f"{status.id} goes on.")
        self.trouble(words)

    def trouble(self, words: str) -> None:
        """Say it, once for as long as it holds."""
        if words and words != self._said:
            say(words)
        self._said = words
