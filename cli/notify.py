"""`notify`: where loops started here would send their messages; `notify test`: whether a message arrives."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from beatctl.cli import levels, notifications
from beatctl.cli.arguments import Json
from beatctl.cli.loops import Loops
from beatctl.cli.output import out, out_json, say
from beatctl.cli.problems import ENDED_WITHOUT, Usage
from beatctl.cli.start_options import Typed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from beatctl.activities.notify.telling import Result
    from beatctl.cli.notifications import Notifications


def notify(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[test]", help="Send a test message; left out: say where to.", show_default=False),
    ] = None,
    notify: Annotated[
        list[str] | None,
        typer.Option("--notify", metavar="URL", help="To this address instead; several.", show_default=False),
    ] = None,
    notify_command: Annotated[
        str | None,
        typer.Option("--notify-command", metavar="CMD", help="To this command instead.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> int:
    """Say where loops' messages go, or send a test.

    Where a loop that was started here would send them, by configuration or these flags; addresses are shown without
    what is secret in them. test sends a message to each and says whether it was taken; exit code 1 where one was not.
    """
    if words and words != ["test"]:
        raise Usage(f'Only test can follow, not "{" ".join(words)}": beatctl notify test', help_of="notify")
    loops = Loops()
    root = levels.workspace_here()
    flags = Typed(notify=tuple(notify or ()), notify_command=notify_command)
    told = notifications.of_configuration(root, loops.environ, flags)
    if told is None:
        raise Usage(
            "Nothing says where messages go. Try one: beatctl notify test --notify ntfy://TOPIC. For every loop of "
            f'yours: notify = ["…"] in {levels.user_file(loops.environ)}.',
            help_of="notify",
        )
    if not words:
        if as_json:
            out_json({"targets": told.places, "on": told.on})
        else:
            out(told.words())
        return 0
    results = _send(told, root, loops.environ)
    if as_json:
        out_json([result.model_dump(mode="json") for result in results])
    else:
        for result in results:
            out(f"{result.target}: {'taken' if result.ok else f'not taken: {result.error}'}")
    return 0 if all(result.ok for result in results) else ENDED_WITHOUT


def _send(told: Notifications, root: Path | None, environ: Mapping[str, str]) -> list[Result]:
    """Send the test, once to each."""
    import asyncio

    from beatctl.activities.notify.telling import Result, deliver
    from beatctl.activities.notify.texts import trial
    from beatctl.activities.records import timestamp

    say("Sending …")
    results = asyncio.run(deliver(told.targets(environ, root), trial(timestamp(time.time())), "test", None))
    return results or [Result(target=place, ok=False, error="the process that sends has died") for place in told.places]
