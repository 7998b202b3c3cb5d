"""From what `start` was told to a loop that could begin, and its beginning; for each face of beatctl the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from beatctl.cli import levels, render
from beatctl.cli.budget import cannot_tell, still_bounded
from beatctl.cli.limit_options import DEFAULT_ITERATIONS, unbounded_warning
from beatctl.cli.loops import Loops, folder_in_use, in_the_way
from beatctl.cli.memory import refuse_without_sessions, with_template
from beatctl.cli.notifications import Notifications, notifications
from beatctl.cli.output import paint, say, visible
from beatctl.cli.problems import Unavailable, Usage
from beatctl.cli.settings import Setting, level_of_flags, merge, typed_of
from beatctl.cli.start_options import Chosen, Typed, choose
from beatctl.cli.worktree import checked_origin, folder_words, from_where_the_user_stands, left_behind

if TYPE_CHECKING:
    from beatctl.activities.agents.spec import AgentSpec
    from beatctl.activities.records import Status
    from beatctl.activities.workspace import Origin
    from beatctl.worker.connection import Connection


@dataclass(frozen=True)
class Prepared:
    """What a loop would start with; nothing has been done yet."""

    typed: Typed
    """With what the environment and files add."""
    chosen: Chosen
    agent: AgentSpec
    fallback: AgentSpec | None
    place: Path
    """Where its commands run."""
    root: Path
    """The workspace that lies in."""
    origin: Origin | None
    """What its own worktree will be made from, where it gets one."""


def prepare(loops: Loops, flags: Typed, file: str | None = None, *, later: bool = False) -> Prepared:
    """Check everything that can be told before anything starts; says what came from the environment and files.

    `file`: the loop file that was named. `later`: the folder may be in use now. Raises Usage, Unavailable.
    """
    written = levels.loop_file(file)
    place = stood_in(typed_of(merge([level_of_flags(flags), written])))
    root = checked_root(place)
    settings = levels.merged(flags, written, root, loops.environ)
    typed = typed_of(settings)
    if file is None and not (typed.goal or typed.steps) and Path(levels.LOOP_FILE).is_file():
        raise Usage(f"What is the goal? To take it from {levels.LOOP_FILE}: beatctl start -f {levels.LOOP_FILE}")
    chosen = replace(with_template(choose(typed, file), typed), notify=notifications(settings, loops.environ))
    for line in levels.told(settings, loops.environ):
        say(line)
    origin = checked_origin(chosen, place, root, loops.home)
    using = in_the_way(loops.all(), root) if origin is None and not later else None
    if using is not None:
        raise folder_in_use(using.id)
    spec = resolved_agent(chosen, place, loops.environ)
    second = resolved_fallback(chosen, spec, place, loops.environ)
    refuse_without_sessions(chosen, spec, second)
    if typed.limits.max_iterations is None:
        chosen = replace(chosen, limits=still_bounded(chosen.limits, spec, DEFAULT_ITERATIONS))
    if origin is not None:
        spec = from_where_the_user_stands(spec, place)
        second = from_where_the_user_stands(second, place) if second is not None else None
    return Prepared(typed, chosen, spec, second, place, root, origin)


def named_host(flags: Typed, file: str | None) -> dict[str, Setting] | None:
    """What was told of a loop for another host (`--on`), by flags and the loop file; None where it is for this one.
    Raises Usage."""
    told = merge([level_of_flags(flags), levels.loop_file(file)])
    return told if "on" in told else None


def told_connection(shared: Connection, environ: Mapping[str, str]) -> str:
    """A shared server in words: address, namespace, profile, TLS, encryption. Raises BadPayloadKey."""
    from beatctl.worker import payload_key

    keys = payload_key.keys(environ)
    more = [f"profile {shared.profile}"] if shared.profile else []
    more += ["TLS"] if shared.tls else []
    more += [f"payloads encrypted with key {keys[0].id}"] if keys else []
    return f"{shared.address}, namespace {shared.namespace}" + (f" ({', '.join(more)})" if more else "")


def tell_where(loops: Loops, prepared: Prepared) -> None:
    """Say to which server the loop goes and what its worktree will lack. Raises Unavailable where nothing can be
    kept."""
    from beatctl.worker.connection import chosen as chosen_connection

    shared = chosen_connection(loops.environ)
    if shared is not None:
        say(f"Temporal server: {told_connection(shared, loops.environ)}")
    loops.check_home()
    if prepared.origin is not None:
        for line in left_behind(prepared.origin, prepared.chosen, loops.environ):
            say(line)


def begin(loops: Loops, prepared: Prepared) -> Status:
    """Start what was prepared, its server and worker too. Whatever fails on the way, nothing of it is left.

    Raises Usage (folder in use), Unavailable.
    """
    from beatctl.cli import service
    from beatctl.cli.starting import start_loop

    running = service.ensure(loops, loops.environ)
    return start_loop(
        loops,
        prepared.chosen,
        prepared.agent,
        prepared.place,
        prepared.root,
        running,
        origin=prepared.origin,
        allow_large=prepared.typed.allow_large,
        fallback=prepared.fallback,
    )


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
    """The agent's program. Raises Unavailable where it isn't installed, Usage where none was named or the configuration
    of agents is wrong."""
    from beatctl.activities import agents
    from beatctl.cli import agent_tables

    allowed = [command for command in (chosen.evaluator, chosen.check) if command]
    try:
        return agents.resolve(
            chosen.agent,
            environ,
            model=chosen.model,
            permissions=chosen.permissions,
            allowed_commands=allowed,
            args=chosen.agent_args,
            directory=place,
            tables=agent_tables.read(environ),
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
    found = resolved_agent(replace(chosen, agent=chosen.fallback, model=None, agent_args=[]), place, environ)
    if found.argv == agent.argv:
        raise Usage(
            f"--fallback {chosen.fallback} is the agent itself: its limit would hold for both.", help_of="start"
        )
    return found


def in_force(
    status: Status, agent: AgentSpec, fallback: AgentSpec | None, notify: Notifications | None = None
) -> list[str]:
    """What holds for a loop that was just started, and how to end it."""
    from beatctl.cli.output import colour

    colours = colour(sys.stderr)
    lines = [
        f"{paint(status.id, 'bold', on=colours)}  {visible(status.goal)[:200]}",
        f"  agent     {render.agent_words(agent)}",
        *([f"  fallback  {render.agent_words(fallback)}"] if fallback is not None else []),
        f"  limits    {render.limits_line(status.limits, strategy=status.strategy)}",
        f"  folder    {folder_words(status)}",
        *([f"  tells     {notify.words()}"] if notify is not None else []),
        f"  to end    beatctl stop {status.id} (after the iteration), beatctl cancel {status.id} (now)",
    ]
    return lines + [paint(words, "yellow", on=colours) for words in warnings(status, agent, fallback)]


def warnings(status: Status, agent: AgentSpec, fallback: AgentSpec | None) -> list[str]:
    """What of a loop's limits does not bound it, in sentences."""
    agents = [agent] if fallback is None else [agent, fallback]
    unbounded = unbounded_warning(status.limits)
    return [*([unbounded] if unbounded else []), *cannot_tell(status.limits, agents)]
