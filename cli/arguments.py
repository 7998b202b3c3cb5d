"""Arguments and flags that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from beatctl.cli.problems import Usage

AGENTS = ("claude", "codex", "gemini", "opencode")
"""Known by name. Here too, since where they are known is a lot to import."""

CHECK = "check AGENT"
"""How `agents` calls its words."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Loop = Annotated[
    str | None,
    typer.Argument(
        metavar="LOOP", help="A loop's id or its beginning; left out: this folder's loop.", show_default=False
    ),
]
NamedLoop = Annotated[
    str | None, typer.Argument(metavar="LOOP", help="A loop's id or its beginning.", show_default=False)
]
LoopAndNumber = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="LOOP N", help="A loop (left out: this folder's) and an iteration's number.", show_default=False
    ),
]

MaxIterations = Annotated[
    str | None,
    typer.Option("-n", "--max-iterations", metavar="N", help="End after N iterations.", show_default=False),
]
MaxFailures = Annotated[
    str | None, typer.Option("--max-failures", metavar="N", help="End after N failures in a row.", show_default=False)
]
MaxUnchanged = Annotated[
    str | None,
    typer.Option(
        "--max-unchanged",
        metavar="N",
        help="Pause after N iterations in a row that changed nothing.",
        show_default=False,
    ),
]
Cooldown = Annotated[
    str | None,
    typer.Option(
        "--cooldown", metavar="TIME", help="Wait between iterations; a bare number is ms.", show_default=False
    ),
]
AgentTimeout = Annotated[
    str | None, typer.Option("--agent-timeout", metavar="TIME", help="Limit of an agent run.", show_default=False)
]
EvalTimeout = Annotated[
    str | None,
    typer.Option("--eval-timeout", metavar="TIME", help="Limit of an evaluator or check run.", show_default=False),
]
For = Annotated[
    str | None,
    typer.Option(
        "--for", metavar="TIME", help="Start nothing more after this time, waits included.", show_default=False
    ),
]
MaxCost = Annotated[
    str | None,
    typer.Option("--max-cost", metavar="USD", help="Start no agent once this much is spent.", show_default=False),
]
MaxTokens = Annotated[
    str | None,
    typer.Option(
        "--max-tokens", metavar="N", help="Start no agent once so many are used: 500k, 2M.", show_default=False
    ),
]
Target = Annotated[
    str | None, typer.Option("--target", metavar="SCORE", help="End when the best is this good.", show_default=False)
]
Plateau = Annotated[
    str | None,
    typer.Option("--plateau", metavar="N", help="End after N iterations without a better score.", show_default=False),
]


def loop_and_number(words: Sequence[str] | None) -> tuple[str | None, int | None]:
    """Tell a loop's id, which starts with a letter, from an iteration's number. Raises Usage."""
    loop: str | None = None
    number: int | None = None
    for word in words or ():
        digits = word.removeprefix("#")
        if digits.isascii() and digits.isdigit() and len(digits) < 10:
            if number is not None:
                raise Usage(f"Two iteration numbers: {number} and {digits}. Give one.")
            number = int(digits)
        elif loop is None:
            loop = word
        else:
            raise Usage(f'Two loops: "{loop}" and "{word}". Give one loop and one iteration\'s number.')
    return loop, number


Notify = Annotated[
    list[str] | None,
    typer.Option(
        "--notify", metavar="URL", help="Tell this address (ntfy://topic, env:NAME); several.", show_default=False
    ),
]
NotifyOn = Annotated[
    str | None,
    typer.Option("--notify-on", metavar="WHAT", help="finish,failure,pause,waiting,best.", show_default=False),
]
NotifyCommand = Annotated[
    str | None,
    typer.Option("--notify-command", metavar="CMD", help="Tell this command, by JSON.", show_default=False),
]
