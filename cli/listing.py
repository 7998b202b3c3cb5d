"""`list`: every loop on a line, in the columns that the terminal has room for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from beatctl.cli import render, service, times
from beatctl.cli.arguments import Json
from beatctl.cli.cells import cells, cut, cut_left, pad
from beatctl.cli.loops import Loops
from beatctl.cli.output import colour, from_home, out, out_json, paint, say, visible, width
from beatctl.cli.units import in_words

if TYPE_CHECKING:
    from beatctl.activities.records import Status

NEWEST = 20
"""Loops that `list` shows where --all is not given; one that has not ended is always shown."""

_GOAL_LEAST = 20
_FOLDER_MOST = 32
_HINTS = 3


def list_(
    all_: Annotated[bool, typer.Option("--all", help=f"Older ones too; else the newest {NEWEST}.")] = False,
    as_json: Json = False,
) -> int:
    """List every loop, newest first.

    The newest 20 and all that have not ended; --all and --json list every one.
    """
    from beatctl.cli import elsewhere

    loops = Loops()
    mine = loops.all()
    known, problem = elsewhere.with_others(loops, mine)
    if problem:
        say(problem)
    if as_json:
        out_json([loop.model_dump(mode="json") for loop in known])
        return 0
    if not known:
        out('No loops yet. Start one: beatctl start "fix the failing test" --until "npm test"')
        for line in hints(loops, []):
            say(line)
        return 0
    shown = [loop for place, loop in enumerate(known) if all_ or place < NEWEST or loop.state != "finished"]
    now = datetime.now().astimezone()
    for line in lines(shown, now, loops.environ, host=_this_host(loops), colours=colour(sys.stdout), columns=width()):
        out(line)
    older = len(known) - len(shown)
    if older:
        say(f"… and {older:,} older that {'has' if older == 1 else 'have'} ended: beatctl list --all")
    for line in [*waits(known), *hints(loops, [loop for loop in mine if loop in known])]:
        say(line)
    return 0


def _this_host(loops: Loops) -> str | None:
    from beatctl.worker.hosts import known

    return known(loops.home)


def waits(known: Sequence[Status]) -> list[str]:
    """A line for each host that is away, with its loops."""
    by_words: dict[str, list[str]] = {}
    for loop in known:
        if loop.waiting_for:
            by_words.setdefault(loop.waiting_for, []).append(loop.id)
    return [
        f"{', '.join(ids[:8])}{f' and {len(ids) - 8} more' if len(ids) > 8 else ''} waiting: {words}"
        for words, ids in by_words.items()
    ]


def hints(loops: Loops, known: Sequence[Status]) -> list[str]:
    """What somebody should know of loops that do not go on, and what to type."""
    found = []
    paused = [loop for loop in known if loop.state == "paused"]
    for loop in paused[:_HINTS]:
        why = f" ({loop.reason})" if loop.reason else ""
        found.append(f"{loop.id} is paused{why}: beatctl status {loop.id} says why, beatctl resume {loop.id} goes on.")
    if len(paused) > _HINTS:
        found.append(f"{len(paused) - _HINTS} more are paused.")
    for loop in [one for one in known if one.push is not None and one.push.state == "failed"][:_HINTS]:
        found.append(f"{loop.id} is not pushed: beatctl status {loop.id} says why, beatctl push {loop.id} tries again.")
    idle = [loop.id for loop in known if loop.state in ("running", "waiting") and not service.is_running(loops, loop)]
    if idle:
        names = ", ".join(idle[:8]) + (f" and {len(idle) - 8} more" if len(idle) > 8 else "")
        found.append(f"No worker is running, so {names} {'does' if len(idle) == 1 else 'do'} not go on: beatctl up -d")
    resting = service.resting_schedules(loops)
    if resting:
        found.append(f"No worker is running, so schedules start nothing ({', '.join(resting)}): beatctl up -d")
    on = {loop.connection: loop for loop in known if loop.state != "finished"}  # one of each server
    for loop in on.values():
        found += service.version_words(loops, loop) + service.crash_words(loops, loop)
    return found


@dataclass(frozen=True)
class _Column:
    """A column of the table. One with a higher `rank` goes first where there is no room."""

    title: str
    rank: int
    text: Callable[[Status], str]
    right: bool = False


def lines(
    loops: Sequence[Status],
    now: datetime,
    environ: Mapping[str, str],
    *,
    host: str | None = None,
    colours: bool = False,
    columns: int = 100,
) -> list[str]:
    """A header and a line a loop. Columns go before the goal is cut below what says something. `host`: this one."""
    home = environ.get("HOME", "")
    hosts = {loop.host for loop in loops if loop.host}
    many_hosts = len(hosts) > 1 or not hosts <= {host}
    offered = [
        _Column("ID", 0, lambda loop: loop.id),
        _Column("STATE", 0, render.state_word),
        _Column("ITER", 3, _iteration, right=True),
        _Column("BEST", 1, _best, right=True),
        _Column("WHEN", 2, lambda loop: when(loop, now)),
        _Column("COST", 4, _cost, right=True),
        _Column("TIME", 6, _time, right=True),
        _Column("SCHEDULE", 7, lambda loop: loop.schedule or ""),
        _Column("HOST", 3, lambda loop: loop.host or "" if many_hosts else ""),
        _Column("FOLDER", 5, lambda loop: cut_left(visible(from_home(loop.directory, home)), _FOLDER_MOST)),
    ]
    texts = {column.title: [column.text(loop) for loop in loops] for column in offered}
    offered = [column for column in offered if any(texts[column.title])]
    widths = {column.title: max(map(cells, (column.title, *texts[column.title]))) for column in offered}
    goals = [visible(loop.goal) for loop in loops]
    least = max(4, min(_GOAL_LEAST, max(map(cells, goals), default=0)))

    def room(chosen: Sequence[_Column]) -> int:
        return columns - sum(widths[column.title] + 2 for column in chosen)

    chosen = offered
    while room(chosen) < least and any(column.rank for column in chosen):
        last = max(chosen, key=lambda column: column.rank)
        chosen = [column for column in chosen if column is not last]

    def line(texts: Mapping[str, str], goal: str, loop: Status | None) -> str:
        shown = [
            paint(
                pad(texts[column.title], widths[column.title], right=column.right),
                *(_style(column.title, loop) if loop is not None else ()),
                on=colours,
            )
            for column in chosen
        ]
        return "  ".join([*shown, cut(goal, max(4, room(chosen)))]).rstrip()

    header = line({column.title: column.title for column in offered}, "GOAL", None)
    return [paint(header, "dim", on=colours)] + [
        line({title: column[place] for title, column in texts.items()}, goals[place], loop)
        for place, loop in enumerate(loops)
    ]


def _style(title: str, loop: Status) -> Sequence[str]:
    live = ("bold",) if loop.state != "finished" else ()
    if title == "STATE":
        return (*live, *render.state_style(loop))
    if title == "ID":
        return live
    return ("dim",) if title in ("WHEN", "TIME", "FOLDER") else ()


def when(loop: Status, now: datetime) -> str:
    """When it ended, or until when it waits for a limit's reset, else how long it has been at work."""
    if loop.state == "finished":
        return times.ago(times.local(loop.ended_at), now) if loop.ended_at else ""
    if loop.away_since:
        return f"since {times.moment(times.local(loop.away_since), now)}"
    if loop.partial:
        return ""
    if loop.waiting_until:
        return f"until {times.clock(times.local(loop.waiting_until), now)}"
    return f"for {in_words(int(loop.elapsed_s))}"


def _cost(loop: Status) -> str:
    return f"{'~' if loop.cost_estimated else ''}${loop.cost_usd:,.2f}" if loop.cost_usd else ""


def _time(loop: Status) -> str:
    return in_words(int(loop.elapsed_s)) if not loop.partial or loop.ended_at else "-"


def _iteration(loop: Status) -> str:
    most = render.last_allowed(loop)
    return "-" if loop.partial else f"{loop.iteration}{f'/{most}' if most else ''}"


def _best(loop: Status) -> str:
    if loop.strategy != "optimize" or not loop.best:
        return "-"
    moved = loop.baseline is not None and loop.best.iteration != loop.baseline.iteration
    percent = render.change(loop.best.score, loop.baseline.score) if moved and loop.baseline else ""
    return f"{render.score(loop.best.score)} {percent}".strip()
