"""What a run came to, from the agents' own log and the ledger's rows. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import BaseModel


class Entry(BaseModel):
    """One line of the log that agent and evaluator write."""

    who: Literal["agent", "evaluator"]
    event: Literal["start", "end", "left"]
    id: str
    """Of one process: each start has another."""
    iteration: int
    run: str
    """Which of the loop's runs it is; two starts of one run are a repetition."""
    at: float
    """Unix seconds."""
    code: int | None = None
    """The exit code it is about to end with."""
    pid: int | None = None
    """Of a process it left running."""


def entries(log: str) -> list[Entry]:
    return [Entry.model_validate(json.loads(line)) for line in log.splitlines()]


def lost_agents(log: Sequence[Entry], rows: Iterable[dict[str, Any]], iterations: int) -> list[int]:
    """Iterations whose agent never came to its end, or whose row does not tell the exit code that it ended with."""
    codes = {entry.iteration: entry.code for entry in log if entry.who == "agent" and entry.event == "end"}
    told = {row["iteration"]: row["agent"]["exit_code"] for row in rows if row["agent"]}
    return [number for number in range(1, iterations + 1) if codes.get(number, -1) != told.get(number, -2)]


def repeated(log: Sequence[Entry], who: Literal["agent", "evaluator"]) -> list[str]:
    """Runs that were started more than once, once for each start too many."""
    starts = Counter(entry.run for entry in log if entry.who == who and entry.event == "start")
    return sorted(run for run, times in starts.items() for _ in range(times - 1))


def missing(numbers: Iterable[int], iterations: int) -> list[int]:
    """Rows that are not there; row 0 is the baseline's."""
    return sorted(set(range(iterations + 1)) - set(numbers))


def doubled(numbers: Iterable[int], iterations: int) -> list[int]:
    """Rows that are there more than once, or that no iteration can have."""
    return sorted(n for n, times in Counter(numbers).items() if times > 1 or not 0 <= n <= iterations)


def going_on(kills: Iterable[float], log: Sequence[Entry]) -> list[float | None]:
    """Seconds from each kill until the loop went on, None where it never did.

    It goes on when a run starts after another has ended that was not over at the kill: between the two the result went
    from a living worker to a living server, and the next run back. What the first still had to run is counted in.
    """
    ends = sorted(entry.at for entry in log if entry.event == "end")
    starts = sorted(entry.at for entry in log if entry.event == "start")
    taken: list[float | None] = []
    for kill in kills:
        end = next((at for at in ends if at > kill), None)
        start = next((at for at in starts if end is not None and at > end), None)
        taken.append(None if start is None else start - kill)
    return taken


def course(rows: Iterable[dict[str, Any]]) -> list[tuple[object, ...]]:
    """Of each row what must not depend on who was killed when."""
    return [
        (
            row["iteration"],
            row["verdict"],
            row["score"],
            row["parent"],
            row["agent"] and row["agent"]["exit_code"],
            row["evaluator"] and row["evaluator"]["exit_code"],
        )
        for row in rows
    ]


def differences(one: Sequence[object], other: Sequence[object]) -> list[str]:
    """In words, the first few places in which two courses, or two trees, differ."""
    found = [f"{a} | {b}" for a, b in zip(one, other, strict=False) if a != b]
    if len(one) != len(other):
        found.append(f"{len(one)} | {len(other)} in number")
    return found[:5]
