"""What a loop's runs took and cost, by what they were for. Pure, from its rows."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel

from beatctl.activities.records import AgentRow, Row


class Spent(BaseModel):
    """What went into some of the runs: an agent's, a step's, those that came to one verdict."""

    name: str
    runs: int = 0
    duration_s: float = 0.0
    cost_usd: float | None = None
    """None: nobody told."""
    cost_estimated: bool = False
    """Some of it is an estimate."""
    tokens: int | None = None

    def add(self, agent: AgentRow, duration_s: float | None = None) -> None:
        self.runs += 1
        self.duration_s = round(self.duration_s + (agent.duration_s if duration_s is None else duration_s), 3)
        if agent.cost_usd is not None:
            self.cost_usd = round((self.cost_usd or 0.0) + agent.cost_usd, 6)
            self.cost_estimated = self.cost_estimated or agent.cost_estimated
        if agent.tokens is not None:
            self.tokens = (self.tokens or 0) + agent.tokens


def runs_of(rows: Iterable[Row]) -> list[AgentRow]:
    """Every agent run: a pipeline's steps one by one."""
    return [run for row in rows if row.agent for run in (row.agent.steps or [row.agent])]


def by_agent(rows: Iterable[Row]) -> list[Spent]:
    """By agent and model, the dearest first."""
    found: dict[str, Spent] = {}
    for run in runs_of(rows):
        name = " ".join(filter(None, (run.name, run.model)))
        found.setdefault(name, Spent(name=name)).add(run)
    return sorted(found.values(), key=lambda spent: (-(spent.cost_usd or 0.0), -spent.duration_s))


def by_step(rows: Iterable[Row]) -> list[Spent]:
    """By a pipeline's steps, in their order; empty for another loop."""
    found: list[Spent] = []
    for row in rows:
        for place, run in enumerate((row.agent.steps or []) if row.agent else []):
            if place == len(found):
                found.append(Spent(name=f"step {place + 1}"))
            found[place].add(run)
    return found


def by_verdict(rows: Iterable[Row]) -> list[Spent]:
    """By verdict, with whole iterations as times, the longest first."""
    found: dict[str, Spent] = {}
    for row in rows:
        found.setdefault(row.verdict, Spent(name=row.verdict)).add(row.agent or AgentRow(name=""), row.duration_s)
    return sorted(found.values(), key=lambda spent: -spent.duration_s)
