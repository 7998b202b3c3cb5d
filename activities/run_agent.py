"""Run agent: one run of an agent program in the workspace, with a clean context."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from beatctl.activities import agents, masking
from beatctl.activities.agents import prices, program
from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.child import Finished, run_child
from beatctl.activities.doing import tell
from beatctl.activities.home import Home, LoopFolder
from beatctl.activities.ledger import Ledger
from beatctl.activities.notes import kept_notes
from beatctl.activities.processes import CommandSpec, Spawner
from beatctl.activities.prompt import Standing, Task, compose, last_evaluator_output
from beatctl.activities.prompt_memory import most_rows
from beatctl.activities.prompt_template import TemplateProblem
from beatctl.activities.records import Experiment
from beatctl.activities.run_files import beside
from beatctl.activities.sessions import Session, spent_by
from beatctl.activities.text import clean
from beatctl.activities.tickets import Hold, Ticket
from beatctl.activities.turns import NotStarted, Turns, Word
from beatctl.activities.workspace import Workspace, WorkspaceProblem

_JUST_NOW_S = 0.1
"""An edit made so shortly before an agent starts is as one made while it runs: it stays in that snapshot."""


class RunAgentInput(BaseModel):
    """One agent run. Long texts (goal, ledger, evaluator output) are read from the loop's folder, not from history."""

    loop: str
    run: str
    """The run's name in the iteration: `agent`, or `agent-2` for a pipeline's second step."""
    agent: AgentSpec
    timeout_s: float
    directory: str
    worktree: str
    standing: Standing
    session: Session | None = None
    """The agent's own, that it goes on with where it has an id."""
    as_of: int | None = None
    """The version of the loop's status that the decision rests on: while the run waits for its turn, a newer one makes
    it `unstarted`. None: whatever comes, it is wanted."""
    not_after: float | None = None
    """Unix seconds: what has not started by then is `unstarted`."""
    ticket: Ticket | None = None


AgentStatus = Literal[
    "done",
    "failed",
    "timeout",
    "edited",
    "missing",
    "authentication",
    "rate-limited",
    "overloaded",
    "unstarted",
    "session-refused",
]


class AgentResult(BaseModel):
    """How an agent run ended. A failed agent is data, not an exception."""

    status: AgentStatus
    """`edited`: not started, since the user's files had changed; `missing`: its program is not there any more;
    `unstarted`: its turn did not come before there was something else to do; `rate-limited`: the account's limit is
    reached; `overloaded`: the service takes nobody's runs just now; `session-refused`: it could not go on with its
    session."""
    error: str | None = None
    summary: str = ""
    edits: list[str] = []
    exit_code: int | None = None
    model: str | None = None
    session_id: str | None = None
    cost_usd: float | None = None
    cost_estimated: bool = False
    tokens: int | None = None
    input_tokens: int | None = None
    """Of `tokens` those that were sent, cached or not; None where the agent does not tell them apart for one run."""
    output_tokens: int | None = None
    session_cost_usd: float = 0.0
    """Of all runs of its session so far, where the agent tells it so: `cost_usd` and `tokens` are this run's alone."""
    session_tokens: int = 0
    version: str | None = None
    """As the run itself told it; else as the program tells it, which may have been updated since the start."""
    reset_at: float | None = None
    """Unix seconds at which the limit that was reached ends, where the agent told."""
    started_at: float = 0.0
    duration_s: float = 0.0
    adopted: bool = False
    lost: int = 0
    waited_s: float = 0.0
    """For its turn, before it started."""
    known_version: int = 0
    """Of an `unstarted` one: that of the loop's status in the ledger, which is newer where the server has forgotten
    signals. A decision that rests on an older one would be sent back for ever."""
    prompt_problem: str | None = None
    """Why the user's template could not be used: beatctl's own prompt was sent."""


class _Edited(Exception):
    def __init__(self, paths: list[str]) -> None:
        self.paths = paths


async def run_agent(home: Home, ledger: Ledger, spawner: Spawner, turns: Turns, given: RunAgentInput) -> AgentResult:
    """Run the agent to its end: start it, or adopt or read what an earlier attempt started."""
    loop = home.loop(given.loop)
    run = loop.iteration(given.standing.iteration) / given.run
    last_message = last_message_file(run)
    step = given.standing.step
    what = f"{given.agent.name} step {step}" if step > 1 else given.agent.name
    word = Word(ledger, given.as_of, given.not_after)
    problem: str | None = None

    def prepare(run: Path) -> CommandSpec:
        nonlocal problem
        edits = Workspace.load(loop).edits(restored_s=_JUST_NOW_S)
        if edits:
            raise _Edited(edits)
        if not os.path.isdir(given.directory):
            text = f"{given.directory} is gone. Put it back, then: beatctl resume {given.loop}"
            raise WorkspaceProblem(text, "folder-gone")
        prompt, problem = prompt_of(home, ledger, given)
        run.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        prompt_file(run).write_text(clean(prompt), encoding="utf-8")
        last_message.unlink(missing_ok=True)  # a lost try's is not this one's
        prompted = command_of(given, prompt, run)
        tell(loop.now, what, given.standing.iteration, run, waited_s=turn.waited_s)
        return CommandSpec(
            argv=prompted.argv,
            cwd=given.directory,
            environment_file=str(loop.environment),
            extra_environment={
                **prompted.environment,
                "PWD": given.directory,  # opencode goes by it, not by where it is
                "BEATCTL_LOOP": given.loop,
                "BEATCTL_ITERATION": str(given.standing.iteration),
                "BEATCTL_STEP": str(step),
            },
            stdin=prompted.stdin,
            timeout_s=given.timeout_s,
        )

    def put_back(lost: int) -> None:
        of = f"-step{step}" if step > 1 else ""
        restore_known(loop, f"{given.standing.iteration}{of}-lost{lost}")

    hold = Hold(loop, ledger, given.ticket)
    with turns.for_agent(loop, what, given.standing.iteration, run, word) as turn:
        try:
            finished = await run_child(run, spawner, hold, prepare, put_back, turn)
        except _Edited as edited:
            return AgentResult(status="edited", edits=edited.paths[:20])
        except NotStarted:
            status = await asyncio.to_thread(ledger.status, given.loop)
            return AgentResult(status="unstarted", known_version=status.version if status is not None else 0)
    result = await asyncio.to_thread(_read, given, finished, last_message, loop)
    return result.model_copy(update={"waited_s": turn.waited_s, "prompt_problem": problem})


def prompt_file(run: Path) -> Path:
    """Where a run's prompt is kept."""
    return beside(run, "prompt.md")


def last_message_file(run: Path) -> Path:
    """Where an agent that can is told to write its last message."""
    return beside(run, "last-message.txt")


def command_of(given: RunAgentInput, prompt: str, run: Path) -> agents.Prompted:
    """The agent's command line for a prompt that lies in the run's file."""
    root = Path(given.worktree) if given.worktree != given.directory else None
    return agents.command_line(
        given.agent,
        prompt,
        prompt_file(run),
        last_message_file=last_message_file(run),
        root=root,
        session=given.session.id if given.session is not None else None,
    )


def restore_known(loop: LoopFolder, keep: str) -> None:
    """Put the workspace back to its last known state, after a child that was lost."""
    workspace = Workspace.load(loop)
    workspace.restore(workspace.known, keep=keep)


def prompt_of(home: Home, ledger: Ledger, given: RunAgentInput) -> tuple[str, str | None]:
    """The whole prompt of a run, from what the loop's folder and the ledger hold; and why the user's template could
    not be used, where it could not: a night goes on without it."""
    loop, standing = home.loop(given.loop), given.standing
    task = Task.model_validate_json(loop.task.read_bytes())
    notes = kept_notes(loop, standing.notes)
    rows: list[Experiment] = []
    output = ""
    if task.memory != "none":
        most = 1 if task.memory == "last" else most_rows(task.memory_budget)
        rows = ledger.experiments(given.loop, newest=most)
        if task.memory != "last" and standing.resumes is None and len(rows) == most:
            rows += ledger.kept_experiments(given.loop, before=rows[-1].iteration, newest=most)
        output = last_evaluator_output(loop.iteration(standing.iteration - 1), task.memory_budget)
    try:
        return compose(task, standing, rows, output, notes), None
    except TemplateProblem as wrong:
        own = task.model_copy(update={"template": None})
        return compose(own, standing, rows, output, notes), f"the prompt template failed ({wrong})"


def environment_of(loop: LoopFolder) -> dict[str, str]:
    """What the loop's children have; where it is gone with the loop's end, or was never kept here, this process's."""
    try:
        found = json.loads(loop.environment.read_bytes())
    except (OSError, ValueError):
        return dict(os.environ)
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else dict(os.environ)


def _read(given: RunAgentInput, finished: Finished, last_message: Path, loop: LoopFolder) -> AgentResult:
    result = finished.result
    files = finished.try_
    environ = environment_of(loop)
    outcome = agents.read_outcome(
        given.agent,
        files.stdout,
        files.stderr,
        result.exit_code,
        result.signal,
        last_message,
        result.ended_at,
        environ.get("TZ"),
    )
    with contextlib.suppress(prices.BadPrices):  # told at the start; the run itself is worth more than its estimate
        outcome = prices.with_cost(outcome, given.agent.model or given.agent.default_model, prices.tables(environ))
    secrets = masking.secrets_of(environ)
    status: AgentStatus = "done" if outcome.ok else "failed"
    error = outcome.error
    if result.ended_by == "timeout" and outcome.kind != "rate-limited":  # else it only waited for its limit to pass
        status, error = "timeout", f"{given.agent.name} was ended after its time limit of {given.timeout_s:g} s"
    elif result.ended_by == "cancel":
        status, error = "failed", "cancelled"
    elif result.ended_by == "output-limit":
        status, error = "failed", f"{given.agent.name} printed more than 1 GiB and was ended"
    elif result.ended_by == "not-started":
        status, error = "missing", result.error or f"{given.agent.name} could not be started"
    elif outcome.kind in ("authentication", "rate-limited", "overloaded"):
        status = outcome.kind
    elif _resumes(given) and status == "failed" and _did_nothing(outcome, result.signal):
        # Unknown to the agent, full, or broken: whatever it is, a new one does not have it.
        status = "session-refused"
    if status not in ("done", "timeout") and result.error:
        error = result.error
    if status == "done" and result.left_behind:
        outcome.summary = f"{outcome.summary} (left running, and ended: {', '.join(result.left_behind[:5])})".strip()
    cost = outcome.cost_usd if outcome.cost_usd is not None and math.isfinite(outcome.cost_usd) else None
    whole = agents.counts_whole_sessions(given.agent)
    spent = spent_by(given.session if _resumes(given) else None, cost, outcome.tokens, whole=whole)
    apart = [] if whole and _resumes(given) else outcome.usage
    return AgentResult(
        status=status,
        error=None if status == "done" else masking.masked(clean(error or ""), secrets) or None,
        summary=masking.masked(clean(outcome.summary), secrets),
        exit_code=result.exit_code if result.signal is None else -result.signal,
        model=clean(outcome.model)[:200] if outcome.model else given.agent.model,
        session_id=clean(outcome.session_id)[:200] if outcome.session_id else None,
        cost_usd=spent.cost_usd,
        cost_estimated=outcome.cost_estimated,
        tokens=spent.tokens,
        input_tokens=sum(used.input_tokens for used in apart) if apart else None,
        output_tokens=sum(used.output_tokens for used in apart) if apart else None,
        session_cost_usd=spent.session_cost_usd,
        session_tokens=spent.session_tokens,
        version=clean(outcome.version)[:100] if outcome.version else program.version_now(given.agent, environ),
        reset_at=outcome.reset_at if outcome.reset_at is not None and math.isfinite(outcome.reset_at) else None,
        started_at=result.started_at,
        duration_s=finished.duration_s,
        adopted=finished.adopted,
        lost=finished.lost,
    )


def _did_nothing(outcome: agents.AgentOutcome, signal: int | None) -> bool:
    """Whether a run that failed ended before the model was asked anything."""
    return signal is None and not outcome.tokens and not outcome.cost_usd


def _resumes(given: RunAgentInput) -> bool:
    return given.session is not None and given.session.id is not None
