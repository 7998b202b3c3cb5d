"""`report`: where a loop's facts go: the terminal, a page, a table, JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beatctl.cli import service
from beatctl.cli.arguments import Json
from beatctl.cli.loops import Loops
from beatctl.cli.output import colour, out, out_json, width
from beatctl.cli.problems import Usage

if TYPE_CHECKING:
    from beatctl.activities.records import Row, Status
    from beatctl.cli.report.model import Report

_Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="LOOP", help="A loop's id or its beginning; left out: this folder's loop.", show_default=False
    ),
]
_Html = Annotated[
    str | None,
    typer.Option("--html", metavar="FILE", help="Write one page that needs no network.", show_default=False),
]
_Tsv = Annotated[bool, typer.Option("--tsv", help="Print commit, metric, status, description; --tsv FILE writes them.")]


def report(words: _Words = None, html: _Html = None, tsv: _Tsv = False, as_json: Json = False) -> int:
    """Tell what a loop came to.

    Outcome, reason, what was kept and what it brought, time, cost, what to type next.
    """
    loop, table = loop_and_file(words, tsv=tsv)
    if sum((html == "-", tsv and table == "-", as_json)) > 1:
        raise Usage("Only one of --html -, --tsv and --json can go to stdout: name a file for the others.")
    loops = Loops()
    status = loops.find(loop)
    service.bring_back_if_gone(loops, status)
    rows = loops.rows(status.id)
    made = report_of(loops, status, rows)
    if tsv:
        _write_tsv(loops, rows, table)
    if html is not None:
        _write_page(loops, status, made, rows, html)
    if as_json:
        out_json(as_json_of(made))
    elif not tsv and html is None:
        from beatctl.cli.report.terminal import lines

        for line in lines(made, colours=colour(sys.stdout), columns=width()):
            out(line)
    return 0


def loop_and_file(words: Sequence[str] | None, *, tsv: bool) -> tuple[str | None, str]:
    """Tell a loop's id, letters and digits, from the file `--tsv` writes; `-`, stdout, where none is named.

    Raises Usage.
    """
    loop: str | None = None
    file: str | None = None
    for word in words or ():
        if tsv and file is None and not (word.isalnum() and word[0].isalpha()):
            file = word
        elif loop is None:
            loop = word
        else:
            hint = f" A file is told from a loop by its dot: --tsv {word}.tsv" if tsv and file is None else ""
            raise Usage(f'Two loops: "{loop}" and "{word}". Give one.{hint}', help_of="report")
    return loop, file or "-"


def report_of(loops: Loops, status: Status, rows: Sequence[Row]) -> Report:
    """A loop's facts. `rows`: all of them, oldest first."""
    from beatctl.cli.report.model import made

    try:
        spec = json.loads(loops.ledger.spec(status.id) or "{}")
    except ValueError:
        spec = {}
    return made(status, spec if isinstance(spec, dict) else {}, rows)


def as_json_of(made: Report) -> dict[str, Any]:
    """The report as JSON has it, with the sentences and commands that the terminal shows."""
    from beatctl.cli.report import sentences

    commands = [command._asdict() for command in sentences.next_commands(made)]
    return {**made.model_dump(mode="json"), "why": sentences.why(made), "next": commands}


def _write_tsv(loops: Loops, rows: Sequence[Row], file: str) -> None:
    from beatctl.cli.report.files import write
    from beatctl.cli.report.tsv import HEADER, lines

    write(loops, file, "".join(line + "\n" for line in lines(rows)), starts_with=HEADER)


def _write_page(loops: Loops, status: Status, made: Report, rows: Sequence[Row], file: str) -> None:
    from beatctl.cli.report.diffs import collected
    from beatctl.cli.report.files import check, write
    from beatctl.cli.report.page import PAGE_STARTS_WITH, page

    check(loops, file, starts_with=PAGE_STARTS_WITH)
    diffs = collected(loops.folder(status.id), made, rows)
    write(loops, file, page(made, rows, diffs, time.time()), starts_with=PAGE_STARTS_WITH)
