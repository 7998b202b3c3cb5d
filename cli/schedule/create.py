"""`schedule create`: check the times and what `start` would be told, then give both to Temporal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beatctl.cli import render
from beatctl.cli.arguments import Json
from beatctl.cli.loops import Loops, new_id
from beatctl.cli.output import from_home, out, out_json, say, visible
from beatctl.cli.problems import Usage

if TYPE_CHECKING:
    from temporalio.client import Client

    from beatctl.cli.preparing import Prepared
    from beatctl.cli.schedule.server import Seen
    from beatctl.cli.schedule.timing import Timing
    from beatctl.cli.start_options import Typed

_EXAMPLE = 'beatctl schedule create nightly --cron "0 22 * * 1-5" -- "fix the flaky test" --until "npm test"'
_LONGEST_NAME = 40


def create(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="What to call it; left out: some letters.", show_default=False),
    ] = None,
    cron: Annotated[
        list[str] | None,
        typer.Option(
            "--cron",
            metavar="FIELDS",
            help="Minute, hour, day, month, weekday; may be given more than once.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[
        str | None, typer.Option("--every", metavar="TIME", help="Again and again: 6h.", show_default=False)
    ] = None,
    offset: Annotated[
        str | None,
        typer.Option("--offset", metavar="TIME", help="Of --every, from midnight UTC on: 1h.", show_default=False),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="MOMENT", help="Once: 2027-01-31T22:00.", show_default=False)
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(
            "--timezone", metavar="ZONE", help="Such as Europe/Lisbon; left out: this machine's.", show_default=False
        ),
    ] = None,
    overlap: Annotated[
        str | None,
        typer.Option(
            "--overlap",
            metavar="WHAT",
            help="While a loop of it runs: skip (default), buffer-one, buffer-all, cancel-other, terminate-other, "
            "allow-all.",
            show_default=False,
        ),
    ] = None,
    catch_up: Annotated[
        str | None,
        typer.Option(
            "--catch-up", metavar="TIME", help="How late it may be after the machine was off: 1h.", show_default=False
        ),
    ] = None,
    jitter: Annotated[
        str | None,
        typer.Option("--jitter", metavar="TIME", help="Late by up to this much, at random.", show_default=False),
    ] = None,
    remaining: Annotated[
        str | None, typer.Option("--remaining", metavar="N", help="Start N loops in all.", show_default=False)
    ] = None,
    until_date: Annotated[
        str | None,
        typer.Option("--until-date", metavar="MOMENT", help="Nothing after 2027-01-31.", show_default=False),
    ] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Start nothing until it is resumed.")] = False,
    as_json: Json = False,
) -> int:
    """Start a loop at set times.

    What follows -- is what `beatctl start` takes, and is checked now as start checks it. Loops get this shell's
    environment and this folder. They are called after the schedule: nightly-1, nightly-2.

    --overlap: skip starts nothing while a loop of the schedule has not ended (a paused one has not); buffer-one lets
    one wait for that, buffer-all each; cancel-other ends the loop that runs as `beatctl cancel` does, then starts;
    terminate-other does the same, with Temporal forgetting that one at once; allow-all lets loops run side by side,
    for which they need --worktree.
    """
    from beatctl.cli.app import REST
    from beatctl.cli.notifications import refuse_to_travel
    from beatctl.cli.preparing import prepare, tell_where
    from beatctl.cli.schedule import timing as timings
    from beatctl.cli.settings import level_of_flags
    from beatctl.cli.start import understood

    loops = Loops()
    rest: list[str] | None = ctx.meta.get(REST)
    if not rest:
        raise Usage(f"What shall it start? That stands after --, as start takes it: {_EXAMPLE}")
    if name is not None:
        _check_name(name)
    timing = timings.choose(
        cron=cron or [],
        every=every,
        offset=offset,
        at=at,
        timezone=timezone,
        overlap=overlap,
        catch_up=catch_up,
        jitter=jitter,
        remaining=remaining,
        until=until_date,
        now=datetime.now(UTC),
    )
    flags, file = understood(rest)
    _refuse_what_needs_somebody(flags)
    refuse_to_travel(level_of_flags(flags), "your")
    prepared = prepare(loops, flags, file, later=True)
    _refuse_one_branch_for_many(prepared, timing)
    tell_where(loops, prepared)
    return _create(loops, name, timing, prepared, _fixed(rest, flags, file, prepared.place), paused, as_json=as_json)


def _create(
    loops: Loops, name: str | None, timing: Timing, prepared: Prepared, words: list[str], paused: bool, *, as_json: bool
) -> int:
    from beatctl.activities.agents.environment import child_environment
    from beatctl.activities.ledger import timestamp
    from beatctl.cli import service
    from beatctl.cli.schedule import kept as keeping
    from beatctl.cli.schedule import look, server
    from beatctl.worker.hosts import this_host

    label = server.label_of(loops)
    there = {kept.name: kept for kept in keeping.all_kept(loops.home)}
    if name in there and there[name].connection != label:
        raise Usage(f"This home has a schedule {name} on {there[name].connection}: give this one another name.")
    kept = keeping.Kept(
        name=name or new_id(set(there)),
        goal=prepared.chosen.goal,
        strategy=prepared.chosen.strategy,
        arguments=words,
        directory=str(prepared.place),
        host=this_host(loops.home).name,
        timing=timing,
        connection=label,
        created_at=timestamp(datetime.now(UTC).timestamp()),
    )
    running = service.ensure(loops, loops.environ)

    async def make(client: Client) -> Seen | None:
        if await server.see(client, kept.name, runs=0) is not None:
            raise server.taken(kept.name)
        keeping.keep(loops.home, kept, child_environment({**loops.environ, "PWD": kept.directory}))
        try:
            await server.create(client, kept, paused=paused)
        except BaseException:
            keeping.forget(loops.home, kept.name)
            raise
        return await server.see(client, kept.name, runs=0)

    seen = service.with_client(running, loops.environ, make)
    assert seen is not None
    if as_json:
        out_json(look.as_json_of(seen, loops))
    for line in _made_lines(loops, seen, prepared):
        say(line) if as_json else out(line)
    for line in warnings(loops, seen, prepared):
        say(line)
    return 0


def _check_name(name: str) -> None:
    if len(name) > _LONGEST_NAME or not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise Usage(
            f'A schedule can\'t be called "{name}": small letters, digits and single dashes, a letter first, '
            f"{_LONGEST_NAME} at most. The goal stands after --.",
            help_of="schedule create",
        )


def _refuse_what_needs_somebody(flags: Typed) -> None:
    for given, flag in ((flags.foreground, "--foreground"), (flags.dry_run, "--dry-run")):
        if given:
            raise Usage(f"Nobody is there when a scheduled loop starts: leave {flag} out.", help_of="schedule create")


def _refuse_one_branch_for_many(prepared: Prepared, timing: Timing) -> None:
    if prepared.origin is not None and prepared.chosen.branch is not None and timing.at is None:
        raise Usage(
            f"--worktree --branch {prepared.chosen.branch} can be made once, and this starts again and again: leave "
            "--branch out, and name it when there is something to keep: beatctl apply LOOP --branch NAME"
        )


def _fixed(words: Sequence[str], flags: Typed, file: str | None, place: Path) -> list[str]:
    """The words with the paths that hold wherever they are read: of a flag that is given twice the last one holds."""
    more = ["-C", str(place)]
    for flag, path in (("--file", file), ("--prompt-template", flags.prompt_template)):
        if path is not None:
            more += [flag, str(Path(path).absolute())]
    end = words.index("--") if "--" in words else len(words)
    return [*words[:end], *more, *words[end:]]


def _made_lines(loops: Loops, seen: Seen, prepared: Prepared) -> list[str]:
    from beatctl.cli.schedule import look
    from beatctl.cli.schedule.timing import OVERLAPS
    from beatctl.workflows.spec import Limits

    kept, timing = seen.kept, seen.kept.timing
    limits = Limits(**prepared.chosen.limits).model_dump()
    return [
        f"{kept.name}  {visible(kept.goal)[:200]}",
        f"  starts    {look.times_line(seen)}",
        f"  overlap   {timing.overlap}: {OVERLAPS[timing.overlap]}",
        f"  agent     {render.agent_words(prepared.agent)}",
        f"  limits    {render.limits_line(limits, strategy=kept.strategy)}",
        f"  folder    {from_home(kept.directory, loops.environ.get('HOME', ''))}",
        f"  to end    beatctl schedule pause {kept.name}, beatctl schedule delete {kept.name}",
    ]


def warnings(loops: Loops, seen: Seen, prepared: Prepared) -> list[str]:
    """What may keep its loops from starting or ending, and what to do."""
    from beatctl.cli.budget import cannot_tell
    from beatctl.cli.limit_options import unbounded_warning
    from beatctl.worker import systemd
    from beatctl.workflows.spec import Limits

    limits = Limits(**prepared.chosen.limits).model_dump()
    agents = [prepared.agent] if prepared.fallback is None else [prepared.agent, prepared.fallback]
    found = [*filter(None, [unbounded_warning(limits)]), *cannot_tell(limits, agents)]
    if seen.kept.timing.overlap == "allow-all" and prepared.origin is None:
        found.append("Loops side by side need a folder each: without --worktree all but the first are refused.")
    if systemd.installed(loops.environ) is None:
        found.append(
            "After a reboot it rests until beatctl up -d, or any beatctl schedule command. As a service it starts with "
            "the machine: beatctl up --install"
        )
    return found
