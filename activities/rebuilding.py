"""Rows that the ledger has lost, from what else is kept of an iteration: its ref's trailers and its runs' files.

A power cut can take the ledger's last writes, or somebody puts back an older copy of it. The workflow knows how many
rows there are to be.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from beatctl.activities import agents
from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.home import LoopFolder
from beatctl.activities.ledger import Ledger
from beatctl.activities.processes import Lost, RunResult, Try, every_try
from beatctl.activities.records import AgentRow, EvaluatorRow, Row, Verdict, sum_of_steps, timestamp
from beatctl.activities.run_agent import last_message_file
from beatctl.activities.run_evaluator import score_of
from beatctl.activities.text import clean
from beatctl.activities.workspace import Workspace

_WORDS = "this row was lost and is written anew from what was kept"


def lost_rows(ledger: Ledger, loop: LoopFolder, workspace: Workspace, below: int) -> list[Row]:
    """The rows with numbers less than `below` that the ledger does not have; usually none."""
    missing = ledger.missing(loop.id, below)
    spec = json.loads(ledger.spec(loop.id) or "{}") if missing else {}
    if "agent" not in spec:  # nothing is missing, or the loop itself is none that the ledger knows
        return []
    return [row_of(loop, workspace, spec, number) for number in missing]


def row_of(
    loop: LoopFolder, workspace: Workspace, spec: dict[str, Any], number: int, *, without: frozenset[str] = frozenset()
) -> Row:
    """The row of this number. `without`: names of runs that are told of elsewhere."""
    held = workspace.trailers(str(number))
    # A pipeline that was ended between two steps has no other.
    for step in range(len(spec.get("steps") or []), 0, -1):
        held = held or workspace.trailers(f"{number}-step{step}")
    snapshot, trailers = held or (None, {})
    runs = {name: run for name, run in _runs(loop.iteration(number)) if name not in without}
    judging = {name: run for name, run in runs.items() if name.startswith("evaluator")}
    agent_runs = [_agent(spec, one, result) for name, (one, result) in runs.items() if name.startswith("agent")]
    began = min((result.started_at for _, result in runs.values()), default=0.0)
    ended = max((result.ended_at for _, result in runs.values()), default=began)
    verdict = trailers.get("Beatctl-Verdict", "")
    score, parent = trailers.get("Beatctl-Score"), trailers.get("Beatctl-Parent")
    evaluator = None
    if judging:
        last = list(judging.values())[-1][1]
        total = sum(result.ended_at - result.started_at for _, result in judging.values())
        evaluator = EvaluatorRow(exit_code=_code(last), duration_s=round(total, 3))
    samples = [score_of(one) for one, _ in judging.values()] if spec.get("strategy") == "optimize" else []
    return Row(
        iteration=number,
        verdict=verdict if verdict in get_args(Verdict) else "inconclusive",
        score=float(score) if score else None,
        samples=[sample for sample in samples if sample is not None],
        started_at=timestamp(began),
        duration_s=round(ended - began, 3),
        agent=sum_of_steps([row for row, _ in agent_runs], pipeline=bool(spec.get("steps"))),
        evaluator=evaluator,
        snapshot=snapshot,
        parent=int(parent) if parent else None,
        summary=next((words for _, words in reversed(agent_runs) if words), "")[:2000],
        reason="; ".join(filter(None, [trailers.get("Beatctl-Reason"), _WORDS])),
        logs=f"runs/{number}",
    )


def _runs(iteration: Path) -> Iterator[tuple[str, tuple[Try, RunResult]]]:
    """The runs that have a result, by name, in the order they began."""
    found: list[tuple[float, str, Try, RunResult]] = []
    for one in every_try(iteration):
        try:
            result = one.result()
        except Lost:
            continue
        found.append((result.started_at, one.run.name, one, result))
    for _, name, one, result in sorted(found, key=lambda run: run[:2]):
        yield name, (one, result)


def _agent_spec(spec: dict[str, Any], program: str) -> AgentSpec:
    """Which of the loop's agents this program is."""
    agent = AgentSpec.model_validate(spec["agent"])
    if spec.get("fallback") is not None and program != agent.argv[0]:
        return AgentSpec.model_validate(spec["fallback"])
    return agent


def _agent(spec: dict[str, Any], one: Try, result: RunResult) -> tuple[AgentRow, str]:
    agent = _agent_spec(spec, one.spec().argv[0])
    told = agents.read_outcome(
        agent, one.stdout, one.stderr, result.exit_code, result.signal, last_message_file(one.run), result.ended_at
    )
    row = AgentRow(
        name=agent.name,
        version=told.version or agent.version,
        model=told.model or agent.model,
        exit_code=_code(result),
        session_id=told.session_id,
        cost_usd=told.cost_usd,
        cost_estimated=told.cost_estimated,
        tokens=told.tokens,
        duration_s=round(result.ended_at - result.started_at, 3),
    )
    return row, clean(told.summary)


def _code(result: RunResult) -> int | None:
    return result.exit_code if result.signal is None else -result.signal
