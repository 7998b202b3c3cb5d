"""Loops of other hosts, by the shared Temporal server that a profile or TEMPORAL_ADDRESS names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from beatctl.cli import service, times
from beatctl.cli.problems import Elsewhere, Unavailable, Usage

if TYPE_CHECKING:
    from temporalio.client import Client

    from beatctl.activities.records import Status
    from beatctl.cli.loops import Loops
    from beatctl.worker.away import Away
    from beatctl.worker.connection import Connection

T = TypeVar("T")

_PATIENCE_S = 5.0
"""For what is only looked at; the commands work without."""
_WHOLE = 30
"""Loops whose workflows are asked for their figures."""


def server(environ: Mapping[str, str]) -> Connection | None:
    """The shared server, where one is named. Raises Unavailable where its profile can't be read."""
    from beatctl.worker.connection import chosen

    try:
        return chosen(environ)
    except service.known_problems() as problem:
        raise Unavailable(str(problem)) from problem


def refuse_here(loops: Loops, word: str) -> None:
    """Raises Elsewhere where the shared server has a loop of this name that is not this home's; Usage where the name
    could be that of several."""
    shared = server(loops.environ)
    if shared is None:
        return
    from beatctl.worker import far_loops

    try:
        found = reach(shared, loops.environ, lambda client: far_loops.find(client, word.lower(), shared.label))
    except Unavailable as problem:
        raise Unavailable(
            f'No loop "{word}" in this home; whether other hosts have one can\'t be told: {problem}'
        ) from None
    if len(found) > 1:
        from beatctl.cli.loops import candidates

        raise Usage(f'"{word}" could be any of these loops:\n{candidates([loop for loop, _ in found])}')
    for loop, away in found:
        raise Elsewhere(waiting(loop, away), word)


def with_others(loops: Loops, known: Sequence[Status], *, whole: int = _WHOLE) -> tuple[list[Status], str | None]:
    """This home's loops with those of the shared server's other hosts, newest first, and what they wait for; also why
    the others can't be told."""
    shared = server(loops.environ)
    if shared is None:
        return list(known), None
    import asyncio

    from beatctl.cli.loops import as_of_now
    from beatctl.worker import far_loops

    here = {loop.id for loop in known}

    async def look(client: Client) -> list[Status]:
        far = await far_loops.newest(client, shared.label, here)
        stalled = [loop for loop in known if loop.connection == shared.label and not service.is_running(loops, loop)]
        away = await far_loops.away_hosts(client, [*far, *stalled])
        there = [loop for loop in far if loop.host not in away]
        asked = await asyncio.gather(*(far_loops.whole(client, loop) for loop in there[:whole]))
        figures = {loop.id: as_of_now(loop) for loop in asked if not loop.partial}
        every = [*(loop for loop in known), *(figures.get(loop.id, loop) for loop in far)]
        idle = {loop.id for loop in (*far, *stalled)}
        return [waiting(loop, away.get(loop.host or "")) if loop.id in idle else loop for loop in every]

    try:
        found = reach(shared, loops.environ, look)
    except Unavailable as problem:
        return list(known), f"Loops of other hosts can't be told. {problem}"
    return sorted(found, key=lambda loop: loop.started_at or "", reverse=True), None


def with_waiting(loops: Loops, status: Status) -> Status:
    """A loop of this home on a shared server, with what it waits for where no worker of this host takes its work."""
    if status.connection == "embedded" or status.state == "finished" or service.is_running(loops, status):
        return status
    environ = service.environ_of(status, loops.environ)
    shared = server(environ)
    if shared is None:
        return status
    from beatctl.worker import far_loops

    try:
        away = reach(shared, environ, lambda client: far_loops.away_hosts(client, [status]))
    except Unavailable:
        return status  # that the server doesn't answer is said by what would bring the worker back
    return waiting(status, away.get(status.host or ""))


def waiting(loop: Status, away: Away | None) -> Status:
    """The loop with what it waits for, its host being away. Pure but for the clock."""
    if away is None or loop.state == "finished":
        return loop
    from beatctl.activities.records import timestamp

    since = timestamp(away.since) if away.since is not None else None
    words = away_words(loop.host or "its host", away.since, datetime.now().astimezone())
    return loop.model_copy(update={"waiting_for": words, "away_since": since})


def away_words(host: str, since: float | None, now: datetime) -> str:
    """`no worker on build-2 since 03:12`, with the date where that was not today. Pure."""
    if since is None:
        return f"no worker on {host} so far"
    return f"no worker on {host} since {times.moment(times.local(since), now)}"


def reach(
    shared: Connection,
    environ: Mapping[str, str],
    work: Callable[[Client], Awaitable[T]],
    patience_s: float | None = _PATIENCE_S,
) -> T:
    """Do `work` with a client of the server. Raises Unavailable."""
    import asyncio

    from temporalio.service import RPCError

    from beatctl.worker.connection import connect

    async def done() -> T:
        async with asyncio.timeout(patience_s):
            return await work(await connect(shared, environ=environ))

    try:
        return asyncio.run(done())
    except TimeoutError:
        raise Unavailable(f"The Temporal server at {shared.address} does not answer in time.") from None
    except RPCError as error:
        raise Unavailable(f"The Temporal server at {shared.address} failed: {error.message}.") from error
    except service.known_problems() as problem:
        raise Unavailable(str(problem)) from problem
