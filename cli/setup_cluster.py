"""`setup-cluster`: a shared Temporal server is made ready for loops."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from beatctl.cli import service
from beatctl.cli.arguments import Json
from beatctl.cli.loops import Loops
from beatctl.cli.output import out, out_json, say
from beatctl.cli.problems import ENVIRONMENT, Unavailable, Usage
from beatctl.cli.units import BadValue, duration

if TYPE_CHECKING:
    from beatctl.worker.cluster_setup import Step
    from beatctl.worker.connection import Connection

_LEAST = timedelta(days=1)


def setup_cluster(
    retention: Annotated[
        str, typer.Option("--retention", metavar="TIME", help="How long a new namespace keeps closed loops.")
    ] = "90d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is missing.")] = False,
    as_json: Json = False,
) -> int:
    """Make a shared Temporal server ready.

    Creates the namespace and the search attributes that are missing, on the server that --profile or TEMPORAL_ADDRESS
    names. What is there stays as it is.
    """
    from beatctl.cli.preparing import told_connection
    from beatctl.worker import payload_key, remembered
    from beatctl.worker.connection import chosen
    from beatctl.worker.run_folder import RunFolder

    loops = Loops()
    try:
        lasting = timedelta(seconds=duration(retention, "--retention"))
    except BadValue as mistake:
        raise Usage(str(mistake), help_of="setup-cluster") from None
    if lasting < _LEAST:
        raise Usage(
            f"--retention {retention}: Temporal keeps closed loops for a day at least.", help_of="setup-cluster"
        )
    connection = chosen(loops.environ)
    if connection is None:
        raise Usage(
            "beatctl's own server sets itself up. Name a shared one: beatctl --profile prod setup-cluster, or "
            "TEMPORAL_ADDRESS."
        )
    say(f"Temporal server: {told_connection(connection, loops.environ)}")
    steps = _set_up(loops, connection, lasting, dry_run=dry_run)
    if not dry_run:
        # From now on nothing is sent there in the clear by mistake.
        keys = payload_key.keys(loops.environ)
        remembered.remember(RunFolder(loops.home.root, connection.label), loops.environ, keys)
    lacks = [step for step in steps if step.state == "lacking"]
    if as_json:
        about = {"address": connection.address, "namespace": connection.namespace, "profile": connection.profile}
        out_json({**about, "ready": all(step.state in ("made", "there") for step in steps), "steps": _as_json(steps)})
    else:
        _tell(steps)
    return ENVIRONMENT if lacks else 0


def _set_up(loops: Loops, connection: Connection, retention: timedelta, *, dry_run: bool) -> list[Step]:
    """Raises Unavailable."""
    import asyncio

    from temporalio.service import RPCError

    from beatctl.worker.cluster_setup import set_up
    from beatctl.worker.connection import connect

    async def reach() -> list[Step]:
        client = await connect(connection, environ=loops.environ)
        return await set_up(client, retention, dry_run=dry_run)

    try:
        return asyncio.run(reach())
    except service.known_problems() as problem:
        raise Unavailable(str(problem)) from problem
    except RPCError as error:
        raise Unavailable(
            f"The Temporal server at {connection.address} failed: {error.message.rstrip('.')}."
        ) from error


_WORDS = {"made": "made", "there": "was there", "would-make": "missing", "lacking": "LACKING"}


def _tell(steps: list[Step]) -> None:
    widest = max(len(step.what) for step in steps)
    for step in steps:
        out(f"{step.what.ljust(widest)}  {_WORDS[step.state].ljust(9)}  {step.about}".rstrip())
    if commands := [step.command for step in steps if step.command]:
        say("An administrator types:")
        for command in commands:
            say(f"  {command}")


def _as_json(steps: list[Step]) -> list[dict[str, object]]:
    return [{"what": step.what, "state": step.state, "about": step.about, "command": step.command} for step in steps]
