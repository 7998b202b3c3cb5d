"""`start` and `watch`: check everything, start, then stay with the loop."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beatctl.cli import arguments, levels, problems, render
from beatctl.cli.arguments import Json, Loop
from beatctl.cli.budget import cannot_tell, still_bounded
from beatctl.cli.limit_options import DEFAULT_ITERATIONS, TypedLimits, unbounded_warning
from beatctl.cli.loops import Loops, folder_in_use, in_the_way
from beatctl.cli.output import out, paint, say, visible
from beatctl.cli.problems import Unavailable, Usage
from beatctl.cli.settings import level_of_flags, merge, typed_of
from beatctl.cli.start_options import Chosen, Typed, choose
from beatctl.cli.worktree import checked_origin, folder_words, from_where_the_user_stands, left_behind

if TYPE_CHECKING:
    from beatctl.activities.agents.spec import AgentSpec
    from beatctl.activities.ledger import Status
    from beatctl.activities.workspace import Origin


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
            help="claude, codex, gemini or 'my-agent {prompt}'; left out: the first found.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", metavar="NAME", help="The agent's model.", show_default=False)
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
        typer.Option("--memory", metavar="ledger|none", help="What its prompt tells of the past.", show_default=False),
    ] = None,
    directory: Annotated[
        str | None, typer.Option("-C", metavar="DIR", help="Work in this folder.", show_default=False)
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

    Limits are 0 for none. Times need a unit: 30s, 5m, 1h30m. Defaults: 10 iterations (none with --for), 3 failures in
    a row, 30m for the agent, 10m for the evaluator.
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
        permissions=permissions,
        agent=agent,
        model=model,
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
        worktree=worktree,
        setup=setup,
        setup_timeout=setup_timeout,
        branch=branch,
        allow_large=allow_large,
        detach=detach,
        foreground=foreground,
        dry_run=dry_run,
    )
    from beatctl.cli.attached import is_ci

    loops = Loops()
    written = levels.loop_file(file)
    place = stood_in(typed_of(merge([level_of_flags(flags), written])))
    root = checked_root(place)
    settings = levels.merged(flags, written, root, loops.environ)
    typed = typed_of(settings)
    if file is None and not (typed.goal or typed.steps) and Path(levels.LOOP_FILE).is_file():
        raise Usage(f"What is the goal? To take it from {levels.LOOP_FILE}: beatctl start -f {levels.LOOP_FILE}")
    chosen = choose(typed, file)
    for line in levels.told(settings, loops.environ):
        say(line)
    origin = checked_origin(chosen, place, root, loops.home)
    using = in_the_way(loops.all(), root) if origin is None else None
    if using is not None:
        raise folder_in_use(using.id)
    spec = resolved_agent(chosen, place, loops.environ)
    second = resolved_fallback(chosen, spec, place, loops.environ)
    if typed.limits.max_iterations is None:
        chosen = replace(chosen, limits=still_bounded(chosen.limits, spec, DEFAULT_ITERATIONS))
    if origin is not None:
        spec = from_where_the_user_stands(spec, place)
        second = from_where_the_user_stands(second, place) if second is not None else None
    if typed.dry_run:
        from beatctl.cli.dry_run import dry_run as measure

        return measure(loops, chosen, spec, place, root, origin, allow_large=typed.allow_large, as_json=as_json)
    return _launch(
        loops,
        chosen,
        spec,
        second,
        place,
        root,
        origin,
        typed.allow_large,
        detach=typed.detach,
        ends_with_us=typed.foreground or is_ci(loops.environ),
        as_json=as_json,
    )


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


def stood_in(typed: Typed) -> Path:
    """Where the loop's commands run: `-C`, else where the user stands. Raises Usage."""
    directory, named = typed.directory, typed.named("directory")
    try:
        here = Path(directory) if directory is not None else Path.cwd()
    except OSError:
        raise Usage("The folder you are in is gone: change to another, or name one with -C.") from None
    if directory == "":
        raise Usage(f"{named} is empty. It takes a folder.", help_of="start")
    if not here.is_dir():
        what = f"{here} is a file, not a folder." if here.exists() else f"There is no folder {here}."
        raise Usage(f"{what} {named} takes the folder to work in.", help_of="start")
    place = Path(os.path.realpath(here))
    if any("\ud800" <= character <= "\udfff" for character in str(place)):
        raise Usage(f"The name of the folder {os.fsencode(place)!r} is not UTF-8. Rename it, or use another.")
    return place


def checked_root(place: Path) -> Path:
    """The workspace `place` lies in. Raises Usage where a loop must not or can't work there."""
    from beatctl.activities.workspace import WorkspaceProblem, check_directory

    try:
        return check_directory(place)
    except WorkspaceProblem as refused:
        raise Usage(refused.text) from None


def resolved_agent(chosen: Chosen, place: Path, environ: Mapping[str, str]) -> AgentSpec:
    """The agent's program. Raises Unavailable where it isn't installed, Usage where none was named."""
    from beatctl.activities import agents

    allowed = [command for command in (chosen.evaluator, chosen.check) if command]
    try:
        return agents.resolve(
            chosen.agent,
            environ,
            model=chosen.model,
            permissions=chosen.permissions,
            allowed_commands=allowed,
            directory=place,
        )
    except agents.AgentMistyped as wrong:
        raise Usage(str(wrong)) from None
    except agents.AgentNotFound as missing:
        raise Unavailable(str(missing)) from None


def resolved_fallback(chosen: Chosen, agent: AgentSpec, place: Path, environ: Mapping[str, str]) -> AgentSpec | None:
    """The agent that works while the other's limit lasts. It has the model that it is set up with. Raises as
    resolved_agent."""
    if chosen.fallback is None:
        return None
    found = resolved_agent(replace(chosen, agent=chosen.fallback, model=None), place, environ)
    if found.argv == agent.argv:
        raise Usage(
            f"--fallback {chosen.fallback} is the agent itself: its limit would hold for both.", help_of="start"
        )
    return found


def _launch(
    loops: Loops,
    chosen: Chosen,
    agent: AgentSpec,
    fallback: AgentSpec | None,
    place: Path,
    root: Path,
    origin: Origin | None,
    allow_large: bool,
    *,
    detach: bool,
    ends_with_us: bool,
    as_json: bool,
) -> int:
    from beatctl.cli import service
    from beatctl.cli.attached import attach
    from beatctl.cli.follow import interrupting_signals
    from beatctl.cli.starting import start_loop
    from beatctl.cli.view import print_status_json
    from beatctl.worker import local
    from beatctl.worker.connection import chosen as chosen_connection

    shared = chosen_connection(loops.environ)
    if shared is not None:
        say(f"Temporal server: {shared.address}, namespace {shared.namespace}")
    loops.check_home()
    for line in left_behind(origin, chosen, loops.environ) if origin is not None else []:
        say(line)
    try:
        with interrupting_signals():
            was_running = local.running(loops.home, loops.environ) is not None
            running = service.ensure(loops, loops.environ)
            status = start_loop(
                loops,
                chosen,
                agent,
                place,
                root,
                running,
                origin=origin,
                allow_large=allow_large,
                fallback=fallback,
            )
    except KeyboardInterrupt:
        say("Interrupted: nothing was started, the folder is untouched.")
        return problems.DETACHED
    for line in in_force(status, agent, fallback):
        say(line)
    if detach:
        if as_json:
            print_status_json(status)
        else:
            out(status.id)
        return 0
    return attach(loops, status.id, ends_with_us=ends_with_us, started_service=not was_running, as_json=as_json)


def in_force(status: Status, agent: AgentSpec, fallback: AgentSpec | None) -> list[str]:
    """What holds for a loop that was just started, and how to end it."""
    from beatctl.cli.output import colour

    colours = colour(sys.stderr)
    lines = [
        f"{paint(status.id, 'bold', on=colours)}  {visible(status.goal)[:200]}",
        f"  agent     {render.agent_words(agent)}",
        *([f"  fallback  {render.agent_words(fallback)}"] if fallback is not None else []),
        f"  limits    {render.limits_line(status.limits, strategy=status.strategy)}",
        f"  folder    {folder_words(status)}",
        f"  to end    beatctl stop {status.id} (after the iteration), beatctl cancel {status.id} (now)",
    ]
    warning = unbounded_warning(status.limits)
    if warning:
        lines.append(paint(warning, "yellow", on=colours))
    agents = [agent] if fallback is None else [agent, fallback]
    lines += [paint(words, "yellow", on=colours) for words in cannot_tell(status.limits, agents)]
    return lines
