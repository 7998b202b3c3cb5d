"""The runs of one iteration with their times, from the journals that its shims wrote: they tell them also where the
worker that started a run is no more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from beatctl.activities.processes import Lost, Try, every_try
from beatctl.activities.run_evaluator import score_of

_NAME = re.compile(r"(agent|evaluator|check|best|setup)(?:-step(\d+))?(?:-(\d+))?")


@dataclass(frozen=True)
class Run:
    """One run of an agent, evaluator, check or setup that came to its end."""

    kind: str
    """`agent`, `evaluator`, `check`, `setup`, or `best`: the best measured again."""
    name: str
    """Its name in the iteration: `agent-2`."""
    step: int
    """Of a pipeline; 1 elsewhere."""
    started_at: float
    """Unix seconds, as `ended_at`."""
    ended_at: float
    ended_by: str = "exit"
    exit_code: int | None = None
    signal: int | None = None
    score: float | None = None
    """What it measured, where a score is wanted."""

    @property
    def failure(self) -> str | None:
        """How it failed, in a word or two; None where it exited with 0."""
        if self.ended_by != "exit":
            return self.ended_by
        if self.signal is not None:
            return f"signal {self.signal}"
        return f"exit {self.exit_code}" if self.exit_code else None


def runs_in(iteration: Path, *, scored: bool) -> list[Run]:
    """The runs in an iteration's folder, in the order of their starts. Of a run that was lost and repeated, the try
    that came to its end."""
    latest: dict[str, Try] = {}
    for one in every_try(iteration):
        if one.run.name not in latest or one.number > latest[one.run.name].number:
            latest[one.run.name] = one
    found = (_run(one, scored=scored) for one in latest.values())
    return sorted((run for run in found if run is not None), key=lambda run: (run.started_at, run.ended_at))


def _run(one: Try, *, scored: bool) -> Run | None:
    named = _NAME.fullmatch(one.run.name)
    if named is None:
        return None
    try:
        result = one.result()
    except Lost:
        return None
    return Run(
        kind=named[1],
        name=one.run.name,
        step=int(named[2] or 1),
        started_at=result.started_at,
        ended_at=max(result.started_at, result.ended_at),
        ended_by=result.ended_by,
        exit_code=result.exit_code,
        signal=result.signal,
        score=score_of(one) if scored and named[1] in ("evaluator", "best") else None,
    )
