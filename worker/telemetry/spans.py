"""What is told of an iteration, and of a loop's end, as spans. Pure.

Prompts, outputs and the goal are no part of it: an agent's or evaluator's own words only where content is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from beatctl.activities.records import AgentRow, Row, Status
from beatctl.worker.telemetry.ids import Ids, end_ids, iteration_ids, loop_ids
from beatctl.worker.telemetry.runs import Run

Attributes = dict[str, str | bool | int | float]

_PROVIDERS = {
    "claude": "anthropic",
    "codex": "openai",
    "gemini": "gcp.gemini",
    # What opencode and others write before a model's name.
    "anthropic": "anthropic",
    "openai": "openai",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
}
_CUT_SHORT = "before it was judged"
_BEGINNINGS = ("put back", "a new session was begun")
"""Of what is told beside a verdict's reason: more follows, and may be of anyone."""


@dataclass(frozen=True)
class Span:
    """One span. Times are unix seconds."""

    name: str
    ids: Ids
    start: float
    end: float
    parent: int | None = None
    """The parent's span id, in the same trace."""
    link: Ids | None = None
    attributes: Attributes = field(default_factory=dict)
    error: str | None = None
    """What went wrong, in a word or two."""


@dataclass(frozen=True)
class Timed:
    """A quick step on the workspace, which writes no times of its own: the worker that ran it has noted them."""

    name: str
    """`snapshot` or `restore`."""
    start: float
    end: float


def spans_of(
    status: Status, row: Row, runs: Sequence[Run], timed: Sequence[Timed], host: str, *, content: bool = False
) -> list[Span]:
    """An iteration's trace: its own span first, then its parts, each within it."""
    root = iteration_ids(status, row.iteration)
    about: Attributes = {"beatctl.loop.id": status.id, "beatctl.iteration": row.iteration}
    parts = [*_agents(status, row, runs, about), *_judges(status, row, runs, about)]
    for number, step in enumerate(timed, 1):
        ids = iteration_ids(status, row.iteration, f"{step.name} {number}")
        parts.append(Span(step.name, ids, step.start, max(step.start, step.end), attributes=dict(about)))
    parts.sort(key=lambda part: (part.start, part.end))
    start = min([_seconds(row.started_at), *(part.start for part in parts)])
    end = max([_seconds(row.started_at) + row.duration_s, *(part.end for part in parts)])
    attributes = {**about, **_of_row(status, row, host)}
    if content and row.summary:
        attributes["beatctl.summary"] = row.summary
    if reason := row.reason if content else _own_words(row):
        attributes["beatctl.reason"] = reason
    error = row.verdict if row.verdict in ("crash", "timeout") else None
    own = Span("iteration", root, start, end, link=loop_ids(status), attributes=attributes, error=error)
    return [own, *(_below(part, root) for part in parts)]


def loop_span(status: Status, host: str) -> Span:
    """A loop from its start to its end. One that went on after an end has a further span, below the first."""
    attributes: Attributes = {
        "beatctl.loop.id": status.id,
        "beatctl.strategy": status.strategy,
        "beatctl.host": host,
        "beatctl.outcome": status.outcome or "",
        "beatctl.reason": status.reason or "",
        "beatctl.iterations": status.iteration,
        "beatctl.kept": status.kept,
        "beatctl.cost_usd": status.cost_usd,
        "beatctl.tokens": status.tokens,
        "gen_ai.agent.name": status.agent,
    }
    for name, mark in (("baseline", status.baseline), ("best", status.best)):
        if mark is not None and mark.score is not None:
            attributes[f"beatctl.{name}"] = mark.score
    start = _seconds(status.started_at) if status.started_at else 0.0
    end = max(start, _seconds(status.ended_at)) if status.ended_at else start
    error = "failed" if status.outcome == "failed" else None
    first = loop_ids(status)
    if status.idle_s:
        return Span("loop", end_ids(status), start, end, first.span, attributes=attributes, error=error)
    return Span("loop", first, start, end, attributes=attributes, error=error)


def _below(part: Span, root: Ids) -> Span:
    return Span(part.name, part.ids, part.start, part.end, root.span, None, part.attributes, part.error)


def _of_row(status: Status, row: Row, host: str) -> Attributes:
    attributes: Attributes = {
        "beatctl.host": host,
        "beatctl.strategy": status.strategy,
        "beatctl.verdict": row.verdict,
        "beatctl.duration_s": row.duration_s,
    }
    if row.score is not None:
        attributes["beatctl.score"] = row.score
    if status.best is not None and status.best.score is not None:
        attributes["beatctl.best"] = status.best.score
    if row.parent is not None:
        attributes["beatctl.parent"] = row.parent
    if row.agent is not None:
        attributes |= _spent(row.agent.cost_usd, row.agent.tokens, estimated=row.agent.cost_estimated)
    return attributes


def _agents(status: Status, row: Row, runs: Sequence[Run], about: Attributes) -> list[Span]:
    """The agent's runs: those a limit interrupted, and of each step the one that came through."""
    ran = [run for run in runs if run.kind == "agent"]
    if row.agent is None:
        through: dict[int, AgentRow] = {}
    elif row.agent.steps is None:
        through = {1: _without_waits(row.agent, row)}
    else:
        through = dict(enumerate(row.agent.steps, 1))
    last = {run.step: run for run in ran if run.step in through}
    interrupted = iter(row.waits)
    spans = []
    for run in ran:
        attributes: Attributes = {**about, "gen_ai.operation.name": "invoke_agent"}
        name, error = row.agent.name if row.agent is not None else status.agent, run.failure
        if last.get(run.step) is run:
            agent = through[run.step]
            name = agent.name
            attributes |= _of_agent(agent)
            if run.step == max(through) and error is None and _agent_failed(row):
                error = "agent"
        elif (wait := next(interrupted, None)) is not None:
            name, error = wait.agent, wait.reason
            attributes |= _spent(wait.cost_usd, wait.tokens, estimated=wait.cost_estimated)
        attributes["gen_ai.agent.name"] = name
        if name in _PROVIDERS and "gen_ai.provider.name" not in attributes:
            attributes["gen_ai.provider.name"] = _PROVIDERS[name]
        if row.agent is not None and row.agent.steps is not None:
            attributes["beatctl.step"] = run.step
        spans.append(_of_run(f"invoke_agent {name}", status, row, run, attributes, error))
    return spans


def _of_agent(agent: AgentRow) -> Attributes:
    attributes: Attributes = {"beatctl.adopted": agent.adopted, "beatctl.lost": agent.lost}
    for name, value in (
        ("gen_ai.agent.version", agent.version),
        ("gen_ai.request.model", agent.model),
        ("gen_ai.conversation.id", agent.session_id),
        ("gen_ai.usage.input_tokens", agent.input_tokens),
        ("gen_ai.usage.output_tokens", agent.output_tokens),
    ):
        if value is not None and value != "":
            attributes[name] = value
    prefix = (agent.model or "").partition("/")[0]
    if agent.name not in _PROVIDERS and prefix != agent.model and prefix in _PROVIDERS:
        attributes["gen_ai.provider.name"] = _PROVIDERS[prefix]
    return attributes | _spent(agent.cost_usd, agent.tokens, estimated=agent.cost_estimated)


def _spent(cost_usd: float | None, tokens: int | None, *, estimated: bool) -> Attributes:
    """Tokens are of input and output together."""
    attributes: Attributes = {}
    if cost_usd is not None:
        attributes |= {"beatctl.cost_usd": cost_usd, "beatctl.cost_estimated": estimated}
    if tokens is not None:
        attributes["beatctl.tokens"] = tokens
    return attributes


def _without_waits(agent: AgentRow, row: Row) -> AgentRow:
    """The agent's row without what the runs used that a limit interrupted: those have spans of their own."""
    cost = sum(wait.cost_usd or 0.0 for wait in row.waits)
    tokens = sum(wait.tokens or 0 for wait in row.waits)
    return agent.model_copy(
        update={
            "cost_usd": None if agent.cost_usd is None else round(agent.cost_usd - cost, 6),
            "tokens": None if agent.tokens is None else agent.tokens - tokens,
        }
    )


def _judges(status: Status, row: Row, runs: Sequence[Run], about: Attributes) -> list[Span]:
    spans = []
    for run in runs:
        if run.kind == "agent":
            continue
        attributes: Attributes = dict(about)
        red = run.failure is not None
        error = run.failure
        if run.kind != "setup":
            attributes["gen_ai.evaluation.name"] = run.kind
            attributes["gen_ai.evaluation.score.label"] = "fail" if red else "pass"
        if run.kind in ("evaluator", "best") and status.strategy == "optimize":
            if run.score is not None:
                attributes["gen_ai.evaluation.score.value"] = run.score
            if run.kind == "evaluator":
                attributes["gen_ai.evaluation.score.label"] = row.verdict
            error = error or (None if run.score is not None else "no score")
        elif run.ended_by == "exit" and run.signal is None and run.exit_code not in (126, 127):
            error = None  # a red test or a check that refuses is what they are for
        name = "evaluator best" if run.kind == "best" else run.kind
        spans.append(_of_run(name, status, row, run, attributes, error))
    return spans


def _of_run(name: str, status: Status, row: Row, run: Run, attributes: Attributes, error: str | None) -> Span:
    if run.exit_code is not None:
        attributes["process.exit.code"] = run.exit_code
    if error is not None:
        attributes["error.type"] = error
    ids = iteration_ids(status, row.iteration, run.name)
    return Span(name, ids, run.started_at, run.ended_at, attributes=attributes, error=error)


def _agent_failed(row: Row) -> bool:
    """Whether the iteration ended with its agent: nothing was evaluated, and not since the loop was ended."""
    return row.verdict in ("crash", "timeout") and row.evaluator is None and not (row.reason or "").endswith(_CUT_SHORT)


def _own_words(row: Row) -> str | None:
    """The row's reason as far as it is beatctl's: without what agent or evaluator printed, and without names of files,
    which only stand in what is told beside the verdict's reason, or where something could not be started."""
    if not row.reason:
        return None
    if _agent_failed(row):
        return "the agent failed" if row.verdict == "crash" else "the agent was ended after its time limit"
    text = re.sub(r'".*"', '"…"', row.reason, flags=re.DOTALL)
    if text.count('"') % 2:  # it was cut off in the middle of a quotation
        text = text.partition('"')[0] + '"…"'
    text = re.split(r"; | \(", text, maxsplit=1)[0]
    for words in _BEGINNINGS:
        if words in text:
            return words
    return None if "/" in text else text


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
