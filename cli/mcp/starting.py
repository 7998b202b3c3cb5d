"""start_loop: what `beatctl start -d` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from beatctl.activities.records import Status
from beatctl.cli import dry_run_report, preparing, render, service
from beatctl.cli.mcp.bounds import GOAL, bounded, cut
from beatctl.cli.mcp.limits import LimitArguments, as_typed, typed_limits
from beatctl.cli.mcp.tool import Arguments, Call, Result, Tool
from beatctl.cli.problems import Usage
from beatctl.cli.settings import KEYS
from beatctl.cli.start_options import Typed
from beatctl.cli.worktree import folder_words

_PROMPT = 8_000


class StartArguments(LimitArguments, Arguments):
    """What a loop is about, as `beatctl start` takes it."""

    goal: str | None = Field(
        None, description="What the agent should do, in words. It may be left out where steps are given."
    )
    until: str | None = Field(
        None, description="Repeat until this shell command passes (exit code 0). Give this or `eval`."
    )
    eval: str | None = Field(
        None,
        description="Look for the best score: a shell command whose last line of standard output is a number, or JSON "
        'such as {"score": 171204}. Needs `direction`. Give this or `until`.',
    )
    direction: Literal["minimize", "maximize"] | None = Field(
        None, description="With `eval`: whether a lower or a higher score is better."
    )
    steps: list[str] = Field(
        [], description="A pipeline: each iteration is these 2 to 20 steps, each a new agent run, in this order."
    )
    check: str | None = Field(
        None, description="A shell command that must pass before an iteration is evaluated, such as the tests."
    )
    samples: int | None = Field(
        None, ge=1, description="With `until`: passes in a row that count as one. With `eval`: measurements. Default 1."
    )
    on_fail: Literal["keep", "revert"] | None = Field(
        None, description="With `until`: whether a failed try's work stays for the next one. Default keep."
    )
    agent: str | None = Field(
        None,
        description="claude, codex, gemini, opencode, another that is configured, or a command line such as "
        "'my-agent {prompt}'. Default: the user's setting, else the first of those four found.",
    )
    model: str | None = Field(None, description="The agent's model. Default: the agent's own.")
    agent_args: str | None = Field(
        None,
        description="Further arguments of the agent's command line, in one text. They may permit it anything, so they "
        "need `full_permissions_agreed`.",
    )
    fallback: str | None = Field(None, description="An agent that works while the other's rate limit lasts.")
    permissions: Literal["workspace", "full"] | None = Field(
        None,
        description="What the agent may do. workspace, the default: edit files, run the evaluator and the check. "
        "full: anything the user's account may; it needs `full_permissions_agreed`.",
    )
    full_permissions_agreed: bool = Field(
        False,
        description='Set this only if the user has agreed to `permissions: "full"`, or to these agent_args, in so many '
        "words.",
    )
    memory: Literal["ledger", "last", "session", "none"] | None = Field(
        None,
        description="What each prompt tells of the past. Default ledger: a line for each experiment so far. "
        "last: the last try only. none: the goal alone. session: the agent's own session goes on.",
    )
    memory_budget: int | None = Field(None, description="Tokens of a prompt that this may take. Default 4000.")
    prompt_template: str | None = Field(
        None, description="A file with the user's own prompt, a Jinja2 template. Default: beatctl's own prompt."
    )
    worktree: bool = Field(
        False, description="Work in a git worktree of its own, made from the last commit: the folder stays free."
    )
    setup: str | None = Field(
        None, description="With worktree: a shell command run in it first, since it lacks what git ignores (npm ci)."
    )
    setup_timeout: str | None = Field(None, description="The limit of that command. Default: eval_timeout.")
    branch: str | None = Field(None, description="The worktree's branch; without worktree, the one apply_loop makes.")
    allow_large: bool = Field(False, description="Take huge untracked content into snapshots.")
    dry_run: bool = Field(
        False,
        description="Start nothing: measure the untouched folder three times, and show the scores, the first prompt "
        "and the limits. No agent runs. The call lasts as long as that takes.",
    )


class Started(Result):
    """A new loop, or what a dry run has found."""

    loop: Status | None = Field(None, description="The new loop's status; null for a dry run.")
    agent: str = Field(description="The agent, and what it may do.")
    limits: str = Field(description="The limits in force, on a line.")
    folder: str = Field(description="Where it works.")
    warnings: list[str] = Field([], description="What does not bound the loop although it might seem so.")
    dry_run: dict[str, Any] | None = Field(None, description="What was measured, and the first prompt.")


def start_loop(call: Call, given: StartArguments) -> Started:
    """Start a loop: a coding agent works on a goal again and again, in processes of its own in the background, and
    every result is judged by a command.

    Use it for work that takes many tries: until a command passes (`until`), or for the best score (`eval` with
    `direction`). The untouched folder is judged first; a better result is kept, anything else is undone.

    Returns as soon as the loop has begun, not when it is done: wait with wait_for_loop, then read loop_report. The loop
    spends money, and goes on when this client ends, until a limit ends it or stop_loop or cancel_loop does. While it
    runs, its folder must not be edited (`worktree: true` leaves it free). At its end the folder holds the best version,
    not committed: apply_loop makes commits.
    """
    _refuse_what_nobody_agreed_to(given)
    prepared = preparing.prepare(call.loops, _typed(call, given))
    if given.dry_run:
        return _tried_out(call, prepared)
    preparing.tell_where(call.loops, prepared)
    service.ensure(call.loops, call.loops.environ)  # may take minutes, the very first time
    if call.signals.came is not None:
        raise Usage("The call was cancelled before anything was started.")
    status = preparing.begin(call.loops, prepared)
    return Started(
        loop=bounded(status),
        agent=render.agent_words(prepared.agent),
        limits=render.limits_line(status.limits, strategy=status.strategy),
        folder=folder_words(status),
        warnings=preparing.warnings(status, prepared.agent, prepared.fallback),
        messages=[
            f"Loop {status.id} has begun and goes on by itself: wait_for_loop waits, stop_loop ends it after the "
            "iteration, cancel_loop now."
        ],
    )


def _refuse_what_nobody_agreed_to(given: StartArguments) -> None:
    """What the user's own settings say was theirs to say; what an agent asks for on its own is not. Raises Usage."""
    if given.full_permissions_agreed:
        return
    if given.permissions == "full":
        raise Usage(
            '`permissions: "full"` lets the agent do anything the user\'s account may, without asking. Ask the user; '
            "if they agree, set `full_permissions_agreed: true`. Most loops need only workspace, the default."
        )
    if given.agent_args is not None:
        raise Usage(
            "`agent_args` may permit the agent anything. Ask the user; if they agree to these arguments, set "
            "`full_permissions_agreed: true`."
        )


def _typed(call: Call, given: StartArguments) -> Typed:
    """The call as the command line would have typed it."""
    plain = {key.field: as_typed(given, key.name) for key in KEYS.values() if not key.is_limit}
    told: dict[str, Any] = {name: value for name, value in plain.items() if value is not None}
    told |= {"goal": () if given.goal is None else (given.goal,), "directory": str(call.here)}
    if given.prompt_template:  # as the user would name it, who stands in the folder
        told["prompt_template"] = str(call.here / Path(given.prompt_template).expanduser())
    return Typed(**told, limits=typed_limits(given))


def _tried_out(call: Call, prepared: preparing.Prepared) -> Started:
    from beatctl.cli.dry_run import gave_back, tried_out
    from beatctl.cli.measuring import Interrupted

    try:
        measured = tried_out(call.loops, prepared, call.signals)
    except Interrupted:
        raise Usage("The call was cancelled: nothing runs any more, the folder is as before.") from None
    found = dry_run_report.as_json(measured)
    if "prompts" in found:
        found["prompts"] = [cut(text, _PROMPT, "Its end is left out.") for text in found["prompts"]]
    return Started(
        agent=render.agent_words(measured.spec.agent),
        limits=render.limits_line(measured.spec.limits.model_dump(), strategy=measured.spec.strategy),
        folder=gave_back(prepared),
        warnings=dry_run_report.hints(measured),
        dry_run=found,
        messages=[cut(measured.problem or "A loop could begin like this. Nothing was started.", GOAL)],
    )


TOOLS = [Tool("Start a loop", StartArguments, Started, start_loop, "destroys", open_world=True)]
