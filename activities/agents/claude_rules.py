"""Claude's permission rules: which shell commands it may run."""

from __future__ import annotations

import json
from collections.abc import Sequence

from beatctl.activities.agents.shell_line import simple_commands


def rules(commands: Sequence[str]) -> list[str]:
    """The permission rules that let claude run these shell commands.

    A simple command is allowed with further arguments, too. Claude asks for each command of a pipeline or list on its
    own: those are allowed as they are. It never allows `$(…)`, whatever the rules say.
    """
    found: dict[str, None] = {}
    for command in commands:
        pieces = simple_commands(command)
        found[f"Bash({_escaped(command.strip())}:*)"] = None
        found |= {f"Bash({_escaped(piece)})": None for piece in pieces if len(pieces) > 1}
    return list(found)


def allowing(found: Sequence[str]) -> list[str]:
    """The options that carry these rules.

    `--allowedTools` takes the first closing parenthesis for the end of a rule, whatever stands before it; a rule with
    another one in it goes in as settings, which are added to the user's own.
    """
    plain = [each for each in found if ")" not in each[:-1]]
    odd = [each for each in found if ")" in each[:-1]]
    options = ["--allowedTools", *plain] if plain else []
    return [*options, "--settings", json.dumps({"permissions": {"allow": odd}})] if odd else options


def _escaped(command: str) -> str:
    return command.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
