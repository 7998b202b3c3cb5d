"""Puts a disturbed run beside an undisturbed one of the same seed, and prints what became of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.bench.figures import heading, line
from tests.chaos.counting import course, differences, doubled, going_on, lost_agents, missing, repeated
from tests.chaos.killer import Made
from tests.chaos.plan import Plan
from tests.chaos.run import Run


@dataclass(frozen=True)
class Outcome:
    """What a run came to. Everything but iterations, kills and times is as it should be when it is empty."""

    iterations: int
    kills: list[Made]
    taken_over: int
    """Agent runs whose result was read by another worker than the one that had started them."""
    lost: list[int]
    agents_repeated: list[str]
    evaluators_repeated: list[str]
    missing: list[int]
    doubled: list[int]
    orphans: list[str]
    taken: list[float | None]
    """Seconds to going on, for each kill."""
    tree: list[str] = field(default_factory=list)
    """Where the final tree is not the undisturbed run's."""
    scores: list[str] = field(default_factory=list)
    """Where verdicts, scores, exit codes, parents or snapshots are not."""
    trouble: str = ""
    """Why it came to no end."""

    def failed(self) -> list[str]:
        """What is not as it should be, in words."""
        wrong = {
            "agent runs lost": self.lost,
            "agent runs repeated": self.agents_repeated,
            "evaluator runs repeated": self.evaluators_repeated,
            "rows missing": self.missing,
            "rows doubled": self.doubled,
            "orphans left": self.orphans,
            "differences in the final tree": self.tree,
            "differences in the scores": self.scores,
            "kills after which it never went on": [made.kill for made in self._never()],
        }
        return [*(f"{what}: {values}" for what, values in wrong.items() if values), *filter(None, [self.trouble])]

    def _never(self) -> list[Made]:
        return [made for made, seconds in zip(self.kills, self.taken, strict=True) if seconds is None]

    def print(self, *, compared: bool) -> None:
        by = ", ".join(f"{what} {len(taken)}" for what, taken in self.by_kind().items())
        heading(f"{len(self.kills)} kills ({by})")
        line("iterations", str(self.iterations))
        line("agent runs taken over by a new worker", str(self.taken_over))
        line("agent runs lost", str(len(self.lost)))
        line("agent runs repeated", str(len(self.agents_repeated)))
        line("evaluator runs repeated", str(len(self.evaluators_repeated)))
        line("rows missing", str(len(self.missing)))
        line("rows doubled", str(len(self.doubled)))
        line("orphans left", str(len(self.orphans)))
        every = [seconds for taken in self.by_kind().values() for seconds in taken]
        if every:
            line("from a kill to going on, median", f"{statistics.median(every):.1f} s", "10 or less is the aim")
            line("from a kill to going on, worst", f"{max(every):.1f} s", self._what_took_longest())
        for what, taken in self.by_kind().items():
            line(f"  {what}", f"{statistics.median(taken):.1f} s", f"worst {max(taken):.1f} s")
        if compared and not self.trouble:
            line("final tree as the undisturbed run's", "no" if self.tree else "yes")
            line("scores and snapshots as that run's", "no" if self.scores else "yes")
        for words in self.failed():
            print(f"  ! {words}", flush=True)

    def _what_took_longest(self) -> str:
        pairs = zip(self.kills, self.taken, strict=True)
        made, seconds = max(pairs, key=lambda pair: float("inf") if pair[1] is None else pair[1])
        again = any(made.at < other.at and (seconds is None or other.at < made.at + seconds) for other in self.kills)
        return f"{made.kill.edge or made.kill.what}" + (", and another kill before it had gone on" if again else "")

    def by_kind(self) -> dict[str, list[float]]:
        """Seconds to going on, by what was killed."""
        found: dict[str, list[float]] = {}
        for made, seconds in zip(self.kills, self.taken, strict=True):
            kind = "worker, at an edge" if made.kill.edge else made.kill.what
            found.setdefault(kind, []).append(float("inf") if seconds is None else seconds)
        return dict(sorted(found.items()))


def read_outcome(
    run: Run, plan: Plan, kills: Sequence[Made], undisturbed: Run | None = None, trouble: str = ""
) -> Outcome:
    """The loops have ended, or came to no end, and of `run` nothing runs any more."""
    rows, log = run.rows(), run.log()
    numbers = [row["iteration"] for row in rows]
    tree: list[str] = []
    scores: list[str] = []
    if undisturbed is not None:
        calm = undisturbed.rows()
        tree = differences(run.tree(), undisturbed.tree())
        scores = differences(course(rows), course(calm)) + differences(run.snapshots(rows), undisturbed.snapshots(calm))
    return Outcome(
        iterations=max(numbers, default=0),
        kills=list(kills),
        taken_over=sum(bool(row["agent"] and row["agent"]["adopted"]) for row in rows),
        lost=lost_agents(log, rows, plan.iterations),
        agents_repeated=repeated(log, "agent"),
        evaluators_repeated=repeated(log, "evaluator"),
        missing=missing(numbers, plan.iterations),
        doubled=doubled(numbers, plan.iterations),
        orphans=run.orphans(),
        taken=going_on([made.at for made in kills], log),
        tree=tree,
        scores=scores,
        trouble=trouble,
    )
