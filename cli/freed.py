"""The note that `gc` leaves of what it has freed of a loop, and what other commands say of it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from beatctl.cli import times
from beatctl.cli.problems import Problem

if TYPE_CHECKING:
    from beatctl.activities.home import LoopFolder
    from beatctl.activities.records import Status
    from beatctl.cli.loops import Loops


def read(folder: LoopFolder) -> dict[str, Any]:
    """What was freed: `at`, `outputs` and `snapshots` (`some`, `all`) where they were; empty: nothing was."""
    try:
        found = json.loads(folder.freed.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("at"), str) else {}


def note(folder: LoopFolder, **what: Any) -> None:
    """Remember what is about to be freed, before it is."""
    from beatctl.activities.records import timestamp
    from beatctl.activities.workspace.files import write_whole

    folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = json.dumps({**read(folder), **what, "at": timestamp(time.time())})
    write_whole(folder.freed, text.encode(), lasting=True)


def day(found: dict[str, Any]) -> str:
    """When it was, as a date."""
    return f"{times.local(found['at']):%Y-%m-%d}"


def words(loops: Loops, loop: str, what: str) -> str:
    """A sentence where `gc` has freed `what` (`outputs`, `snapshots`) of a loop; else empty."""
    found = read(loops.folder(loop))
    if not found.get(what):
        return ""
    names = {"outputs": "prompts and outputs", "snapshots": "the snapshots of experiments that were not kept"}
    if found.get(what) == "all":
        names["snapshots"] = "the loop's snapshots"
    return f"beatctl gc freed {names[what]} on {day(found)}."


def check_snapshots(loops: Loops, status: Status, verb: str) -> None:
    """Raises Problem where all of a loop's snapshots were freed, so that there is nothing to `verb`."""
    found = read(loops.folder(status.id))
    if found.get("snapshots") == "all":
        raise Problem(
            f"beatctl gc --all-refs freed the snapshots of {status.id} on {day(found)}: there is nothing to {verb}. "
            f"Its ledger is still there: beatctl report {status.id}"
        )
