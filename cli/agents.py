"""`agents`: which there are, which are logged in, which model each uses; `agents check NAME`: whether one works."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beatctl.cli import agent_tables, levels
from beatctl.cli.arguments import CHECK, Json
from beatctl.cli.cells import cells, cut, cut_left, pad
from beatctl.cli.output import colour, from_home, out, out_json, paint, say, visible, width
from beatctl.cli.problems import DETACHED, ENVIRONMENT, Unavailable, Usage
from beatctl.cli.units import in_words

if TYPE_CHECKING:
    from beatctl.activities.agents import Looked
    from beatctl.activities.agents.definition import AgentTables
    from beatctl.cli.agent_check import Checked

_LOGGED_IN = {True: "yes", False: "no", None: "unknown"}
_SETTINGS = ("agent", "model", "agent_args", "permissions", "fallback")


@dataclass(frozen=True)
class Line:
    """An agent, and what is known of it without spending anything."""

    name: str
    defined: bool
    """By the user's configuration; else beatctl knows it."""
    path: str | None
    version: str | None
    problem: str | None
    logged_in: bool | None
    login: str
    """By what it is logged in, or how to log in."""
    model: str | None
    """None: the agent's own choice."""
    model_from: str
    permissions: str
    permissions_from: str


def agents(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar=CHECK, help="Have an agent do a one-word task; left out: list all.", show_default=False),
    ] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", metavar="NAME", help="With check: its model.", show_default=False)
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("-f", "--file", metavar="FILE", help="Look at this loop file, too.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> int:
    """List the agents, or check that one works.

    Which are installed and logged in, the model each would use, and the one start takes. check runs a one-word task
    in a temporary folder and says what it cost. Exit code 3 where it did not work.
    """
    if not words:
        if model is not None:
            raise Usage("--model goes with check: beatctl agents check claude --model NAME", help_of="agents")
        return _list(os.environ, file, as_json=as_json)
    if words[0] != "check" or len(words) != 2:
        raise Usage("Name one agent: beatctl agents check claude", help_of="agents")
    return _check(words[1], model, file, os.environ, as_json=as_json)


def survey(
    found: Sequence[Looked],
    environ: Mapping[str, str],
    tables: AgentTables,
    settings: Mapping[str, Any],
    taken: str | None,
) -> list[Line]:
    """What is known of each agent. `settings`: what holds for `start`, by name; a model is meant for `taken`, the agent
    it takes."""
    from beatctl.activities.agents.account import account
    from beatctl.activities.agents.definition import KnownSettings

    config = levels.user_file(environ)
    lines = []
    for looked in found:
        told = account(looked.name, environ)
        own = tables.known.get(looked.name, KnownSettings())
        there = f"[agents.{looked.name}] in {from_home(str(config))}"
        held = settings if looked.name == taken else {}
        model = next(
            (
                (value, place)
                for value, place in (
                    (held["model"]["value"], held["model"]["source"]) if "model" in held else (None, ""),
                    (own.model, there),
                    (told.model, from_home(told.model_from)),
                )
                if value
            ),
            (None, "the agent's default"),
        )
        permissions = (own.permissions, there) if own.permissions else ("workspace", "default")
        if "permissions" in settings:
            permissions = (settings["permissions"]["value"], settings["permissions"]["source"])
        lines.append(
            Line(
                name=looked.name,
                defined=looked.name in tables.defined,
                path=looked.agent.argv[0] if looked.agent is not None else None,
                version=looked.agent.version if looked.agent is not None else None,
                problem=looked.problem,
                logged_in=told.logged_in if looked.agent is not None else None,
                login=from_home(told.how),
                model=model[0],
                model_from=model[1],
                permissions=permissions[0],
                permissions_from=permissions[1],
            )
        )
    return lines


def taken_by_start(word: str | None, found: Sequence[Looked], tables: AgentTables) -> str | None:
    """The name of the agent that `start` takes; None where none is there, or it is a command of the user's."""
    if word is not None:
        return word if word in {looked.name for looked in found} else None
    # The first of those that run, as `start` looks.
    there = (looked.name for looked in found if looked.agent is not None and looked.problem is None)
    return next((name for name in there if name not in tables.defined), None)


def _list(environ: Mapping[str, str], file: str | None, *, as_json: bool) -> int:
    from beatctl.activities import agents as programs

    tables = agent_tables.read(environ)
    found, mistakes = levels.examine(levels.workspace_here(), file, environ)
    settings = {setting["name"]: setting for setting in found["settings"] if setting["name"] in _SETTINGS}
    word = settings["agent"]["value"] if "agent" in settings else None
    looked = programs.look(environ, tables)
    taken = taken_by_start(word, looked, tables)
    lines = survey(looked, environ, tables, settings, taken)
    if as_json:
        out_json(
            {
                "agents": [vars(line) for line in lines],
                "start": taken or word,
                "settings": list(settings.values()),
                "warnings": mistakes,
            }
        )
        return 0
    for text in shown(lines, taken, columns=width(elsewhere=80), colours=colour(sys.stdout)):
        out(text)
    out("")
    out(_start_words(word, taken, settings))
    for setting in settings.values():
        if setting["name"] != "agent":
            name = setting["name"].replace("_", "-")
            out(f"  {name} {levels.shown_value(setting['value'])}  from {setting['source']}")
    told = {setting["source"] for setting in settings.values()}
    for line in lines:
        if line.path and line.model and line.model_from not in told:
            out(f"  {line.name}: model {visible(line.model)}  from {line.model_from}")
        if line.path and line.permissions_from not in (*told, "default"):
            out(f"  {line.name}: permissions {line.permissions}  from {line.permissions_from}")
    missing = [line for line in lines if not line.path]
    if missing:
        out("To install:")
    for line in missing:
        out(f"  {line.name:<10} {visible(line.problem or '')}")
    for line in lines:
        if line.path and line.logged_in is False:
            say(f"{line.name} is not logged in: {line.login}.")
        if line.path and line.problem:
            say(f"{line.name} does not run: {visible(line.problem)}")
    for mistake in mistakes:
        say(mistake)
    return 0


def shown(lines: Sequence[Line], taken: str | None, *, columns: int, colours: bool = False) -> list[str]:
    """A header and a line an agent; what `start` takes is marked with a star. No line is wider than `columns`."""
    rows = [
        (
            f"{'*' if line.name == taken else ' '} {line.name}",
            line.version or ("?" if line.path else "-"),
            _LOGGED_IN[line.logged_in] if line.path else "-",
            cut(visible(line.model or "its own"), 24) if line.path else "-",
            from_home(line.path) if line.path else "not installed",
        )
        for line in lines
    ]
    titles = ("  AGENT", "VERSION", "LOGGED IN", "MODEL", "PROGRAM")
    widths = [max(cells(row[place]) for row in (titles, *rows)) for place in range(4)]
    room = max(12, columns - sum(widths) - 2 * len(widths))
    texts = []
    for row, line in zip((titles, *rows), (None, *lines), strict=True):
        last = cut_left(row[4], room) if line is not None and line.path else cut(row[4], room)
        text = "  ".join([*(pad(row[place], widths[place]) for place in range(4)), last]).rstrip()
        style = "dim" if line is None or not line.path else "bold" if line.name == taken else ""
        texts.append(paint(text, style, on=colours and bool(style)))
    return texts


def _start_words(word: str | None, taken: str | None, settings: Mapping[str, Any]) -> str:
    if taken is not None:
        where = f"from {settings['agent']['source']}" if word is not None else "the first that is there"
        return f"start takes {taken} ({where})."
    if word is not None:
        return f"start takes a command of yours ({levels.shown_value(word)}, from {settings['agent']['source']})."
    return "start finds no agent: install one, or name your own with --agent './my-agent.sh {prompt}'."


def _check(word: str, model: str | None, file: str | None, environ: Mapping[str, str], *, as_json: bool) -> int:
    from pathlib import Path

    from beatctl.activities import agents as programs
    from beatctl.cli import agent_check
    from beatctl.cli.follow import noted_signals

    found, _ = levels.examine(levels.workspace_here(), file, environ)
    settings = {setting["name"]: setting["value"] for setting in found["settings"]}
    if model is None and settings.get("agent") == word:
        model = settings.get("model")
    try:
        agent = programs.resolve(word, environ, model=model, tables=agent_tables.read(environ), directory=Path.cwd())
    except programs.AgentMistyped as wrong:
        raise Usage(str(wrong), help_of="agents") from None
    except programs.AgentNotFound as missing:
        raise Unavailable(str(missing)) from None
    say(f"Asking {agent.name} for one word …")
    try:
        with noted_signals() as signals:
            checked = agent_check.check(agent, environ, signals)
    except agent_check.Interrupted:
        say("Interrupted: the agent is ended, nothing of it is left.")
        return DETACHED
    if as_json:
        out_json(_as_json(checked))
    else:
        for text in check_lines(checked):
            out(text)
    if checked.note:
        say(checked.note)
    return 0 if checked.outcome.ok else ENVIRONMENT


def check_lines(checked: Checked) -> list[str]:
    """What came of a check, in a few lines."""
    from beatctl.cli.report.sentences import money

    agent, outcome = checked.agent, checked.outcome
    model = outcome.model or agent.model or agent.default_model
    cost = [money(outcome.cost_usd, outcome.cost_estimated)] if outcome.cost_usd is not None else []
    tokens = [f"{outcome.tokens:,} tokens"] if outcome.tokens is not None else []
    fields = [
        ("version", checked.version or "it does not tell"),
        ("model", visible(model) if model else "its own; it does not tell"),
        ("said", cut(visible(outcome.summary), 200) or ("nothing" if outcome.ok else "")),
        ("took", in_words(checked.duration_s)),
        ("cost", ", ".join([*cost, *tokens]) or "it does not tell"),
    ]
    head = f"{agent.name} works." if outcome.ok else f"{agent.name} does not work. {visible(outcome.error or '')}"
    return [head, *(f"  {name:<9}{text}" for name, text in fields if text)]


def _as_json(checked: Checked) -> dict[str, Any]:
    agent, outcome = checked.agent, checked.outcome
    return {
        "name": agent.name,
        "ok": outcome.ok,
        "kind": outcome.kind,
        "error": outcome.error,
        "path": agent.argv[0],
        "version": checked.version,
        "model": outcome.model or agent.model or agent.default_model,
        "said": outcome.summary,
        "duration_s": checked.duration_s,
        "cost_usd": outcome.cost_usd,
        "cost_estimated": outcome.cost_estimated,
        "tokens": outcome.tokens,
    }
