"""What this host is called: `worker --name`, `up --name`, BEATCTL_HOST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from beatctl.cli.problems import Usage

if TYPE_CHECKING:
    from beatctl.cli.loops import Loops

HostName = Annotated[
    str | None,
    typer.Option(
        "--name", metavar="NAME", help="Call this host so: loops are sent to it by that name.", show_default=False
    ),
]


def settle_name(loops: Loops, name: str | None = None) -> None:
    """Call this host by the name that was typed, else by BEATCTL_HOST's, else as it is called already.

    Raises Usage where it can't be a name, or where something of this home runs or waits under another.
    """
    from beatctl.worker import hosts

    typed = name if name is not None else loops.environ.get(hosts.VARIABLE) or None
    if typed is None:
        return
    named = "--name" if name is not None else hosts.VARIABLE
    if not hosts.is_name(typed):
        raise Usage(
            f"{named} {typed!r} can't be a host's name: letters, digits, dots and dashes, at most {hosts.LONGEST}, "
            "with a letter or digit at both ends.",
            help_of="worker",
        )
    before = hosts.known(loops.home)
    if typed == before:
        return
    waiting = [loop.id for loop in loops.all() if loop.state != "finished"]
    if waiting:
        many = ", ".join(waiting[:5]) + (" and others" if len(waiting) > 5 else "")
        raise Usage(
            f"This host is called {before}, and {many} {'is' if len(waiting) == 1 else 'are'} at work under that name: "
            f"a loop never leaves its host. Wait for {'its' if len(waiting) == 1 else 'their'} end, or keep the name "
            f"({named} {before})."
        )
    if before is not None and hosts.runs(loops.home):
        raise Usage(f"A worker of this home runs as host {before}. End it first (beatctl down), then start it anew.")
    hosts.give_name(loops.home, typed)
