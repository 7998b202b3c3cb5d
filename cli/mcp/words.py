"""Messages for agents: what speaks of flags and commands on the command line names tools and arguments here. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from beatctl.cli.settings import KEYS, nearest

_TOOLS = {
    "start": "start_loop",
    "watch": "wait_for_loop",
    "list": "list_loops",
    "status": "loop_status",
    "logs": "show_iteration",
    "show": "show_iteration",
    "report": "loop_report",
    "diff": "loop_diff",
    "pause": "pause_loop",
    "resume": "resume_loop",
    "stop": "stop_loop",
    "cancel": "cancel_loop",
    "set": "set_limits",
    "note": "add_note",
    "apply": "apply_loop",
}
"""The tool that does what a command does. Commands that are not here stay as they are: a person types them."""

_FLAGS = {
    "--minimize": '`direction: "minimize"`',
    "--maximize": '`direction: "maximize"`',
    "--for": "`max_duration`",
    "--step": "`steps`",
    "-n": "`max_iterations`",
    "-C": "`directory`",
    "--worktree or --repo": "`worktree: true`",
    "--permissions full": '`permissions: "full"`',
    "--only": "`only`",
    "--dry-run": "`dry_run: true`",
    "--target none": '`target: "none"`',
}
_SWITCHES = ("worktree", "allow-large", "commit", "squash", "clear")
_ONLY_TYPED = ("on", "repo", "ref", "notify", "notify_on", "notify_command")
"""Agents start loops on the host that they are on, in a folder that is there; whom to tell is a person's to say."""
_TEXTS = [
    flag
    for flag, key in ((name.replace("_", "-"), key) for name, key in KEYS.items())
    if key.kind != "switch" and f"--{flag}" not in _FLAGS and key.name not in _ONLY_TYPED
]
_WORDS = {
    **_FLAGS,
    **{f"--{name}": f"`{name.replace('-', '_')}: true`" for name in _SWITCHES},
    **{f"--{name}": f"`{name.replace('-', '_')}`" for name in _TEXTS},
}
_FLAG = re.compile("|".join(rf"(?<![\w-]){re.escape(word)}(?![\w-])" for word in sorted(_WORDS, key=len, reverse=True)))
_MORE = re.compile(r"(?<![\w-])(?:-n|--max-iterations) \+(\d+|N)(?: -d\b)?")
_COMMAND = re.compile(rf"\bbeatctl ({'|'.join(_TOOLS)})\b(?! --help)(?: -d\b)?")
_HELP = re.compile(r"\n?Help: beatctl .*|\s*beatctl \w+ \w+ --help")


def in_tool_words(text: str) -> str:
    """`… add --worktree` → ``… add `worktree: true` ``; `beatctl resume k3f9 -n +10` → `resume_loop k3f9 …`."""
    text = _HELP.sub("", text)
    text = _COMMAND.sub(lambda found: _TOOLS[found[1]], text)
    text = _MORE.sub(r"`more_iterations` \1", text)
    return _FLAG.sub(lambda found: _WORDS[found[0]], text)


def not_understood(wrong: ValidationError, tool: str, takes: type[BaseModel]) -> str:
    """What is wrong with a call's arguments, a sentence each."""
    by_name: dict[str, list[ErrorDetails]] = {}
    for error in wrong.errors():
        by_name.setdefault(str(error["loc"][0]) if error["loc"] else "", []).append(error)
    return "\n".join(_sentence(name, errors, tool, takes) for name, errors in by_name.items())


def no_such_tool(name: str, tools: Sequence[str]) -> str:
    """What to call instead."""
    meant = nearest(name, tools)
    return f"There is no tool {name}." + (f" Did you mean {meant}?" if meant else f" There are: {', '.join(tools)}.")


def _sentence(name: str, errors: Sequence[ErrorDetails], tool: str, takes: type[BaseModel]) -> str:
    """What is wrong with one argument; `errors`: more than one where none of several kinds fits."""
    error, fields = errors[0], takes.model_fields
    about = f" {fields[name].description}" if name in fields and fields[name].description else ""
    kind = error["type"]
    if kind == "missing":
        return f"{tool} needs `{name}`.{about}"
    if kind == "extra_forbidden":
        meant = nearest(name, fields)
        instead = f"Did you mean `{meant}`?" if meant else f"It takes: {', '.join(fields)}."
        return f"{tool} takes no `{name}`. {instead}"
    given = repr(error["input"])
    shown = given if len(given) <= 60 else f"{given[:60]}…"
    wanted = "; or: ".join(dict.fromkeys(error["msg"] for error in errors))
    return f"`{name}` can't be {shown}: {wanted}.{about}"
