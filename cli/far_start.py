"""`start --on HOST`: the loop is started by that host's worker, in its folder, with its environment and agents."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from beatctl.cli import elsewhere, render, service
from beatctl.cli.attached import is_ci
from beatctl.cli.limit_options import flag_of
from beatctl.cli.loops import Loops, new_id
from beatctl.cli.notifications import refuse_to_travel
from beatctl.cli.output import out, out_json, say, visible
from beatctl.cli.preparing import told_connection
from beatctl.cli.problems import Problem, Unavailable, Usage
from beatctl.cli.repository import check_told
from beatctl.cli.settings import KEYS, Setting, typed_of
from beatctl.cli.start_options import choose

if TYPE_CHECKING:
    from temporalio.client import Client

    from beatctl.activities.records import Status
    from beatctl.worker.away import Away
    from beatctl.worker.connection import Connection

_OURS = ("on", "directory", "detach", "foreground", "dry_run", "prompt_template")
"""Of the settings those that are not for the host's `start` as they stand."""
_LOOK_S = 0.3
_LARGEST = 1 << 20


class Refused(Problem):
    """What the host's `start` said; with its exit code."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Wanted:
    """A loop for another host."""

    host: str
    goal: str
    arguments: list[str]
    """Of its `start`."""
    directory: str | None
    files: dict[str, str]


def start_there(loops: Loops, told: Mapping[str, Setting], *, as_json: bool) -> int:
    """Start the loop on its host and stay with it as `start` does. Returns the exit code. Raises Usage, Unavailable,
    Refused."""
    from beatctl.cli.far_watch import watch

    typed = typed_of(told)
    wanted = wanted_of(told)
    shared = elsewhere.server(loops.environ)
    if shared is None:
        raise Usage(
            f"{typed.named('on')} {wanted.host}: other hosts are reached by a Temporal server that all of them use. "
            "Name it: --profile NAME, or TEMPORAL_ADDRESS.",
            help_of="start",
        )
    say(f"Temporal server: {told_connection(shared, loops.environ)}")
    ends_with_us = typed.foreground or is_ci(loops.environ)
    loop = new_id({status.id for status in loops.all()})
    status = elsewhere.reach(
        shared,
        loops.environ,
        lambda client: _begin(client, shared, loop, wanted, needs_it_now=ends_with_us),
        None,
    )
    if typed.detach:
        if as_json:
            out_json(status.model_dump(mode="json"))
        else:
            out(loop)
        return 0
    return watch(shared, loops.environ, status, as_json=as_json, ends_with_us=ends_with_us)


def wanted_of(told: Mapping[str, Setting]) -> Wanted:
    """What the host's `start` is to be given. Everything that can be told here is. Raises Usage."""
    from beatctl.worker import hosts

    typed = typed_of(told)
    chosen = choose(typed)
    refuse_to_travel(told, "that host's")
    host = typed.on or ""
    if not hosts.is_name(host):
        raise Usage(f"{typed.named('on')} {host!r} can't be a host's name.", help_of="start")
    if typed.dry_run:
        raise Usage(f"--dry-run measures on this host: type it on {host}, or leave {typed.named('on')} out.")
    place = told.get("directory")
    in_clone = check_told(told)
    if not in_clone and (place is None or place.level != "flag"):
        raise Usage(
            f"In which folder of {host}? Add -C DIR, or --repo URL."
            + (f" ({place.named} is a folder of this machine.)" if place is not None else ""),
            help_of="start",
        )
    if place is not None and not str(place.value).startswith("/"):
        raise Usage(f"-C {place.value}: a folder of another host has to be named whole, such as -C /srv/shop.")
    files: dict[str, str] = {}
    arguments: list[str] = []
    for name, setting in told.items():
        key = KEYS[name]
        if name in _OURS or (name in ("setup", "setup_timeout") and not (typed.worktree or in_clone)):
            continue
        if key.kind == "switch":
            arguments += [flag_of(key.field)] if setting.value else []
        elif name != "goal":
            values = setting.value if isinstance(setting.value, tuple) else (setting.value,)
            arguments += [f"{flag_of(key.field)}={value}" for value in values]
    if typed.prompt_template is not None:
        files["prompt.j2"] = _text_of(typed.prompt_template)
        arguments += ["--prompt-template", "prompt.j2"]
    if typed.goal:
        arguments += ["--", *typed.goal]
    return Wanted(host, chosen.goal, arguments, str(place.value) if place is not None else None, files)


def _text_of(name: str) -> str:
    try:
        text = Path(name).expanduser().read_bytes()
        if len(text) > _LARGEST:
            raise Usage(f"{name} is larger than 1 MiB: that is no prompt.")
        return text.decode("utf-8")
    except OSError as problem:
        raise Usage(f"{name} can't be read: {problem.strerror or problem}.") from None
    except UnicodeDecodeError:
        raise Usage(f"{name} is not UTF-8.") from None


async def _begin(client: Client, shared: Connection, loop: str, wanted: Wanted, *, needs_it_now: bool) -> Status:
    """Have the host start the loop; returns once it has, or where nobody there takes the order. Raises Refused,
    Unavailable."""
    from beatctl.worker import away, far_loops
    from beatctl.worker.hosts import queue_of

    gone = await away.look(client, queue_of(wanted.host), [])
    if gone is not None and needs_it_now:
        raise Unavailable(f"{_gone_words(wanted, gone)} Nothing was started.")
    await _order(client, loop, wanted)
    while True:
        found = await far_loops.find(client, loop, shared.label)
        status, gone = found[0] if found else (None, None)
        if status is not None and status.reason == "refused":
            launch = await client.get_workflow_handle(far_loops.launch_id(loop)).describe(rpc_timeout=service.RPC_LIMIT)
            raise Refused(*(await far_loops.refusal(client, launch) or (status.detail, Unavailable.exit_code)))
        if status is not None and not status.queued:
            for line in _in_force(status):
                say(line)
            return await far_loops.whole(client, status)
        if status is not None and gone is not None:
            if needs_it_now:
                await far_loops.take_back(client, loop)
                raise Unavailable(f"{_gone_words(wanted, gone)} Nothing was started.")
            say(f"{_gone_words(wanted, gone)} {loop} is queued, and starts when one is there.")
            say(f"To take it back: beatctl cancel {loop}")
            return elsewhere.waiting(status, gone)
        await asyncio.sleep(_LOOK_S)


async def _order(client: Client, loop: str, wanted: Wanted) -> None:
    from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

    from beatctl.worker.far_loops import launch_id
    from beatctl.worker.hosts import queue_of
    from beatctl.workflows.launch import LaunchInput, LaunchWorkflow

    host = SearchAttributePair(SearchAttributeKey.for_keyword("BeatctlHost"), wanted.host)
    await client.start_workflow(
        LaunchWorkflow.run,
        LaunchInput(loop=loop, arguments=wanted.arguments, directory=wanted.directory, files=wanted.files),
        id=launch_id(loop),
        task_queue=queue_of(wanted.host),
        memo={"goal": wanted.goal[:1000], "directory": wanted.directory or ""},
        search_attributes=TypedSearchAttributes([host]),
        rpc_timeout=service.RPC_LIMIT,
    )


def _gone_words(wanted: Wanted, gone: Away) -> str:
    words = elsewhere.away_words(wanted.host, gone.since, datetime.now().astimezone())
    return f"{words[0].upper()}{words[1:]}."


def _in_force(status: Status) -> list[str]:
    """What was started, and how to end it."""
    return [
        f"{status.id}  {visible(status.goal)[:200]}",
        f"  host      {status.host}",
        f"  agent     {status.agent}",
        f"  folder    {status.directory}",
        *([f"  limits    {render.limits_line(status.limits, strategy=status.strategy)}"] if status.limits else []),
        f"  to end    beatctl stop {status.id} (after the iteration), beatctl cancel {status.id} (now)",
    ]
