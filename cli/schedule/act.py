"""`schedule pause`, `resume`, `trigger` and `delete`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from beatctl.cli.arguments import Json
from beatctl.cli.loops import Loops
from beatctl.cli.output import out, out_json
from beatctl.cli.problems import Problem, Usage
from beatctl.cli.schedule.look import Name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from temporalio.client import Client

    from beatctl.cli.schedule.server import Run, Seen

Result = TypeVar("Result")

_TRIGGER_S = 60.0
"""How long `trigger` waits to tell which loop it was."""


def pause(
    name: Name,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why, for whoever looks.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> int:
    """Start nothing more until resumed.

    A loop that runs goes on: beatctl pause LOOP pauses that.
    """
    from beatctl.cli.schedule import server

    async def work(client: Client, seen: Seen) -> None:
        await server.handle(client, seen.kept.name).pause(note=reason or "by beatctl schedule pause")

    loops = Loops()
    seen = _change(loops, name, work)
    goes_on = f" {_loops_run(seen)} on." if seen.running else ""
    return _told(loops, seen, f"{seen.kept.name} is paused: nothing more starts.{goes_on}", as_json=as_json)


def resume(name: Name, as_json: Json = False) -> int:
    """Go on with a paused schedule.

    What it would have started meanwhile is not made up for.
    """
    from beatctl.cli.schedule import look, server

    async def work(client: Client, seen: Seen) -> None:
        await server.handle(client, seen.kept.name).unpause(note="")

    loops = Loops()
    seen = _change(loops, name, work)
    return _told(loops, seen, f"{seen.kept.name} goes on: {look.times_line(seen)}", as_json=as_json)


def delete(name: Name, as_json: Json = False) -> int:
    """Delete a schedule; its loops stay.

    A loop that runs goes on to its end.
    """
    from beatctl.cli.schedule import kept, server

    async def work(client: Client, seen: Seen) -> None:
        await server.handle(client, seen.kept.name).delete()

    loops = Loops()
    seen = _change(loops, name, work)
    kept.forget(loops.home, seen.kept.name)
    goes_on = f" {_loops_run(seen)} on to its end." if seen.running else ""
    return _told(loops, seen, f"{seen.kept.name} is deleted.{goes_on}", as_json=as_json)


def trigger(name: Name, as_json: Json = False) -> int:
    """Start its loop now, once.

    The schedule's own times stay. Says which loop that is, or why none was started.
    """
    import asyncio

    from beatctl.cli.schedule import server

    loops = Loops()

    async def work(client: Client, seen: Seen) -> Run:
        if seen.running and seen.kept.timing.overlap == "skip":
            raise Usage(
                f"{_loops_run(seen)} still, and with --overlap skip nothing starts beside it: "
                f"beatctl schedule show {seen.kept.name}"
            )
        before = {run.started_at for run in seen.runs}
        await server.handle(client, seen.kept.name).trigger()
        end = time.monotonic() + _TRIGGER_S
        while time.monotonic() < end:
            now = await server.see(client, seen.kept.name, runs=10)
            for run in now.runs if now is not None else ():
                if run.started_at not in before and (run.loop is not None or run.state == "refused"):
                    return run
            await asyncio.sleep(0.1)
        raise Problem(
            f"{seen.kept.name} was triggered and has started nothing yet: it may wait for a loop that runs, or for "
            f"the worker of {seen.kept.host}. beatctl schedule show {seen.kept.name}"
        )

    seen, run = _with(loops, name, work, runs=10)
    if run.state == "refused":
        raise Problem(f"{seen.kept.name} could not start a loop: {run.words}")
    if as_json:
        out_json({"name": seen.kept.name, "loop": run.loop})
    else:
        out(f"{run.loop} has started: beatctl watch {run.loop}")
    return 0


def _loops_run(seen: Seen) -> str:
    """`nightly-3 runs` or, where it can't be told so, `A loop of nightly runs`; ends with a verb to go on with."""
    running = [run.loop for run in seen.runs if run.state == "running" and run.loop is not None]
    return f"{running[-1]} runs" if running else f"A loop of {seen.kept.name} runs"


def _with(
    loops: Loops, word: str, work: Callable[[Client, Seen], Awaitable[Result]], *, runs: int
) -> tuple[Seen, Result]:
    """Do `work` with the schedule that a word means; the schedule as it was before. Raises Usage, Unavailable."""
    from beatctl.cli.schedule import look, server

    async def reach(client: Client) -> tuple[Seen, Result]:
        seen = await look.ask(client, loops, word, runs=runs)
        return seen, await work(client, seen)

    return server.reach(loops, reach)


def _change(loops: Loops, word: str, work: Callable[[Client, Seen], Awaitable[None]]) -> Seen:
    """The schedule after `work`, or as it was where it is gone."""
    from beatctl.cli.schedule import server

    async def change(client: Client, before: Seen) -> Seen:
        await work(client, before)
        return await server.see(client, before.kept.name, runs=1) or before

    return _with(loops, word, change, runs=1)[1]


def _told(loops: Loops, seen: Seen, text: str, *, as_json: bool) -> int:
    from beatctl.cli.schedule import look

    if as_json:
        out_json(look.as_json_of(seen, loops))
    else:
        out(text)
    return 0
