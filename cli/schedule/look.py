"""`schedule list` and `schedule show`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beatctl.cli import times
from beatctl.cli.arguments import Json
from beatctl.cli.cells import cells, cut, pad
from beatctl.cli.loops import Loops
from beatctl.cli.output import colour, from_home, out, out_json, paint, say, visible, width

if TYPE_CHECKING:
    from temporalio.client import Client

    from beatctl.cli.schedule.kept import Kept
    from beatctl.cli.schedule.server import Run, Seen

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name or its beginning.")]

_NEXT = 3
_RUNS = 10


def list_(as_json: Json = False) -> int:
    """List the schedules.

    What each starts and when, its next three times in this machine's time, its last loop and how that ended.
    """
    loops = Loops()
    found = _all(loops)
    if as_json:
        out_json([as_json_of(seen, loops) for seen in found])
        return 0
    if not found:
        out('No schedules yet. Make one: beatctl schedule create nightly --cron "0 22 * * *" -- "the goal" --until …')
        return 0
    for line in lines(found, loops, datetime.now().astimezone(), colours=colour(sys.stdout), columns=width()):
        out(line)
    for words in sorted({seen.away for seen in found if seen.away}):
        say(f"{words[0].upper()}{words[1:]}: loops that are to start there wait for one.")
    return 0


def show(name: Name, as_json: Json = False) -> int:
    """Show a schedule and what it has started."""
    from beatctl.cli.schedule import server
    from beatctl.cli.schedule.timing import OVERLAPS
    from beatctl.cli.units import in_words

    loops = Loops()
    seen = found(loops, name, runs=_RUNS)
    if as_json:
        out_json(as_json_of(seen, loops))
        return 0
    kept, timing, now = seen.kept, seen.kept.timing, datetime.now().astimezone()
    counted = f"{seen.started} started"
    counted += f", {seen.skipped} skipped (a loop still ran)" if seen.skipped else ""
    counted += f", {seen.missed} missed (the server was away)" if seen.missed else ""
    facts = [
        ("starts", times_line(seen, now)),
        ("paused", (seen.note or "yes") if seen.paused else ""),
        ("overlap", f"{timing.overlap}: {OVERLAPS[timing.overlap]}"),
        ("late", f"by up to {in_words(timing.catch_up_s)} where the server was away"),
        ("jitter", in_words(timing.jitter_s) if timing.jitter_s else ""),
        ("left", f"{seen.left} of {timing.remaining}" if seen.left is not None else ""),
        ("until", _moment(timing.until) if timing.until is not None else ""),
        ("folder", place(kept, loops)),
        ("host", f"{kept.host}{f' ({seen.away})' if seen.away else ''}" if kept.connection != "embedded" else ""),
        ("server", kept.connection if kept.connection != "embedded" else ""),
        ("loops", counted),
    ]
    out(f"{paint(kept.name, 'bold', on=colour(sys.stdout))}  {visible(kept.goal)[:200]}")
    for label, text in facts:
        if text:
            out(f"  {label:<9} {text}")
    for run in reversed(seen.runs):
        out(f"  {'':<9} {times.day(times.local(run.started_at.timestamp()), now)}  {_run_words(run, loops)}")
    if isinstance(seen, server.Resting):
        say(_RESTS)
    return 0


_RESTS = "beatctl was shut down (beatctl down): schedules rest until beatctl up -d"


def place(kept: Kept, loops: Loops) -> str:
    """Where its loops work: `~/shop`, or `a clone of https://…`."""
    if kept.directory is None:
        return f"a clone of {kept.repo}"
    return from_home(kept.directory, loops.environ.get("HOME", ""))


def found(loops: Loops, word: str, *, runs: int) -> Seen:
    """The schedule that a word means. Raises Usage, Unavailable."""
    from beatctl.cli.schedule import kept as keeping
    from beatctl.cli.schedule import server

    if _rests(loops):
        kept = {one.name: one for one in keeping.all_kept(loops.home, server.label_of(loops))}
        return server.Resting(kept[server.find(list(kept), word)])

    return server.reach(loops, lambda client: ask(client, loops, word, runs=runs))


async def ask(client: Client, loops: Loops, word: str, *, runs: int) -> Seen:
    """The same, of the server. One that it has forgotten is forgotten here, too."""
    from beatctl.cli.problems import Usage
    from beatctl.cli.schedule import kept as keeping
    from beatctl.cli.schedule import server

    name = server.find(await server.known(client, loops), word)
    seen = await server.see(client, name, runs=runs)
    if seen is None:
        keeping.forget(loops.home, name)
        raise Usage(_gone(name))
    return seen


def _all(loops: Loops) -> list[Seen]:
    from beatctl.cli.schedule import kept as keeping
    from beatctl.cli.schedule import server

    here = keeping.all_kept(loops.home, server.label_of(loops))
    if _rests(loops):
        if here:
            say(_RESTS)
        return [server.Resting(kept) for kept in here]
    if not here and server.connection_of(loops) is None:
        return []  # and nothing is started to find that out

    async def ask_for_all(client: Client) -> list[Seen]:
        seen = await server.see_all(client, await server.known(client, loops), runs=1)
        for name, one in seen.items():
            if one is None:
                keeping.forget(loops.home, name)
                say(_gone(name))
        return [one for one in seen.values() if one is not None]

    return server.reach(loops, ask_for_all)


def _gone(name: str) -> str:
    return (
        f'The Temporal server has no schedule "{name}" any more: it was over, or the server\'s data is gone. '
        "Forgotten here, too."
    )


def _rests(loops: Loops) -> bool:
    from beatctl.cli.schedule import server

    return server.connection_of(loops) is None and server.is_down(loops)


def times_line(seen: Seen, now: datetime | None = None) -> str:
    """`0 22 * * 1-5 (Europe/Lisbon): tomorrow 22:00, Tue 22:00, Wed 22:00`."""
    coming = _coming(seen, now or datetime.now().astimezone())
    return f"{seen.kept.timing.words()}: {coming}"


def _coming(seen: Seen, now: datetime) -> str:
    from beatctl.cli.schedule import server

    if isinstance(seen, server.Resting):
        return "rests"
    if seen.left == 0 or not seen.next:
        return "nothing more to come"
    when = [moment.astimezone() for moment in seen.next[:_NEXT]]
    often = len(when) > 1 and (when[1] - when[0]).total_seconds() < 60
    told = [f"{moment:%H:%M:%S}" if often else times.clock(moment, now) for moment in when]
    return ("paused, else " if seen.paused else "") + ", ".join(told)


def _moment(text: str) -> str:
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S %z")


def _run_words(run: Run, loops: Loops) -> str:
    """`nightly-3 reached`, `nightly-4 running`, `refused: Loop k3f9 is using this folder`."""
    state, outcome = _as_of_ledger(run, loops)
    if state == "refused":
        return f"refused: {' '.join(visible(run.words).split())}"
    if run.loop is None:
        return "is being started" if state == "running" else "unknown: the server has forgotten"
    return f"{run.loop} {outcome or state}"


def _as_of_ledger(run: Run, loops: Loops) -> tuple[str, str | None]:
    """State and outcome of what was started: the ledger knows more of this home's loops, and sooner."""
    status = loops.ledger.status(run.loop) if run.loop is not None else None
    return (status.state, status.outcome) if status is not None else (run.state, run.outcome)


def lines(seen: Sequence[Seen], loops: Loops, now: datetime, *, colours: bool, columns: int) -> list[str]:
    """A header and a line a schedule; the goal is cut to what room there is."""
    heads = ("NAME", "STARTS", "NEXT", "LAST")
    rows = [
        (
            one.kept.name,
            one.kept.timing.words(),
            _coming(one, now),
            _run_words(one.runs[-1], loops) if one.runs else "-",
        )
        for one in seen
    ]
    most = (40, 34, 48, 40)
    rows = [tuple(cut(text, limit) for text, limit in zip(row, most, strict=True)) for row in rows]  # type: ignore[misc]
    widths = [max(cells(row[place]) for row in (heads, *rows)) for place in range(len(heads))]
    room = max(12, columns - sum(widths) - 2 * len(widths))

    def line(texts: Sequence[str], goal: str) -> str:
        return "  ".join([*(pad(text, size) for text, size in zip(texts, widths, strict=True)), cut(goal, room)])

    head = paint(line(heads, "GOAL").rstrip(), "dim", on=colours)
    return [head, *(line(row, visible(one.kept.goal)).rstrip() for row, one in zip(rows, seen, strict=True))]


def as_json_of(seen: Seen, loops: Loops) -> dict[str, Any]:
    """A schedule as `--json` prints it. Times are ISO 8601 in UTC, `next` what comes next, `runs` the newest first."""
    from beatctl.activities.records import timestamp
    from beatctl.cli.schedule import server

    def run_json(run: Run) -> Mapping[str, Any]:
        state, outcome = _as_of_ledger(run, loops)
        return {
            "started_at": timestamp(run.started_at.timestamp()),
            "loop": run.loop,
            "state": state,
            "outcome": outcome,
            "refused": run.words or None,
        }

    runs = [run_json(run) for run in reversed(seen.runs)]
    kept = seen.kept
    return {
        "name": kept.name,
        "goal": kept.goal,
        "directory": kept.directory,
        "repo": kept.repo,
        "host": kept.host,
        "connection": kept.connection,
        "arguments": kept.arguments,
        **kept.timing.model_dump(mode="json"),
        "created_at": kept.created_at,
        "paused": seen.paused,
        "note": seen.note or None,
        "rests": isinstance(seen, server.Resting),
        "next": [timestamp(moment.timestamp()) for moment in seen.next],
        "left": seen.left,
        "started": seen.started,
        "skipped": seen.skipped,
        "missed": seen.missed,
        "running": seen.running,
        "away": seen.away,
        "last": runs[0] if runs else None,
        "runs": runs,
    }
