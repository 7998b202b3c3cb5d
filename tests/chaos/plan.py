"""Who is killed when: drawn from a seed before anything starts, in terms of the loop's own progress. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

What = Literal["worker", "server", "supervisor", "all"]
WHAT: Sequence[What] = ("worker", "server", "all", "supervisor")
SLOW: Sequence[What] = ("worker", "all")
EDGES = (
    "conclude:before-ledger",
    "after:conclude_iteration",
    "after:run_agent",
    "before:run_agent",
    "after:snapshot_workspace",
    "after:run_evaluator",
    "before:run_evaluator",
    "before:snapshot_workspace",
    "before:conclude_iteration",
)
"""Places in the worker (see activities/processes/faults.py), those that matter most first."""
_AFTER = 3
"""Iterations after the last kill: it, too, has to be seen going on."""
_LATE = 5
"""For so many kills one iteration more: a worker that is to die at an edge may come there an iteration later."""


@dataclass(frozen=True)
class Kill:
    """One kill. It is due `delay_s` after the agent of `iteration` has started; with an edge the worker kills itself,
    the next time it comes there."""

    iteration: int
    what: What
    delay_s: float
    edge: str | None = None
    hasty: bool = False
    """It does not wait until the loop goes on after the one before."""
    slow: bool = False
    """The agent that runs then goes on for seconds more."""


@dataclass(frozen=True)
class Plan:
    kills: list[Kill]
    iterations: int


def make_plan(seed: int, kills: int) -> Plan:
    """So many kills, over as many iterations as that takes."""
    dice = random.Random(f"kills {seed}")
    # A third at edges, each as often as the others; a few kills more at the edges where there are too few for all.
    at_edges = min(max(kills // 3, min(len(EDGES), kills - len(WHAT))), kills)
    edges = [EDGES[number % len(EDGES)] for number in range(at_edges)]
    targets: list[What] = [WHAT[number % len(WHAT)] for number in range(kills - at_edges)]
    whats: list[tuple[What, str | None]] = [*(("worker", edge) for edge in edges), *((what, None) for what in targets)]
    dice.shuffle(whats)
    planned: list[Kill] = []
    iteration = 0
    for what, edge in whats:
        iteration += dice.randint(1, 2)
        two = edge is None and planned and planned[-1].edge is None and what in {kill.what for kill in planned}
        hasty = bool(two) and dice.random() < 0.2
        planned.append(Kill(iteration, what, dice.uniform(0, 1), edge, hasty))
    _slow_down(planned)
    return Plan(planned, iteration + _AFTER + kills // _LATE)


def make_overnight_plan(seed: int, iterations: int, each: int) -> Plan:
    """Worker and server killed `each` times, spread over the loop."""
    dice = random.Random(f"overnight {seed}")
    targets: list[What] = ["worker", "server"] * each
    dice.shuffle(targets)
    moments = sorted(dice.sample(range(1, iterations - _AFTER), len(targets)))
    planned = [Kill(at, what, dice.uniform(0, 0.3)) for at, what in zip(moments, targets, strict=True)]
    _slow_down(planned)
    return Plan(planned, iterations)


def _slow_down(planned: list[Kill]) -> None:
    """Give every second kill of those that end the worker an agent that takes its time."""
    for what in SLOW:
        found = [n for n, kill in enumerate(planned) if kill.what == what and kill.edge is None and not kill.hasty]
        for number in found[::2]:
            planned[number] = replace(planned[number], slow=True)
