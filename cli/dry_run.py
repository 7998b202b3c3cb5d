"""`start --dry-run`: what a loop would start with, measured; nothing is started, the folder is as before."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from beatctl.cli import dry_run_report, problems
from beatctl.cli.follow import Signals, noted_signals
from beatctl.cli.measuring import TIMES, Interrupted, Measured, measure
from beatctl.cli.output import out, out_json, say, visible
from beatctl.cli.render import score
from beatctl.cli.units import in_words
from beatctl.cli.worktree import left_behind

if TYPE_CHECKING:
    from beatctl.activities.run_evaluator import EvaluatorResult
    from beatctl.cli.loops import Loops
    from beatctl.cli.preparing import Prepared


def dry_run(loops: Loops, prepared: Prepared, *, as_json: bool) -> int:
    """Measure, tell, and give the folder back. Returns the exit code: 3 where a loop could not begin."""
    try:
        with noted_signals() as signals:
            measured = tried_out(loops, prepared, signals)
    except Interrupted:
        say("Interrupted: nothing runs any more, the folder is as before.")
        return problems.DETACHED
    if as_json:
        out_json(dry_run_report.as_json(measured))
    else:
        where = gave_back(prepared)
        for line in dry_run_report.lines(measured, where=where):
            out(line)
    return problems.ENVIRONMENT if measured.problem is not None else 0


def tried_out(loops: Loops, prepared: Prepared, signals: Signals) -> Measured:
    """Measure as a loop would begin, saying what comes out; the folder is as before. Raises Usage, Unavailable, and
    Interrupted once a signal came."""
    loops.check_home()
    for line in left_behind(prepared.origin, prepared.chosen, loops.environ) if prepared.origin is not None else []:
        say(line)
    say(f"Measuring {prepared.place}, {max(TIMES, prepared.chosen.samples)} times; no agent runs.")
    return measure(
        loops,
        prepared.chosen,
        prepared.agent,
        prepared.place,
        prepared.root,
        prepared.origin,
        allow_large=prepared.typed.allow_large,
        signals=signals,
        tell=_tell,
    )


def gave_back(prepared: Prepared) -> str:
    """Where it was measured, and what became of that."""
    made = prepared.origin is not None
    return f"{prepared.place}, " + ("in a worktree that was removed again" if made else "as it was before")


def _tell(name: str, result: EvaluatorResult) -> None:
    what = name.replace("-", " ")
    said = score(result.score) if result.score is not None else visible(result.words())
    say(f"  {what:<12} {said}, {in_words(result.duration_s)}")
    sys.stderr.flush()
