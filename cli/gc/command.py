"""`gc`: show what of ended loops can be freed, ask, and free it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beatctl.cli import render, times
from beatctl.cli.arguments import Json
from beatctl.cli.loops import Loops
from beatctl.cli.output import from_home, out, out_json, say, visible
from beatctl.cli.problems import ENDED_WITHOUT, USAGE, Usage
from beatctl.cli.units import BadValue, duration, in_words, size

if TYPE_CHECKING:
    from beatctl.activities.records import Status
    from beatctl.cli.gc.pieces import Found, Piece
    from beatctl.cli.gc.survey import Survey

_DEFAULT = "30d"
_STAYS = (
    "What stays: the ledger; of each loop the snapshots of its baseline, of what it kept and of your edits. "
    "list, show, report, diff, apply, undo and resume work as before."
)
_STAYS_OF_ALL = (
    "What stays: the ledger. list, show and report work; there is nothing left to diff, apply, undo or resume."
)


def gc(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="LOOP", help="These loops alone, however old.", show_default=False),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than", metavar="TIME", help=f"Loops that ended so long ago ({_DEFAULT}).", show_default=False
        ),
    ] = None,
    all_refs: Annotated[
        bool, typer.Option("--all-refs", help="Every snapshot, the best's and the baseline's too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Free it without asking.")] = False,
    as_json: Json = False,
) -> int:
    """Free what ended loops left.

    Prompts and outputs, snapshots of what was not kept, worktrees that hold nothing of yours, and what killed commands
    left. Shows it with sizes first. Loops that go on, the ledger and what is not beatctl's are never touched.
    """
    if dry_run and yes:
        raise Usage("--dry-run frees nothing, --yes frees without asking: give one of them.")
    loops = Loops()
    plan = _planned(loops, words or [], older_than, everything=all_refs)
    asks = not (dry_run or yes or as_json) and sys.stdin.isatty() and sys.stderr.isatty()
    if not as_json:
        plan.show()
    code, freed = 0, False
    if plan.pieces and not dry_run:
        if asks:
            yes = _asked()
        elif not yes:
            code = USAGE
            say("Nothing was freed: without a terminal to ask on, --yes frees it; --dry-run only shows it.")
        if yes:
            freed, code = True, plan.free()
    elif plan.pieces:
        say("Nothing was freed: --dry-run.")
    if as_json:
        out_json({**plan.as_json(), "freed": freed})
    elif asks and not yes:
        say("Nothing was freed.")
        code = ENDED_WITHOUT
    elif freed:
        out(f"Freed {size(plan.bytes(later=False))}.")
    return code


def _planned(loops: Loops, words: Sequence[str], older_than: str | None, *, everything: bool) -> _Plan:
    """What can be freed. Raises Usage."""
    from beatctl.cli.gc.survey import Survey

    try:
        age = duration(older_than if older_than is not None else "0" if words else _DEFAULT, "--older-than")
    except BadValue as wrong:
        raise Usage(str(wrong), help_of="gc") from None
    survey = Survey(loops, everything=everything)
    if words:
        named = list({status.id: status for status in map(loops.find, words)}.values())
        for status in named:
            if status.state != "finished":
                raise Usage(
                    f"Loop {status.id} is not over ({status.state}): nothing of it is freed. "
                    f"End it first: beatctl cancel {status.id}"
                )
        old, _ = survey.ended(age)
        chosen = [status for status in named if any(one.id == status.id for one in old)]
        younger, rest = len(named) - len(chosen), []
    else:
        chosen, younger = survey.ended(age)
        rest = [*survey.dry_runs(age), survey.repositories(age), survey.left_over()]
    looked = [(status, survey.loop(status)) for status in chosen]
    shown = [(status, found) for status, found in looked if found.pieces or found.stays]
    return _Plan(survey, shown, [one for one in rest if one.pieces or one.stays], younger, in_words(age), everything)


@dataclass
class _Plan:
    survey: Survey
    loops: list[tuple[Status, Found]]
    rest: list[Found]
    """Dry runs, and what is of no loop."""
    younger: int
    age: str
    everything: bool

    @property
    def pieces(self) -> list[Piece]:
        return [piece for found in self._all() for piece in found.pieces]

    def _all(self) -> list[Found]:
        return [*(found for _, found in self.loops), *self.rest]

    def bytes(self, *, later: bool) -> int:
        return sum(piece.bytes for piece in self.pieces if piece.later == later)

    # Showing

    def show(self) -> None:
        now = datetime.now().astimezone()
        for status, found in self.loops:
            when = times.ago(times.local(status.ended_at), now) if status.ended_at else ""
            where = from_home(status.origin or status.worktree or status.directory)
            head = [status.id, render.state_word(status), when, visible(where), visible(status.goal)[:40]]
            self._show("  ".join(word for word in head if word), found)
        for found in self.rest:
            self._show(f"{found.id}  a dry run" if " " not in found.id else found.id.capitalize(), found)
        if self.younger:
            loops = "1 loop" if self.younger == 1 else f"{self.younger} loops"
            say(f"{loops} ended less than {self.age} ago: left alone (--older-than).")
        if not self.pieces:
            out("There is nothing to free.")
            return
        total = f"{size(self.bytes(later=False))} in all"
        if any(piece.later for piece in self.pieces):
            total += f", and about {size(self.bytes(later=True))} when git next tidies up by itself (git gc)"
        out(f"{total}.")
        say(_STAYS_OF_ALL if self.everything else _STAYS)

    def _show(self, head: str, found: Found) -> None:
        out(head)
        for piece in found.pieces:
            amount = size(piece.bytes) + (", by git, later" if piece.later else "")
            out(f"  {piece.kind:<10}{from_home(visible(piece.what))}: {amount}")
        for words in found.stays:
            out(f"  {'stays':<10}{visible(words)}")

    def as_json(self) -> dict[str, Any]:
        def one(found: Found) -> dict[str, Any]:
            return {"free": [piece.as_json() for piece in found.pieces], "stays": found.stays}

        return {
            "loops": [
                {"id": status.id, "outcome": status.outcome, "ended_at": status.ended_at, **one(found)}
                for status, found in self.loops
            ],
            "others": [{"id": found.id, **one(found)} for found in self.rest],
            "bytes": self.bytes(later=False),
            "bytes_by_git_later": self.bytes(later=True),
        }

    # Freeing

    def free(self) -> int:
        """Free it all, each loop looked at once more while it can't go on. Returns the exit code."""
        well = True
        for status, _ in self.loops:
            with self.survey.held(status) as free:
                if not free:
                    say(f"{status.id} is in use by now: left alone.")
                    continue
                well &= _freed(self.survey.loop(status))
        for found in self.rest:
            well &= _freed(found)
        return 0 if well else ENDED_WITHOUT


def _freed(found: Found) -> bool:
    from beatctl.activities.workspace import WorkspaceProblem

    well = True
    for piece in found.pieces:
        try:
            piece.free()
        except (WorkspaceProblem, OSError) as problem:
            well = False
            say(f"{found.id}: {piece.kind} could not be freed: {problem}")
    return well


def _asked() -> bool:
    sys.stderr.write("Free it? [y/N] ")
    sys.stderr.flush()
    try:
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        say("")
        return False
