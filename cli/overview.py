"""Bare `beatctl`: a block for each loop that changed since the user last looked. Needs no server."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from beatctl.cli import listing, looked, render, times
from beatctl.cli.arguments import AGENTS
from beatctl.cli.cells import cells, cut
from beatctl.cli.loops import Loops
from beatctl.cli.output import colour, out, paint, say, visible, width
from beatctl.cli.view import doing

if TYPE_CHECKING:
    from beatctl.activities.records import Row, Status
    from beatctl.cli.looked import Looked, Seen

_BLOCKS = 6
_KEPT = 3
_RECENT_S = 2 * 86400.0


def overview() -> int:
    """Bare `beatctl`."""
    loops = Loops()
    known = loops.all()
    if not known:
        _print_welcome()
        return 0
    last = looked.read(loops.home)
    changed = [loop for loop in known if _has_changed(loop, last)]
    now = datetime.now().astimezone()
    shown = changed[:_BLOCKS]
    if shown and last.at is not None:
        out(f"Since you last looked ({times.ago(times.local(last.at), now)}):")
        out("")
    for place, loop in enumerate(shown):
        if place:
            out("")
        for line in block(loops, loop, last.loops.get(loop.id), now):
            out(line)
    _print_rest(loops, known, changed, last, now)
    for line in listing.hints(loops, [loop for loop in known if loop.state != "paused"]):
        say(line)
    looked.note(loops.home, known)
    return 0


def _has_changed(loop: Status, last: Looked) -> bool:
    if last.at is None:  # never looked: what runs, and what ended lately
        return loop.state != "finished" or loop.ended_at is None or _age(loop.ended_at) < _RECENT_S
    return last.loops.get(loop.id) != looked.Seen.of(loop)


def _age(moment: str) -> float:
    return (datetime.now().astimezone() - times.local(moment)).total_seconds()


def _print_rest(loops: Loops, known: Sequence[Status], changed: Sequence[Status], last: Looked, now: datetime) -> None:
    """A line for each loop that has not ended and shows nothing new; where nothing is new, at least for the newest."""
    more = len(changed) - _BLOCKS
    if more > 0:
        out("")
        out(f"{more} more changed: beatctl list")
    quiet = [loop for loop in known if loop.state != "finished" and loop not in changed]
    if changed:
        if quiet:
            out("")
    else:
        ended = sorted(known, key=lambda loop: loop.ended_at or "", reverse=True)
        quiet = quiet or ended[:1]
        since = f" since you last looked ({times.ago(times.local(last.at), now)})" if last.at is not None else ""
        out(f"Nothing new{since}.")
    for loop in quiet[:_BLOCKS]:
        out(_line(loops, loop, now))
    if len(quiet) > _BLOCKS:
        out(f"… and {len(quiet) - _BLOCKS} more: beatctl list")


def _line(loops: Loops, loop: Status, now: datetime) -> str:
    """A loop on a line: what it does, or how it ended."""
    colours, columns = colour(sys.stdout), width()
    if loop.state == "finished":
        words = f"{listing.when(loop, now)}: {render.best_words(loop)}"
    elif loop.state == "paused":
        words = f"{loop.reason or 'asked'}: beatctl resume {loop.id}"
    else:
        running = visible(doing(loops, loop))
        words = f"{listing.when(loop, now)}: {running}, {render.best_words(loop)}"
    head = f"{loop.id}  {render.state_word(loop)}"
    styled = f"{paint(loop.id, 'bold', on=colours)}  {render.state_styled(loop, colours=colours)}"
    return f"{styled}  {cut(words, max(20, columns - cells(head) - 2))}"


def block(loops: Loops, loop: Status, seen: Seen | None, now: datetime) -> list[str]:
    """What happened in a loop since it was last seen, how it stands, and what to type."""
    colours, columns = colour(sys.stdout), width()
    after = seen.iteration if seen else -1
    counts = loops.ledger.counts(loop.id, after=after)
    fields = [
        ("new" if seen else "so far", _happened(counts, seen)),
        ("best" if loop.strategy == "optimize" else "result", _best(loops, loop, seen)),
        ("now", visible(doing(loops, loop)) if loop.state in ("running", "waiting") else ""),
        ("why", visible(loop.detail) if not loop.waiting_until else ""),
        ("spent", render.cost_words(loop)),
        ("next", render.next_words(loop)),
    ]
    lines = [_head(loop, now, colours, columns)]
    for name, text in fields:
        if text:
            lines += render.field(name, text, colours=colours, columns=columns)
        if name == "best":
            kept = loops.ledger.kept(loop.id, after=after, newest=_KEPT)
            lines += [f"  {'':<10}{line}" for line in _kept(kept, loop, columns - 12)]
    return lines


def _head(loop: Status, now: datetime, colours: bool, columns: int) -> str:
    word = render.state_word(loop)
    why = f" ({loop.reason})" if loop.reason and loop.reason != word and loop.state in ("finished", "paused") else ""
    when = listing.when(loop, now)
    room = columns - cells(f"{loop.id}  {word}{why}  {when}  ")
    words = f"{paint(loop.id, 'bold', on=colours)}  {render.state_styled(loop, colours=colours)}{why}"
    return f"{words} {when}  {cut(visible(loop.goal), max(20, room))}"


def _happened(counts: Mapping[str, int], seen: Seen | None) -> str:
    """`counts` by verdict, in the order in which they first came."""
    iterations = {verdict: count for verdict, count in counts.items() if verdict != "baseline"}
    total = sum(iterations.values())
    if not total:
        return "" if seen is None or not counts else "the baseline"
    return f"{total:,} iteration{'' if total == 1 else 's'}: {render.counts_words(iterations)}"


def _best(loops: Loops, loop: Status, seen: Seen | None) -> str:
    words = render.best_words(loop)
    moved = seen is not None and loop.best is not None and seen.best is not None and seen.best != loop.best.iteration
    if not moved or loop.strategy != "optimize" or seen is None or not seen.best:
        return words
    before = loops.ledger.row(loop.id, seen.best)
    return f"{words}; it was {render.score(before.score)} #{seen.best}" if before is not None else words


def _kept(kept: Sequence[Row], loop: Status, room: int) -> list[str]:
    """The newest experiments that were kept, a line each."""
    lines = []
    for row in kept:
        said = render.row_words(row)
        number = f"{render.score(row.score)}  " if loop.strategy == "optimize" else ""
        lines.append(cut(f"#{row.iteration}  {number}{said}", room) if said else "")
    return [line for line in lines if line]


def _print_welcome() -> None:
    """No loop has ever run here: what was found, and what to type."""
    found = [name for name in AGENTS if shutil.which(name)]
    out("No loops yet." + (f" Agents found: {', '.join(found)}." if found else ""))
    if not found:
        out("No claude, codex, gemini or opencode on PATH: install one, or --agent './agent.sh {prompt}'.")
    out("")
    out('  beatctl start "fix the failing test in auth.test.ts" --until "npm test"')
    out('  beatctl start "reduce bundle size" --eval "node scripts/measure-bundle.js" --minimize')
    out("")
    out("To see one at work without spending anything: beatctl demo")
