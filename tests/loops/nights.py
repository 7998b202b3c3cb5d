"""Long nights without the wait: loops that are only in the ledger."""

from __future__ import annotations

from pathlib import Path

from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Mark, Row, Status, timestamp
from beatctl.workflows.spec import Limits


def night(home: Path, loop: str, iterations: int) -> None:
    """A loop of so many iterations in the ledger, every 50th kept, each in ten words."""
    ledger = Ledger(home / "ledger.db")
    status = Status(
        id=loop,
        goal="lower n",
        strategy="optimize",
        state="finished",
        outcome="improved",
        reason="max-iterations",
        directory="/",
        direction="minimize",
        started_at=timestamp(0),
        ended_at=timestamp(iterations),
        limits=Limits().model_dump(),
        baseline=Mark(iteration=0, score=iterations, snapshot="0" * 40),
        best=Mark(iteration=iterations // 50 * 50, score=0, snapshot="0" * 40),
        iteration=iterations,
    )
    ledger.add_loop(status, "{}", 0)
    rows = [
        Row(
            iteration=number,
            verdict="baseline" if not number else "discard" if number % 50 else "keep",
            score=iterations - number,
            started_at=timestamp(number),
            duration_s=1,
            parent=max(0, (number - 1) // 50 * 50) if number else None,
            summary="replaced one thing with another, which is a little shorter",
        )
        for number in range(iterations + 1)
    ]
    ledger.write(status, *rows)
