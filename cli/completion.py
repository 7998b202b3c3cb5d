"""`completion`: the script that makes a shell complete beatctl's command lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from beatctl.cli.output import out
from beatctl.cli.problems import Usage

SHELLS = ("bash", "zsh", "fish")


def completion(
    shell: Annotated[
        str | None,
        typer.Argument(metavar="bash|zsh|fish", help="Left out: the shell that $SHELL names.", show_default=False),
    ] = None,
) -> int:
    """Print what makes your shell complete beatctl.

    Commands, flags, their values and loops' ids. To have it in every shell, add a line:

    bash, to ~/.bashrc: eval "$(beatctl completion bash)"

    zsh, to ~/.zshrc, after compinit: eval "$(beatctl completion zsh)"

    fish, to ~/.config/fish/config.fish: beatctl completion fish | source
    """
    name = shell if shell is not None else Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        known = "bash, zsh and fish"
        what = f'not "{name}"' if name else "and $SHELL names none"
        raise Usage(f"There is completion for {known}, {what}. Name one: beatctl completion bash", help_of="completion")
    script = Path(__file__).with_name("shells") / f"beatctl.{name}"
    out(script.read_text(encoding="utf-8").rstrip())
    return 0
