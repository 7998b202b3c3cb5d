"""A command on a loop of another host: run there, by the worker that has the loop's files, and printed here."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from beatctl.cli import elsewhere, render, service
from beatctl.cli.output import colour, out, out_bytes, out_json, say, width
from beatctl.cli.problems import Elsewhere, Unavailable, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from temporalio.client import Client, WorkflowHandle

    from beatctl.activities.host_command import Answer
    from beatctl.activities.records import Status
    from beatctl.worker.away import Away
    from beatctl.worker.connection import Connection

_LOOK_S = 2.0
_LONGEST = timedelta(hours=1)
_FOLLOWS = ("-f", "--follow")


class HostAway(Exception):
    """Nobody on the host takes what was asked of it."""

    def __init__(self, away: Away) -> None:
        super().__init__()
        self.away = away


def run_there(found: Elsewhere, words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run what was typed on the loop's host; returns its exit code. Raises Usage, Unavailable."""
    from beatctl.activities.host_command import ALLOWED

    loop, command = found.loop, next(iter(words), "")
    shared = elsewhere.server(environ)
    assert shared is not None  # it is where the loop was found
    if command == "watch":
        from beatctl.cli.far_watch import watch

        return watch(shared, environ, loop, as_json="--json" in words)
    if loop.queued:
        return _queued(shared, environ, loop, command, as_json="--json" in words)
    if command not in ALLOWED:
        raise Usage(f"Loop {loop.id} is on host {loop.host}: type beatctl {command} there.")
    line = line_there(words, found)
    away = loop.waiting_for
    if away is None:
        try:
            return printed(elsewhere.reach(shared, environ, lambda client: ask(client, loop, line), None), loop)
        except HostAway as gone:
            loop = elsewhere.waiting(loop, gone.away)
            away = elsewhere.away_words(loop.host or "", gone.away.since, datetime.now().astimezone())
    if command != "status":
        raise Unavailable(
            f"Loop {loop.id} is on host {loop.host}, which is away: {away}. "
            f"Start its worker there (beatctl up -d), then try again."
        )
    from beatctl.worker import far_loops

    if loop.state == "finished":  # its last words are the workflow's result
        loop = elsewhere.reach(shared, environ, lambda client: far_loops.whole(client, loop))
    return _print_status(loop, as_json="--json" in words)


def _queued(shared: Connection, environ: Mapping[str, str], loop: Status, command: str, *, as_json: bool) -> int:
    """A loop that its host is still to start. Raises Usage."""
    from beatctl.worker import far_loops

    if command == "status":
        return _print_status(loop, as_json=as_json)
    if loop.state == "finished":
        raise Usage(f"Host {loop.host} has refused loop {loop.id}: {loop.detail}")
    if command != "cancel":
        raise Usage(f"Host {loop.host} is still to start loop {loop.id}: there is nothing to {command} yet.")
    if not elsewhere.reach(shared, environ, lambda client: far_loops.take_back(client, loop.id)):
        raise Unavailable(f"Host {loop.host} has just begun with loop {loop.id}: cancel it again in a moment.")
    if as_json:
        out_json(loop.model_copy(update={"state": "finished", "outcome": "cancelled"}).model_dump(mode="json"))
    else:
        out(f"{loop.id} is taken back: nothing of it was started.")
    return 0


def line_there(words: Sequence[str], found: Elsewhere) -> list[str]:
    """The command line for the loop's host: the id written out, without what only this side needs. Raises Usage."""
    loop, line = found.loop, []
    rest = iter(words)
    for word in rest:
        if word == "--profile":
            next(rest, None)
        elif not word.startswith("--profile="):
            line.append(word)
    line[line.index(found.word)] = loop.id
    if line[0] == "logs" and any(word in _FOLLOWS for word in line):
        raise Usage(f"Loop {loop.id} is on host {loop.host}: its logs can't be followed from here. Leave out -f.")
    if line[0] == "report" and (any(word.startswith("--html") for word in line) or ("--tsv" in line and len(line) > 3)):
        raise Usage(f"Loop {loop.id} is on host {loop.host}: a file would be written there. Type it on that host.")
    if line[0] == "resume" and not {"-d", "--detach"} & set(line):
        line.append("-d")
    return line


async def ask(client: Client, loop: Status, words: list[str]) -> Answer:
    """Have the loop's host run a command. Raises HostAway, Unavailable, RPCError."""
    from temporalio.client import WorkflowFailureError

    from beatctl.activities.host_command import HostCommand
    from beatctl.worker.hosts import queue_of
    from beatctl.workflows.host_command import HostCommandWorkflow

    handle = await client.start_workflow(
        HostCommandWorkflow.run,
        HostCommand(words=words),
        id=f"beatctl:command:{secrets.token_hex(6)}",
        task_queue=queue_of(loop.host or ""),
        execution_timeout=_LONGEST,
        rpc_timeout=service.RPC_LIMIT,
    )
    result = asyncio.ensure_future(handle.result())
    try:
        while not (await asyncio.wait({result}, timeout=_LOOK_S))[0]:
            await _refuse_away(client, handle, loop)
        return result.result()
    except WorkflowFailureError as failed:
        raise Unavailable(_failed_words(failed, loop)) from None
    finally:
        if not result.done():
            result.cancel()
            with contextlib.suppress(Exception):  # a command that nobody waits for any more is not to run later
                await asyncio.shield(handle.cancel(rpc_timeout=service.RPC_LIMIT))


async def _refuse_away(client: Client, handle: WorkflowHandle[Any, Answer], loop: Status) -> None:
    from temporalio.client import WorkflowExecutionStatus

    from beatctl.worker.away import look

    described = await handle.describe(rpc_timeout=service.RPC_LIMIT)
    if described.status != WorkflowExecutionStatus.RUNNING:
        return
    away = await look(client, described.task_queue, [described])
    if away is not None:
        await handle.terminate("its host is away", rpc_timeout=service.RPC_LIMIT)
        raise HostAway(away)


def _failed_words(failed: BaseException, loop: Status) -> str:
    cause = failed
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return (
        f"Host {loop.host} did not come to an end with it: {getattr(cause, 'message', cause)}. "
        f"See how the loop stands: beatctl status {loop.id}"
    )


def _print_status(loop: Status, *, as_json: bool) -> int:
    if as_json:
        out_json(loop.model_dump(mode="json"))
        return 0
    at = datetime.now().astimezone()
    for line in render.status_lines(loop, at=at, colours=colour(sys.stdout), columns=width()):
        out(line)
    return 0


def printed(answer: Answer, loop: Status) -> int:
    """Print what a command printed on its host; returns its exit code."""
    stdout, stderr = answer.read()
    if stderr:
        say(stderr.decode("utf-8", "replace").rstrip("\n"))
    out_bytes(stdout)
    if answer.cut:
        say(f"… and {answer.cut:,} bytes more, which don't travel: type it on host {loop.host}.")
    return answer.exit_code
