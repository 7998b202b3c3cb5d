"""Looking at a loop: status and show. From the ledger; no server is needed."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from beatctl.activities.doing import told
from beatctl.cli import render, service
from beatctl.cli.arguments import Json, Loop, LoopAndNumber, loop_and_number
from beatctl.cli.loops import Loops
from beatctl.cli.output import colour, out, out_json, paint, say, visible, width
from beatctl.cli.problems import Usage
from beatctl.cli.units import in_words

if TYPE_CHECKING:
    from beatctl.activities.ledger import Row, Status

_TAIL_LINES = 20


def status(loop: Loop = None, as_json: Json = False) -> int:
    """Show how a loop stands."""
    loops = Loops()
    found = loops.find(loop)
    service.bring_back_if_gone(loops, found)
    if as_json:
        print_status_json(found)
        return 0
    at = datetime.now().astimezone()
    running = doing(loops, found)
    for line in render.status_lines(found, now=running, at=at, colours=colour(sys.stdout), columns=width()):
        out(line)
    idle = why_idle(loops, found)
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
    note = told(loops.folder(status.id).now)
    if note is None or any(Path(note.folder).glob("try-*/result.json")):
        return status.now
    running = f"#{note.iteration} {note.what} {in_words(int(max(0.0, time.time() - note.since)))}"
    return f"{status.now} ({running})" if status.state == "waiting" and status.now else running


def why_idle(loops: Loops, status: Status) -> str:
    """A word on why an unfinished loop does not go on although it could: no worker runs."""
    if status.state == "finished":
        return ""
    if service.is_running(loops, status):
        return ""
    if service.is_down(loops, status):
        return "beatctl was shut down (beatctl down): the loop waits. Go on with: beatctl up -d"
    return "No worker is running: the loop waits. Go on with: beatctl up -d"


def show(words: LoopAndNumber = None, as_json: Json = False) -> int:
    """Show all experiments, or number N whole."""
    loop, number = loop_and_number(words)
    loops = Loops()
    found = loops.find(loop)
    service.bring_back_if_gone(loops, found)
    if number is None:
        rows = [_located(loops, found, row) for row in loops.rows(found.id)]
        if as_json:
            out_json([row.model_dump(mode="json") for row in rows])
        else:
            _print_rows(found, rows)
        return 0
    row = _located(loops, found, row_of(loops, found, number))
    if as_json:
        out_json(row.model_dump(mode="json"))
    else:
        _print_experiment(loops, found, row)
    return 0


def _located(loops: Loops, status: Status, row: Row) -> Row:
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
        raise Usage(f"Loop {status.id} has no iteration {number}. {there}")
    return row


def _print_rows(status: Status, rows: list[Row]) -> None:
    colours, columns = colour(sys.stdout), width()
    if not rows:
        out(f"Loop {status.id} has no rows yet: the baseline is being evaluated.")
        return
    known = {row.iteration: row for row in rows}
    best = status.best.iteration if status.best else None
    for row in rows:
        mark = "*" if row.iteration == best else " "
        line = render.row_line(row, render.parent_score(row, known), colours=colours, columns=columns - 2)
        out(f"{mark} {line}")


def _print_experiment(loops: Loops, status: Status, row: Row) -> None:
    colours = colour(sys.stdout)
    parent = loops.ledger.row(status.id, row.parent) if row.parent is not None else None
    percent = render.change(row.score, parent.score if parent else None)
    out(f"{paint(f'#{row.iteration}', 'bold', on=colours)} {row.verdict}  {status.id}  {visible(status.goal)[:80]}")
    scored = render.score(row.score) + (f" ({percent} against #{row.parent})" if percent else "")
    samples = ", ".join(render.score(value) for value in row.samples) if len(row.samples) > 1 else ""
    agent = row.agent
    for name, text in (
        ("score", scored if row.score is not None else ""),
        ("samples", samples),
        ("reason", visible(row.reason or "")),
        ("started", f"{row.started_at}, took {in_words(row.duration_s)}"),
        ("agent", _agent_words(row) if agent else ""),
        ("evaluator", _evaluator_words(row)),
        ("snapshot", row.snapshot or ""),
        ("logs", row.logs or ""),
    ):
        if text:
            out(f"  {name:<10}{text}")
    folder = loops.folder(status.id).iteration(row.iteration)
    prompts = sorted(folder.glob("agent*/prompt.md"))
    for prompt in prompts:
        out(f"  {'prompt':<10}{prompt}")
    if row.notes:
        _section("Your notes, in its prompt and those after it", "\n".join(row.notes), colours)
    if row.summary:
        _section("The agent said", row.summary.rstrip(), colours)
    said = _evaluator_tail(folder)
    if said:
        _section("The evaluator's output (its end)", said, colours)
    stat = _stat(loops, status, row, parent)
    if stat:
        _section("Changed", stat, colours)


def _section(title: str, text: str, colours: bool) -> None:
    out("")
    out(paint(title, "bold", on=colours))
    for line in text.splitlines():
        out(f"  {visible(line) if not line.startswith(' ') else ' ' + visible(line)}")


def _agent_words(row: Row) -> str:
    agent = row.agent
    assert agent is not None
    parts = [" ".join(word for word in (agent.name, agent.version) if word)]
    if agent.model:
        parts.append(agent.model)
    parts.append(f"exit code {agent.exit_code}" if agent.exit_code is not None else "no exit code")
    parts.append(in_words(agent.duration_s))
    if agent.cost_usd is not None:
        parts.append(f"${agent.cost_usd:.2f}")
    if agent.tokens is not None:
        parts.append(f"{agent.tokens:,} tokens")
    if agent.adopted:
        parts.append("adopted by a restarted worker")
    if agent.lost:
        parts.append(f"{agent.lost} lost and run again")
    return ", ".join(parts)


def _evaluator_words(row: Row) -> str:
    evaluator = row.evaluator
    if evaluator is None:
        return ""
    code = f"exit code {evaluator.exit_code}" if evaluator.exit_code is not None else "no exit code"
    return f"{code}, {in_words(evaluator.duration_s)}"


def _evaluator_tail(folder: Path) -> str:
    from beatctl.cli.logs import outputs, tail

    runs = [run for run in outputs(folder) if run.kind.startswith(("evaluator", "check"))]
    if not runs:
        return ""
    text = "".join(tail(stream, _TAIL_LINES) for stream in (runs[-1].stdout, runs[-1].stderr))
    return text.rstrip()


def _stat(loops: Loops, status: Status, row: Row, parent: Row | None) -> str:
    if parent is None or not parent.snapshot or not row.snapshot:
        return ""
    from beatctl.activities.workspace import Workspace, WorkspaceProblem

    try:
        workspace = Workspace.load(loops.folder(status.id))
        return workspace.diff(parent.snapshot, row.snapshot, stat=True).decode("utf-8", "replace").rstrip()
    except (WorkspaceProblem, OSError) as problem:
        say(f"The changes can't be shown: {problem}")
        return ""
