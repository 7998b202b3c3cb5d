"""The two runs of which chaos is made: one with kills beside one without, and a whole night with a few."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.chaos.killer import PATIENCE_S, Made, carry_out
from tests.chaos.outcome import Outcome, read_outcome
from tests.chaos.plan import Plan
from tests.chaos.run import Run, Server
from tests.support import Beatctl, clean_environment

AGENT_S = 0.6
"""Most that an agent run takes: long enough to be hit, short enough for hundreds."""


@contextmanager
def new_run(folder: Path, program: str, seed: int, server: Server | None = None) -> Iterator[Run]:
    """A run in a folder and home of its own; whatever it leaves running is ended."""
    folder.mkdir()
    beatctl = Beatctl(clean_environment(folder, program))
    try:
        yield Run(beatctl, folder, seed, server)
    finally:
        beatctl.close()


def disturbed_beside_undisturbed(
    folder: Path, program: str, seed: int, plan: Plan, say: Callable[[str], None], server: Server | None = None
) -> Outcome:
    """Run the loop twice, side by side, and kill around the one; with `server` on that one, which both then share."""
    with ExitStack() as stack:
        run = stack.enter_context(new_run(folder / "disturbed", program, seed, server))
        calm = stack.enter_context(new_run(folder / "calm", program, seed))
        calm.start(plan.iterations, most_s=AGENT_S, edges=False)
        run.start(plan.iterations, most_s=AGENT_S, edges=True)
        kills, trouble = _disturb(run, plan, say)
        if trouble:
            return read_outcome(run, plan, kills, trouble=trouble)
        calm.wait_until_finished(PATIENCE_S + plan.iterations)
        return read_outcome(run, plan, kills, calm)


def night(folder: Path, program: str, seed: int, plan: Plan, say: Callable[[str], None]) -> tuple[Outcome, int, int]:
    """A long loop with a few kills, whose Temporal database is deleted after its end.

    Returns what it came to, and how many iterations `show` and `report` still tell of.
    """
    with new_run(folder / "night", program, seed) as run:
        run.start(plan.iterations, most_s=0.02, edges=False)
        kills, trouble = _disturb(run, plan, say)
        databases = list(run.beatctl.home.glob("temporal.db*"))
        assert databases, "the server's database is not where it was"
        for database in databases:
            database.unlink()
        shown = [row for row in run.rows() if row["iteration"] > 0]
        told = run.beatctl("report", run.loop, "--tsv", cwd=run.repository, expect=0).stdout.splitlines()
        # A line with the columns' names, and one for the baseline.
        return read_outcome(run, plan, kills, trouble=trouble), len(shown), len(told) - 2


def _disturb(run: Run, plan: Plan, say: Callable[[str], None]) -> tuple[list[Made], str]:
    """Kill, wait for the loop's end, and shut down; what came in between, if anything did."""
    kills: list[Made] = []
    try:
        carry_out(run, plan, kills, say)
        run.wait_until_finished(PATIENCE_S + plan.iterations)
    except AssertionError as problem:
        run.beatctl("down", "--force", cwd=run.repository, expect=0)
        return kills, str(problem)
    run.beatctl("down", cwd=run.repository, expect=0)
    return kills, ""
