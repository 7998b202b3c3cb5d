"""`schedule create`: check the times and what `start` would be told, then give both to Temporal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beatctl.cli import render
from beatctl.cli.arguments import Json
from beatctl.cli.loops import Loops, new_id
from beatctl.cli.output import out, out_json, say, visible
from beatctl.cli.problems import Usage
from beatctl.cli.schedule import look

if TYPE_CHECKING:
    from temporalio.client import Client

    from beatctl.cli.preparing import Prepared
    from beatctl.cli.schedule.kept import Kept
    from beatctl.cli.schedule.server import Seen
    from beatctl.cli.schedule.timing import Timing
    from beatctl.cli.settings import Setting
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
    on: Annotated[
        str | None,
        typer.Option(
            "--on", metavar="HOST", help="Start its loops on another host; with -C after --.", show_default=False
        ),
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
    from beatctl.cli.schedule import timing as timings

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
    what = _what(loops, timing, [*(["--on", on] if on is not None else []), *rest])
    kept = _kept(loops, name, timing, what)
    seen = _make(loops, kept, what, paused=paused)
    if as_json:
        out_json(look.as_json_of(seen, loops))
    for line in _made_lines(loops, seen, what):
        say(line) if as_json else out(line)
    for line in warnings(loops, seen, what.prepared):
        say(line)
    return 0


@dataclass(frozen=True)
class What:
    """What is to be started, checked."""

    goal: str
    strategy: str
    arguments: list[str]
    """Of `start`."""
    directory: str | None
    """None: with `repo`, in a clone of it."""
    repo: str | None
    host: str
    files: dict[str, str]
    """Texts that the arguments name, for another host."""
    prepared: Prepared | None
    """None: for another host, which resolves the agent and looks at the folder by itself."""


def _what(loops: Loops, timing: Timing, words: list[str]) -> What:
    """Check what follows `--` as `start` does, here or on the host that it names. Raises Usage, Unavailable."""
    from beatctl.cli.levels import loop_file
    from beatctl.cli.notifications import refuse_to_travel
    from beatctl.cli.preparing import named_host, prepare, tell_where
    from beatctl.cli.repository import in_its_clone
    from beatctl.cli.settings import level_of_flags, merge, typed_of
    from beatctl.cli.start import understood
    from beatctl.worker.hosts import this_host

    flags, file = understood(words)
    _refuse_what_needs_somebody(flags)
    _refuse_one_branch_for_many(typed_of(merge([level_of_flags(flags), loop_file(file)])), timing)
    far = named_host(flags, file)
    if far is not None:
        return _what_elsewhere(loops, far)
    refuse_to_travel(level_of_flags(flags), "your")
    with in_its_clone(loops, flags, file) as (there, given):  # which is gone again after this
        prepared = prepare(there, given, file, later=True)
        tell_where(there, prepared)
    repo = given.repo
    return What(
        goal=prepared.chosen.goal,
        strategy=prepared.chosen.strategy,
        arguments=_fixed(words, flags, file, prepared.place if repo is None else None),
        directory=str(prepared.place) if repo is None else None,
        repo=repo,
        host=this_host(loops.home).name,
        files={},
        prepared=prepared,
    )


def _what_elsewhere(loops: Loops, far: Mapping[str, Setting]) -> What:
    from beatctl.cli.far_start import wanted_of
    from beatctl.cli.preparing import told_connection
    from beatctl.cli.schedule import server
    from beatctl.cli.settings import typed_of

    wanted, shared, typed = wanted_of(far), server.connection_of(loops), typed_of(far)
    if shared is None:
        raise Usage(
            f"--on {wanted.host}: other hosts are reached by a Temporal server that all of them use. Name it: "
            "--profile NAME, or TEMPORAL_ADDRESS.",
            help_of="schedule create",
        )
    say(f"Temporal server: {told_connection(shared, loops.environ)}")
    return What(
        goal=wanted.goal,
        strategy="retry" if typed.until is not None else "optimize",
        arguments=wanted.arguments,
        directory=wanted.directory,
        repo=typed.repo,
        host=wanted.host,
        files=wanted.files,
        prepared=None,
    )


def _kept(loops: Loops, name: str | None, timing: Timing, what: What) -> Kept:
    """The schedule as it will be made. Raises Usage where the name means another one here."""
    from beatctl.activities.records import timestamp
    from beatctl.cli.schedule import kept as keeping
    from beatctl.cli.schedule import server

    label = server.label_of(loops)
    there = {kept.name: kept for kept in keeping.all_kept(loops.home)}
    if name in there and there[name].connection != label:
        raise Usage(f"This home has a schedule {name} on {there[name].connection}: give this one another name.")
    return keeping.Kept(
        name=name or new_id(set(there)),
        goal=what.goal,
        strategy=what.strategy,
        arguments=what.arguments,
        directory=what.directory,
        repo=what.repo,
        host=what.host,
        timing=timing,
        connection=label,
        created_at=timestamp(datetime.now(UTC).timestamp()),
    )


def _make(loops: Loops, kept: Kept, what: What, *, paused: bool) -> Seen:
    """Give it to Temporal, and keep what its loops need here. Raises Usage, Unavailable."""
    from beatctl.activities.agents.environment import child_environment
    from beatctl.cli import service
    from beatctl.cli.schedule import kept as keeping
    from beatctl.cli.schedule import server

    # Another host has an environment of its own.
    environ = child_environment({**loops.environ, "PWD": kept.directory or "/"}) if what.prepared is not None else {}

    async def make(client: Client) -> Seen:
        if await server.see(client, kept.name, runs=0) is not None:
            raise server.taken(kept.name)
        keeping.keep(loops.home, kept, environ)
        try:
            await server.create(client, kept, what.files, paused=paused)
        except BaseException:
            keeping.forget(loops.home, kept.name)
            raise
        seen = await server.see(client, kept.name, runs=0)
        return seen or server.Seen(kept)

    if what.prepared is None:
        return server.reach(loops, make)
    return service.with_client(service.ensure(loops, loops.environ), loops.environ, make)


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


def _refuse_one_branch_for_many(typed: Typed, timing: Timing) -> None:
    if typed.branch is not None and (typed.worktree or typed.repo is not None) and timing.at is None:
        raise Usage(
            f"{typed.named('branch')} {typed.branch} can be made once, and this starts again and again: leave it out. "
            "To name a branch when there is something to keep: beatctl apply LOOP --branch NAME"
        )


def _fixed(words: Sequence[str], flags: Typed, file: str | None, place: Path | None) -> list[str]:
    """The words with the paths that hold wherever they are read: of a flag that is given twice the last one holds."""
    more = ["-C", str(place)] if place is not None else []
    repo = flags.repo if flags.repo is not None and Path(flags.repo).exists() else None
    for flag, path in (("--file", file), ("--prompt-template", flags.prompt_template), ("--repo", repo)):
        if path is not None:
            more += [flag, str(Path(path).absolute())]
    end = words.index("--") if "--" in words else len(words)
    return [*words[:end], *more, *words[end:]]


def _made_lines(loops: Loops, seen: Seen, what: What) -> list[str]:
    from beatctl.cli.schedule.timing import OVERLAPS
    from beatctl.workflows.spec import Limits

    kept, timing, lines = seen.kept, seen.kept.timing, list[str]()
    if what.prepared is not None:
        limits = Limits(**what.prepared.chosen.limits).model_dump()
        lines = [
            f"  agent     {render.agent_words(what.prepared.agent)}",
            f"  limits    {render.limits_line(limits, strategy=kept.strategy)}",
        ]
    return [
        f"{kept.name}  {visible(kept.goal)[:200]}",
        f"  starts    {look.times_line(seen)}",
        f"  overlap   {timing.overlap}: {OVERLAPS[timing.overlap]}",
        *lines,
        f"  folder    {look.place(kept, loops)}",
        *([f"  host      {kept.host}"] if what.prepared is None else []),
        f"  to end    beatctl schedule pause {kept.name}, beatctl schedule delete {kept.name}",
    ]


def warnings(loops: Loops, seen: Seen, prepared: Prepared | None) -> list[str]:
    """What may keep its loops from starting or ending, and what to do."""
    from beatctl.cli.budget import cannot_tell
    from beatctl.cli.limit_options import unbounded_warning
    from beatctl.worker import systemd
    from beatctl.workflows.spec import Limits

    if prepared is None:
        return [f"{seen.away[0].upper()}{seen.away[1:]}: its loops wait for one."] if seen.away else []
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
