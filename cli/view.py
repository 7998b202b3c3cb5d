"""Looking at a loop: status and show. From the ledger; no server is needed."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beatctl.activities.doing import Doing, told
from beatctl.activities.notify.record import problems
from beatctl.activities.run_files import tries_of
from beatctl.cli import elsewhere, render, service
from beatctl.cli.arguments import Json, Loop, LoopAndNumber, loop_and_number
from beatctl.cli.experiment import Look, experiment_text
from beatctl.cli.loops import Loops
from beatctl.cli.output import colour, out, out_json, width
from beatctl.cli.pager import NoPager, paged
from beatctl.cli.problems import Usage
from beatctl.cli.units import in_words

if TYPE_CHECKING:
    from beatctl.activities.records import Row, Status


def status(loop: Loop = None, as_json: Json = False) -> int:
    """Show how a loop stands."""
    loops = Loops()
    found = loops.find(loop)
    service.bring_back_if_gone(loops, found)
    found = elsewhere.with_waiting(loops, found)
    found = found.model_copy(update={"notify_problems": problems(loops.folder(found.id))})
    if as_json:
        print_status_json(found)
        return 0
    at = datetime.now().astimezone()
    running = doing(loops, found)
    idle = why_idle(loops, found)
    if idle and found.state == "running" and not _runs(loops, found):
        running = ""
    for line in render.status_lines(found, now=running, at=at, colours=colour(sys.stdout), columns=width()):
        out(line)
    if idle:
        out(f"  {idle}")
    return 0


def print_status_json(status: Status) -> None:
    """A loop's status object on stdout."""
    out_json(status.model_dump(mode="json"))


def doing(loops: Loops, status: Status) -> str:
    """What runs at this moment, from the note that activities leave in the loop's folder."""
    if status.state in ("finished", "paused"):
        return status.now
    if status.waiting_until:
        return render.wait_words(status, time.time())
    note = told(loops.folder(status.id).now)
    if note is None or note.waiting:
        return status.now
    if _is_over(note):
        return _between(status, note)
    running = f"#{note.iteration} {note.what} {in_words(int(max(0.0, time.time() - note.since)))}"
    return f"{status.now} ({running})" if status.state == "waiting" and status.now else running


def _is_over(note: Doing) -> bool:
    return any(one.over for one in tries_of(Path(note.run)))


def _runs(loops: Loops, status: Status) -> bool:
    note = told(loops.folder(status.id).now)
    return note is not None and not note.waiting and not _is_over(note)


def _between(status: Status, ran: Doing) -> str:
    """What goes on between two runs."""
    what = f"#{ran.iteration}" if ran.iteration else "the baseline"
    if ran.iteration > status.iteration or not status.counts:
        return f"taking a snapshot of {what}" if Path(ran.run).name.startswith("agent") else f"judging {what}"
    return f"getting #{status.iteration + 1} ready" if status.now.startswith(("#", "snapshot")) else status.now


def why_idle(loops: Loops, status: Status) -> str:
    """A word on why an unfinished loop does not go on although it could: no worker runs, or none stays."""
    if status.state == "finished":
        return ""
    if service.is_running(loops, status):
        return "\n  ".join(service.crash_words(loops, status))
    if service.is_down(loops, status):
        return "beatctl was shut down (beatctl down): the loop waits. Go on with: beatctl up -d"
    return "No worker is running: the loop waits. Go on with: beatctl up -d"


def show(
    words: LoopAndNumber = None,
    prompt: Annotated[bool, typer.Option("--prompt", help="With the prompt in full.")] = False,
    no_pager: NoPager = False,
    as_json: Json = False,
) -> int:
    """Show all experiments, or number N whole."""
    loop, number = loop_and_number(words)
    if prompt and number is None:
        raise Usage("--prompt goes with an experiment's number: beatctl show 12 --prompt")
    loops = Loops()
    found = loops.find(loop)
    service.bring_back_if_gone(loops, found)
    if number is None:
        rows = [located(loops, found, row) for row in loops.rows(found.id)]
        if as_json:
            out_json([row.model_dump(mode="json") for row in rows])
        else:
            _print_rows(found, rows)
        return 0
    row = located(loops, found, row_of(loops, found, number))
    if as_json:
        out_json(row.model_dump(mode="json"))
    else:
        look = Look(whole_prompt=prompt, colours=colour(sys.stdout), columns=width())
        text = experiment_text(loops, found, row, look)
        paged(text.encode(sys.stdout.encoding or "utf-8", "replace"), plain=no_pager)
    return 0


def located(loops: Loops, status: Status, row: Row) -> Row:
    """The row with its `logs` as a path from the root: the ledger's begins at the loop's folder."""
    if row.logs is None:
        return row
    return row.model_copy(update={"logs": str(loops.folder(status.id).root / row.logs)})


def row_of(loops: Loops, status: Status, number: int) -> Row:
    """An iteration's row. Raises Usage, with the numbers there are."""
    row = loops.ledger.row(status.id, number)
    if row is None:
        last = loops.ledger.rows(status.id, newest_first=True, limit=1)
        there = f"There are 0 to {last[0].iteration}." if last else "It has none yet."
        runs = loops.folder(status.id).iteration(number).is_dir()
        at_work = f" #{number} is at work: beatctl logs {status.id} {number}" if runs else ""
        raise Usage(f"Loop {status.id} has no iteration {number}. {there}{at_work}")
    return row


def _print_rows(status: Status, rows: list[Row]) -> None:
    colours, columns = colour(sys.stdout), width()
    if not rows:
        out(f"Loop {status.id} has no rows yet: the baseline is being evaluated.")
        return
    scores = {row.iteration: row.score for row in rows}
    best = status.best.iteration if status.best else None
    for row in rows:
        mark = "*" if row.iteration == best else " "
        line = render.row_line(row, render.parent_score(row, scores), colours=colours, columns=columns - 2)
        out(f"{mark} {line}")
