"""A one-word task for an agent: whether it works at all, with the adapter that loops use. Nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from beatctl.activities import agents, masking
from beatctl.activities.agents import prices, program
from beatctl.activities.agents.environment import child_environment
from beatctl.activities.processes import CommandSpec, Lost, Spawner, StartFailed, Try, end, new_try, save_environment
from beatctl.activities.processes import wait as wait_for
from beatctl.cli.problems import Unavailable

if TYPE_CHECKING:
    from beatctl.activities.agents import AgentOutcome, AgentSpec
    from beatctl.activities.processes import RunResult
    from beatctl.cli.follow import Signals

TASK = "Answer with the one word pong. Use no tools, and change no file."
TIMEOUT_S = 180.0
_LOOK_S = 0.05


class Interrupted(Exception):
    """The user wants no more; the agent's whole tree is gone."""


@dataclass(frozen=True)
class Checked:
    """What came of it."""

    agent: AgentSpec
    outcome: AgentOutcome
    version: str | None
    duration_s: float
    note: str = ""
    """What is not the agent's fault, such as a broken file of prices."""


def check(agent: AgentSpec, environ: Mapping[str, str], signals: Signals) -> Checked:
    """Have the agent do the task in an empty folder. Raises Interrupted, Unavailable."""
    folder = Path(tempfile.mkdtemp(prefix="beatctl-check-")).resolve()
    try:
        return asyncio.run(_check(agent, environ, signals, folder))
    except (StartFailed, Lost, OSError) as problem:
        raise Unavailable(str(problem)) from problem
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _check(agent: AgentSpec, environ: Mapping[str, str], signals: Signals, folder: Path) -> Checked:
    place, prompt, message = folder / "work", folder / "prompt.md", folder / "last-message.txt"
    place.mkdir()
    prompt.write_text(TASK, encoding="utf-8")
    save_environment(folder / "environment.json", child_environment({**environ, "PWD": str(place)}))
    command = agents.command_line(agent, TASK, prompt, last_message_file=message)
    spec = CommandSpec(
        argv=command.argv,
        cwd=str(place),
        environment_file=str(folder / "environment.json"),
        extra_environment=command.environment,
        stdin=command.stdin,
        timeout_s=TIMEOUT_S,
    )
    spawner = Spawner()
    try:
        one = new_try(folder / "runs" / "agent", spec)
        await spawner.start(one)
        result = await _ended(one, signals)
    finally:
        await spawner.close()
    outcome = agents.read_outcome(
        agent, one.stdout, one.stderr, result.exit_code, result.signal, message, result.ended_at
    )
    note = ""
    try:
        outcome = prices.with_cost(outcome, agent.model or agent.default_model, prices.tables(environ))
    except prices.BadPrices as wrong:
        note = str(wrong)
    if result.ended_by != "exit" and not outcome.ok:
        why = f"it was ended after {TIMEOUT_S:g} s" if result.ended_by == "timeout" else result.error or result.ended_by
        outcome = outcome.model_copy(update={"error": f"{agent.name} did not answer: {why}"})
    secrets = masking.secrets_of(environ)
    outcome = outcome.model_copy(
        update={
            "summary": masking.masked(outcome.summary, secrets),
            "error": masking.masked(outcome.error, secrets) if outcome.error else None,
        }
    )
    version = outcome.version or program.version_now(agent, environ)
    return Checked(agent, outcome, version, round(result.ended_at - result.started_at, 3), note)


async def _ended(one: Try, signals: Signals) -> RunResult:
    waiting = asyncio.create_task(wait_for(one))
    while not waiting.done():
        await asyncio.wait({waiting}, timeout=_LOOK_S)
        if signals.came is not None and not waiting.done():
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting
            await end(one)
            raise Interrupted
    return waiting.result()
