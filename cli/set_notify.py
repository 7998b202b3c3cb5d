"""`set --notify`: what a loop that runs tells, and where to, from now on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from beatctl.cli import notifications, service
from beatctl.cli.loops import Loops
from beatctl.cli.notifications import NAMES
from beatctl.cli.problems import Usage
from beatctl.cli.settings import level_of_flags
from beatctl.cli.start_options import Typed, notify_events

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle

    from beatctl.activities.home import LoopFolder
    from beatctl.activities.notify.happened import Event
    from beatctl.activities.records import Status


def is_given(typed: Typed) -> bool:
    return any(getattr(typed, name) for name in NAMES)


def change_notifications(loops: Loops, status: Status, typed: Typed) -> str:
    """Change them for a loop that has not ended. Returns what holds now, in words. Raises Usage, Unavailable."""
    told = level_of_flags(typed)
    folder = loops.folder(status.id)
    if set(told) == {"notify_on"}:
        if not folder.notify.exists():
            raise Usage(f"{status.id} tells nobody yet. Say where to: --notify URL, or --notify-command CMD.")
        events = notify_events(typed.notify_on, "--notify-on")
        _signal(loops, status, events)
        _keep_events(folder, events)
        return f"tells of {', '.join(events)}"
    found = notifications.notifications(told, loops.environ)
    if found is None:
        _signal(loops, status, [])
        folder.notify.unlink(missing_ok=True)
        return "tells nobody"
    notifications.keep(loops, status.id, found, Path(status.directory))
    _signal(loops, status, found.on)
    return f"tells {found.words()}"


def _keep_events(folder: LoopFolder, events: list[Event]) -> None:
    from beatctl.activities.notify.targets import keep, kept

    targets = kept(folder.notify)
    if targets is not None:  # else the loop has just ended
        keep(folder.notify, targets.model_copy(update={"on": events}))


def _signal(loops: Loops, status: Status, events: list[Event]) -> None:
    async def send(handle: WorkflowHandle[Any, Any]) -> None:
        await handle.signal("notify_on", events, rpc_timeout=service.RPC_LIMIT)

    service.with_loop(loops, status, service.bring_back(loops, status), send)
