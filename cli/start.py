"""`start` and `watch`: check everything, start, then stay with the loop."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Annotated

import typer

from beatctl.cli import arguments, problems
from beatctl.cli.arguments import Json, Loop
from beatctl.cli.limit_options import TypedLimits
from beatctl.cli.loops import Loops
from beatctl.cli.output import out, say
from beatctl.cli.preparing import Prepared, begin, in_force, named_host, prepare, tell_where
from beatctl.cli.problems import Usage
from beatctl.cli.repository import in_its_clone
from beatctl.cli.start_options import Typed

_understood: ContextVar[list[tuple[Typed, str | None]] | None] = ContextVar("understood", default=None)


def start(
    goal: Annotated[
        list[str] | None,
        typer.Argument(metavar="GOAL", help="What the agent should do, in quotes.", show_default=False),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("-f", "--file", metavar="FILE", help="Read goal and flags from a loop file.", show_default=False),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="CMD", help="Repeat until this command passes.", show_default=False)
    ] = None,
    eval_: Annotated[
        str | None,
        typer.Option("--eval", metavar="CMD", help="Look for the best score: its last line.", show_default=False),
    ] = None,
    minimize: Annotated[bool, typer.Option("--minimize", help="A lower score is better.")] = False,
    maximize: Annotated[bool, typer.Option("--maximize", help="A higher score is better.")] = False,
    direction: Annotated[
        str | None, typer.Option("--direction", metavar="minimize|maximize", help="The same.", show_default=False)
    ] = None,
    pipeline: Annotated[bool, typer.Option("--pipeline", help="An iteration is the steps in their order.")] = False,
    step: Annotated[
        list[str] | None,
        typer.Option("--step", metavar="TEXT", help="A pipeline's step; 2 to 20 of them.", show_default=False),
    ] = None,
    check: Annotated[
        str | None,
        typer.Option("--check", metavar="CMD", help="Must pass before an iteration is evaluated.", show_default=False),
    ] = None,
    samples: Annotated[
        str | None,
        typer.Option(
            "--samples", metavar="N", help="Passes in a row (--until) or measurements (--eval).", show_default=False
        ),
    ] = None,
    on_fail: Annotated[
        str | None,
        typer.Option("--on-fail", metavar="keep|revert", help="What becomes of a failed try.", show_default=False),
    ] = None,
    max_iterations: arguments.MaxIterations = None,
    max_failures: arguments.MaxFailures = None,
    max_unchanged: arguments.MaxUnchanged = None,
    cooldown: arguments.Cooldown = None,
    agent_timeout: arguments.AgentTimeout = None,
    eval_timeout: arguments.EvalTimeout = None,
    for_: arguments.For = None,
    max_cost: arguments.MaxCost = None,
    max_tokens: arguments.MaxTokens = None,
    target: arguments.Target = None,
    plateau: arguments.Plateau = None,
    agent: Annotated[
        str | None,
        typer.Option(
            "-a",
            "--agent",
            metavar="AGENT",
            help="claude, codex, gemini, opencode, one you configured or 'my-agent {prompt}'; "
            "left out: the first found.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", metavar="NAME", help="The agent's model.", show_default=False)
    ] = None,
    agent_args: Annotated[
        str | None,
        typer.Option("--agent-args", metavar="ARGS", help="Further arguments of the agent's.", show_default=False),
    ] = None,
    fallback: Annotated[
        str | None,
        typer.Option(
            "--fallback",
            metavar="AGENT",
            help="Works while the agent's limit lasts; then it is back.",
            show_default=False,
        ),
    ] = None,
    permissions: Annotated[
        str | None,
        typer.Option("--permissions", metavar="workspace|full", help="What the agent may do.", show_default=False),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            metavar="WHAT",
            help="What its prompt tells of the past: ledger, last, session or none.",
            show_default=False,
        ),
    ] = None,
    memory_budget: Annotated[
        str | None,
        typer.Option(
            "--memory-budget", metavar="N", help="Tokens of the prompt for that; 4k if left out.", show_default=False
        ),
    ] = None,
    prompt_template: Annotated[
        str | None,
        typer.Option(
            "--prompt-template", metavar="FILE", help="Your own prompt, a Jinja2 template.", show_default=False
        ),
    ] = None,
    directory: Annotated[
        str | None, typer.Option("-C", metavar="DIR", help="Work in this folder.", show_default=False)
    ] = None,
    on: Annotated[
        str | None,
        typer.Option("--on", metavar="HOST", help="Work on this host, in its folder -C.", show_default=False),
    ] = None,
    repo: Annotated[
        str | None,
        typer.Option(
            "--repo", metavar="URL", help="Work in a clone of its own, and push the result there.", show_default=False
        ),
    ] = None,
    ref: Annotated[
        str | None,
        typer.Option("--ref", metavar="REF", help="The branch, tag or commit of --repo.", show_default=False),
    ] = None,
    worktree: Annotated[
        bool, typer.Option("--worktree", help="Work in a git worktree of its own, made from the last commit.")
    ] = False,
    setup: Annotated[
        str | None,
        typer.Option("--setup", metavar="CMD", help="Run this in the new worktree first (npm ci).", show_default=False),
    ] = None,
    setup_timeout: Annotated[
        str | None,
        typer.Option("--setup-timeout", metavar="TIME", help="Its limit; else the evaluator's.", show_default=False),
    ] = None,
    branch: Annotated[
        str | None,
        typer.Option(
            "--branch",
            metavar="NAME",
            help="The worktree's branch (else it has none), or the one apply makes.",
            show_default=False,
        ),
    ] = None,
    allow_large: Annotated[
        bool, typer.Option("--allow-large", help="Take huge untracked content into snapshots.")
    ] = False,
    notify: arguments.Notify = None,
    notify_on: arguments.NotifyOn = None,
    notify_command: arguments.NotifyCommand = None,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Return at once.")] = False,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="End the loop with this command (as where CI is set).")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure three times, show the prompt, start nothing.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Start a loop on a goal.

    An agent works on the goal until a command passes (--until), or for the best score (--eval).

    Limits are 0 for none. Times need a unit: 30s, 5m, 1h30m. Defaults: 10 iterations (none with --for,
    --max-cost or --max-tokens), 3 failures in a row, 30m for the agent, 10m for the evaluator.
    """
    flags = Typed(
        goal=tuple(goal or ()),
        until=until,
        eval=eval_,
        minimize=minimize,
        maximize=maximize,
        direction=direction,
        pipeline=pipeline,
        steps=tuple(step or ()),
        check=check,
        samples=samples,
        on_fail=on_fail,
        memory=memory,
        memory_budget=memory_budget,
        prompt_template=prompt_template,
        permissions=permissions,
        agent=agent,
        model=model,
        agent_args=agent_args,
        fallback=fallback,
        limits=TypedLimits(
            max_iterations,
            max_failures,
            max_unchanged,
            cooldown,
            agent_timeout,
            eval_timeout,
            for_,
            max_cost,
            max_tokens,
            target,
            plateau,
        ),
        directory=directory,
        on=on,
        repo=repo,
        ref=ref,
        worktree=worktree,
        setup=setup,
        setup_timeout=setup_timeout,
        branch=branch,
        allow_large=allow_large,
        notify=tuple(notify or ()),
        notify_on=notify_on,
        notify_command=notify_command,
        detach=detach,
        foreground=foreground,
        dry_run=dry_run,
    )
    wanted = _understood.get()
    if wanted is not None:
        wanted.append((flags, file))
        return 0
    from beatctl.cli.attached import is_ci

    loops = Loops()
    far = named_host(flags, file)
    if far is not None:
        from beatctl.cli.far_start import start_there

        return start_there(loops, far, as_json=as_json)
    with in_its_clone(loops, flags, file) as (there, given):
        prepared = prepare(there, given, file)
        typed = prepared.typed
        if typed.dry_run:
            from beatctl.cli.dry_run import dry_run as measure

            return measure(there, prepared, as_json=as_json)
        return _launch(
            there,
            prepared,
            detach=typed.detach,
            ends_with_us=typed.foreground or is_ci(loops.environ),
            as_json=as_json,
        )


def understood(words: Sequence[str]) -> tuple[Typed, str | None]:
    """What `start` would be told by these words, and the loop file that they name; nothing is started. Raises as the
    command itself does."""
    from beatctl.cli.app import made

    command, wanted = made("start"), list[tuple[Typed, str | None]]()
    before = _understood.set(wanted)
    try:
        with command.make_context("beatctl start", list(words)) as context:
            command.invoke(context)
    finally:
        _understood.reset(before)
    return wanted[0]


def watch(
    loop: Loop = None,
    all_: Annotated[bool, typer.Option("--all", help="All loops in a table that updates.")] = False,
    as_json: Json = False,
) -> int:
    """Stay with a loop that runs.

    A view that updates, or without a terminal a line for each verdict, until the loop ends. Ctrl-C leaves it running.
    """
    from beatctl.cli.attached import attach, attach_to_all

    if all_ and loop is not None:
        raise Usage(f"--all shows every loop. Leave out {loop}, or --all.", help_of="watch")
    loops = Loops()
    if all_:
        return attach_to_all(loops, as_json=as_json)
    status = loops.find(loop)
    return attach(loops, status.id, ends_with_us=False, started_service=False, as_json=as_json)


def _launch(loops: Loops, prepared: Prepared, *, detach: bool, ends_with_us: bool, as_json: bool) -> int:
    from beatctl.cli.attached import attach
    from beatctl.cli.follow import interrupting_signals
    from beatctl.cli.view import print_status_json
    from beatctl.worker import what_runs

    tell_where(loops, prepared)
    try:
        with interrupting_signals():
            was_running = what_runs.running(loops.home, loops.environ) is not None
            status = begin(loops, prepared)
    except KeyboardInterrupt:
        say("Interrupted: nothing was started, the folder is untouched.")
        return problems.DETACHED
    for line in in_force(status, prepared.agent, prepared.fallback, prepared.chosen.notify):
        say(line)
    if detach:
        if as_json:
            print_status_json(status)
        else:
            out(status.id)
        return 0
    return attach(loops, status.id, ends_with_us=ends_with_us, started_service=not was_running, as_json=as_json)
