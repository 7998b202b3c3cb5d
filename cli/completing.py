"""What a shell may offer at the cursor: commands, flags, values and loops' ids, told from the commands' own help.

The shells' scripts (`shells/`) run `beatctl WORD …` with `_BEATCTL_COMPLETE` set and get lines back: first what else
fits (`words`: nothing else, `files`, `dirs`), then a value each, with a tab and a description where the shell shows it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from beatctl.cli.arguments import AGENTS, CHECK
from beatctl.cli.output import out, visible

VARIABLE = "_BEATCTL_COMPLETE"
"""`zsh`, `fish`, or `bash` and its COMP_TYPE."""

_LOOPS = 50
_BASH_LISTS = {"33", "63", "64"}
"""The COMP_TYPEs in which bash lists what there is, and inserts nothing."""
_ENDS_LOOPS = {"pause", "stop", "cancel"}


class Found(NamedTuple):
    """A value that fits, and what it is."""

    value: str
    about: str = ""


class Answer(NamedTuple):
    """What fits at the cursor, and what else does."""

    else_: Literal["words", "files", "dirs"]
    found: list[Found]


def answer(told: str, words: Sequence[str]) -> int:
    """Print what fits; the last of `words` is the one at the cursor. Never an error: a prompt is no place for one."""
    shell, _, kind = told.partition(" ")
    try:
        joined = _joined(words) if shell == "bash" else list(words)
        found = complete(joined or [""], os.environ)
        out(found.else_)
        for one in found.found:
            out(_line(one, shell, lists=kind in _BASH_LISTS and len(found.found) > 1, typed=joined[-1]))
    except Exception:  # a damaged ledger, a terminal that went away
        return 0
    return 0


def _line(found: Found, shell: str, *, lists: bool, typed: str) -> str:
    flag, equals, _ = typed.partition("=")
    by_flag = equals and flag.startswith("--")
    if shell == "bash":
        return f"{found.value}  ({found.about})" if lists and found.about else found.value
    return f"{f'{flag}=' if by_flag else ''}{found.value}\t{found.about}"


def _joined(words: Sequence[str]) -> list[str]:
    """bash makes three words of `--direction=min`."""
    joined: list[str] = []
    for word in words:
        if joined and ((word == "=" and joined[-1].startswith("--")) or joined[-1].endswith("=")):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def complete(words: Sequence[str], environ: Mapping[str, str]) -> Answer:
    """What fits in place of the last of `words`, which follow the program's name."""
    from beatctl.cli.app import COMMANDS, SUBCOMMANDS, entry_of, made

    *before, typed = words
    before = _without_profile(before)
    name = next((word for word in before if not word.startswith("-")), None)
    if name is None:
        named = [Found(command, entry.summary) for command, entry in COMMANDS.items()]
        flags = [Found("--help", "Show the help."), Found("--version", "Print the version.")]
        return _fitting("words", flags if typed.startswith("-") else named, typed)
    if name not in COMMANDS:
        return Answer("words", [])
    rest = before[before.index(name) + 1 :]
    if name in SUBCOMMANDS:
        if not rest:
            named = [Found(command, entry.summary) for command, entry in SUBCOMMANDS[name].items()]
            return _fitting("words", named, typed)
        if rest[0] not in SUBCOMMANDS[name]:
            return Answer("words", [])
        name, rest = f"{name} {rest[0]}", rest[1:]
    if entry_of(name).takes_start and "--" in rest:
        name, rest = "start", rest[rest.index("--") + 1 :]
    command = made(name)
    params = command.get_params(command.make_context(name, [], resilient_parsing=True))
    return _of_command(name, params, rest, typed, environ)


def _without_profile(words: list[str]) -> list[str]:
    """What stands before the cursor, without a `--profile NAME` ahead of the command."""
    return words[2:] if len(words) > 1 and words[0] == "--profile" else words


def _of_command(
    name: str, params: Sequence[Any], before: Sequence[str], typed: str, environ: Mapping[str, str]
) -> Answer:
    options = {flag: param for param in params for flag in param.opts if param.param_type_name == "option"}
    given: list[Any] = []
    positional = 0
    waiting = None  # an option whose value comes next
    only_positional = False
    for word in before:
        if waiting is not None:
            waiting = None
        elif only_positional or not word.startswith("-") or word == "-":
            positional += 1
        elif word == "--":
            only_positional = True
        else:
            flag, equals, _ = word.partition("=")
            param = options.get(flag)
            given.append(param)
            waiting = param if param is not None and not param.is_flag and not equals else None
    if waiting is not None:
        return _values(waiting.metavar or "", typed, name, environ)
    flag, equals, value = typed.partition("=")
    if equals and flag in options and not only_positional:
        return _values(options[flag].metavar or "", value, name, environ)
    offered = [] if only_positional else _flags(options.values(), given)
    if typed.startswith("-"):
        return _fitting("words", offered, typed)
    arguments = [param for param in params if param.param_type_name == "argument"]
    kind = arguments[0].metavar or "" if arguments and not positional else ""
    if arguments and positional == 1 and arguments[0].metavar == CHECK:
        kind = "AGENT"
    answered = _values(kind, typed, name, environ) if kind else Answer("words", [])
    if typed or answered.found or answered.else_ != "words":
        return answered
    return _fitting("words", offered, typed)


def _flags(options: Iterable[Any], given: Sequence[Any]) -> list[Found]:
    seen: list[Any] = []
    for param in options:
        if param not in seen and not param.hidden and (param.multiple or param not in given):
            seen.append(param)
    return [Found(max(param.opts, key=len), visible(param.help or "")) for param in seen]


def _values(metavar: str, typed: str, name: str, environ: Mapping[str, str]) -> Answer:
    """What fits a place whose help calls it `metavar`."""
    if "|" in metavar:
        return _fitting("words", [Found(word) for word in metavar.split("|")], typed)
    if metavar == "AGENT":
        return _fitting("files", [Found(agent) for agent in _agents(environ)], typed)
    if metavar == CHECK:
        return _fitting("words", [Found("check", "Run a one-word task with an agent.")], typed)
    if metavar.split(" ")[0] == "LOOP":
        return _fitting("words", _loops(environ, unfinished=name in _ENDS_LOOPS), typed)
    if metavar == "NAME" and name.startswith("schedule ") and not name.endswith(" create"):
        return _fitting("words", [Found(schedule) for schedule in _schedules(environ)], typed)
    if metavar in ("FILE", "CMD"):
        return Answer("files", [])
    return Answer("dirs" if metavar == "DIR" else "words", [])


def _agents(environ: Mapping[str, str]) -> list[str]:
    from beatctl.cli import agent_tables

    return list(dict.fromkeys((*AGENTS, *agent_tables.names(environ))))


def _schedules(environ: Mapping[str, str]) -> list[str]:
    """Those that were made in this home."""
    from beatctl.activities.home import Home

    return sorted(place.parent.name for place in Home.locate(environ).schedules.glob("*/schedule.json"))


def _fitting(else_: Literal["words", "files", "dirs"], found: Iterable[Found], typed: str) -> Answer:
    return Answer(else_, [one for one in found if one.value.startswith(typed)])


def _loops(environ: Mapping[str, str], *, unfinished: bool) -> list[Found]:
    """The newest loops, with state and goal. Without the ledger's models: they cost more than all else here."""
    from contextlib import closing

    from beatctl.activities.home import Home

    ledger = Home.locate(environ).ledger
    if not ledger.exists():
        return []
    import sqlite3

    with closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True, timeout=1)) as db:
        rows = db.execute("select loop, status from loops order by started desc").fetchall()
    found: list[Found] = []
    for loop, text in rows:
        status = json.loads(text)
        state = status.get("state", "")
        if unfinished and state == "finished":
            continue
        word = status.get("outcome") or state
        found.append(Found(loop, f"{word}: {visible(status.get('goal', ''))[:60]}"))
        if len(found) == _LOOPS:
            break
    return found
