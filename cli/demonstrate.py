"""`demo`: the command around `beatctl.cli.demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beatctl.cli.arguments import Json


def demo(
    agent: Annotated[
        str | None,
        typer.Option(
            "-a",
            "--agent",
            metavar="AGENT",
            help="A real agent, such as claude; left out: a scripted one.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep", metavar="DIR", help="Make the demo's repository here, and leave it.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """See two loops at work, at no cost.

    An optimize and a retry loop on a small repository made for it, with a scripted agent: no key is needed.
    """
    from beatctl.cli.demo import run_demo

    return run_demo(agent, as_json, keep)
