"""Acting on a loop that runs: pause, stop, note, cancel."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from beatctl.cli import service
from beatctl.cli.arguments import Json, Loop, NamedLoop
from beatctl.cli.loops import Loops
from beatctl.cli.output import out
from beatctl.cli.problems import Usage
from beatctl.cli.view import print_status_json

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle

    from beatctl.activities.records import Status

_PATIENCE_S = 2.0
_MOMENT_S = 0.3
_POLL_S = 0.05


def pause(loop: Loop = None, as_json: Json = False) -> int:
    """Pause a loop after this iteration."""
    loops = Loops()
    shown = pause_loop(loops, loops.find(loop))
    if not as_json and shown.asked in ("stop", "cancel"):  # asked for at the same moment
        raise Usage(_ending_already(shown))
    asked, at_once = "{id} pauses after this iteration.", "{id} is paused."
    go_on = " Go on with: beatctl resume {id}"
    return told(shown, as_json, asked=asked + go_on, at_once=at_once + go_on)


def pause_loop(loops: Loops, status: Status) -> Status:
    """Have a loop pause after this iteration. Returns its status with that asked for or done. Raises Usage,
    Unavailable."""
    status = unfinished(status, "pause")
    if status.asked in ("stop", "cancel"):
        raise Usage(_ending_already(status))
    return _signalled(loops, status, "pause", lambda now: now.asked == "pause" or now.state == "paused")


def go_on_from_pause(loops: Loops, status: Status) -> Status:
    """`resume` on a loop that is paused, waits for a limit's reset, or is about to pause. Raises Unavailable,
    LoopUnknown."""
    waited = status.waiting_until or ""

    def goes_on(now: Status) -> bool:
        return now.state in ("running", "waiting") and now.asked != "pause" and now.waiting_until != waited

    return _signalled(loops, status, "resume", goes_on)


def stop(loop: Loop = None, as_json: Json = False) -> int:
    """End a loop after this iteration."""
    loops = Loops()
    shown = stop_loop(loops, loops.find(loop))
    asked = "{id} stops after this iteration. Now instead: beatctl cancel {id}"
    return told(shown, as_json, asked=asked, at_once="{id} has ended.")


def stop_loop(loops: Loops, status: Status) -> Status:
    """Have a loop end after this iteration. Returns its status with that asked for or done. Raises Usage,
    Unavailable."""
    return _signalled(loops, unfinished(status, "stop"), "stop", lambda now: now.asked == "stop")


def _signalled(
    loops: Loops, status: Status, signal: Literal["pause", "resume", "stop"], done: Callable[[Status], bool]
) -> Status:
    ask(loops, status, signal)
    shown = until(loops, status.id, lambda now: done(now) or now.state == "finished")
    if shown.asked == signal:  # between two iterations it is done as soon as it is said
        shown = until(loops, status.id, lambda now: now.asked != signal, _MOMENT_S)
    if not done(shown) and shown.state != "finished" and shown.asked is None and signal != "resume":
        # The signal is in the loop's history; a busy worker has only not said so in the ledger yet.
        shown = shown.model_copy(update={"asked": signal})
    return shown


def told(shown: Status, as_json: bool, *, asked: str, at_once: str) -> int:
    """Print what became of what was asked for."""
    if as_json:
        print_status_json(shown)
    elif shown.state == "finished":
        out(f"{shown.id} has ended: {shown.outcome} ({shown.reason}).")
    else:
        out((asked if shown.asked else at_once).format(id=shown.id))
    return 0


def _ending_already(status: Status) -> str:
    if status.asked == "cancel":
        return f"Loop {status.id} is being cancelled: there is nothing to pause."
    return (
        f"Loop {status.id} is stopping: it ends after this iteration, and cannot be paused any more. "
        f"Now instead: beatctl cancel {status.id}"
    )


def ask(loops: Loops, status: Status, signal: str) -> None:
    """Send a loop the signal `pause`, `resume` or `stop`, having brought its worker back where it was gone.

    Raises Unavailable, LoopUnknown.
    """
    running = service.bring_back(loops, status)

    async def send(handle: WorkflowHandle[Any, Any]) -> None:
        await handle.signal(signal, rpc_timeout=service.RPC_LIMIT)

    service.with_loop(loops, status, running, send)


def until(loops: Loops, loop: str, done: Callable[[Status], bool], patience: float = _PATIENCE_S) -> Status:
    """The loop's status once `done`, or as it is when patience ends."""
    end = time.monotonic() + patience
    while True:
        status = loops.status(loop)
        if done(status) or time.monotonic() > end:
            return status
        time.sleep(_POLL_S)


def unfinished(status: Status, verb: str) -> Status:
    """The loop, where it can still be acted on. Raises Usage."""
    if status.state == "finished":
        raise Usage(
            f"Loop {status.id} has ended ({status.outcome}): there is nothing to {verb}. "
            f"To go on with it: beatctl resume {status.id} -n +10"
        )
    return status


def note(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LOOP TEXT", help="A loop (left out: this folder's) and the note, in quotes.", show_default=False
        ),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Take back every note.")] = False,
    as_json: Json = False,
) -> int:
    """Tell the agent something.

    Every prompt from the next one on carries it, until --clear. Up to 20 notes of 4 KiB.
    """
    loops = Loops()
    loop, text = _loop_and_note(words or [], {status.id for status in loops.all()}, clear)
    status = loops.find(loop)
    shown = add_note(loops, status, text) if not clear else clear_notes(loops, status)
    if as_json:
        print_status_json(shown)
    elif clear:
        out(f"{shown.id}: no notes any more.")
    else:
        count = f" ({len(shown.notes)} of {_most_notes()})" if len(shown.notes) > 1 else ""
        when = f" {shown.id} is {shown.state}." if shown.state in ("paused", "waiting") else ""
        out(f"Noted{count}: every prompt of {shown.id} carries it from the next one on.{when}")
    return 0


def add_note(loops: Loops, status: Status, text: str) -> Status:
    """Have every prompt from the next one on carry this. Returns the loop's status with the note in it.

    Raises Usage (nothing in it, too long, one too many, loop ended), Unavailable.
    """
    from beatctl.activities.notes import MOST_BYTES

    text = text.strip()
    if not text:
        raise Usage('The note is empty. Say what the agent should know: beatctl note "try lazy loading"')
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise Usage("The note holds bytes that are not UTF-8.")
    size = len(text.encode())
    if size > MOST_BYTES:
        raise Usage(
            f"The note has {size:,} bytes; {MOST_BYTES:,} is the most. "
            "Put the long part into a file in the folder and name the file in the note."
        )
    status = _prompted(status)
    if len(status.notes) >= _most_notes():
        raise Usage(
            f"Loop {status.id} has {len(status.notes)} notes, which is the most. "
            f"Take them back first: beatctl note {status.id} --clear"
        )
    known = len(status.notes)

    async def send(handle: WorkflowHandle[Any, Any]) -> None:
        await handle.signal("note", text, rpc_timeout=service.RPC_LIMIT)

    service.with_loop(loops, status, service.bring_back(loops, status), send)
    shown = until(loops, status.id, lambda now: len(now.notes) > known or now.state == "finished")
    if shown.state == "finished" and len(shown.notes) == known:
        _prompted(shown)
    return shown


def clear_notes(loops: Loops, status: Status) -> Status:
    """Take back every note; prompts from the next one on carry none. Raises Usage, Unavailable."""
    status = _prompted(status)

    async def send(handle: WorkflowHandle[Any, Any]) -> None:
        await handle.signal("clear_notes", rpc_timeout=service.RPC_LIMIT)

    if status.notes:
        service.with_loop(loops, status, service.bring_back(loops, status), send)
    return until(loops, status.id, lambda now: not now.notes or now.state == "finished")


def _prompted(status: Status) -> Status:
    if status.state == "finished":
        raise Usage(
            f"Loop {status.id} has ended ({status.outcome}): no prompt comes any more. "
            f"Go on with it, then note: beatctl resume {status.id} -n +10 -d"
        )
    return status


def _loop_and_note(words: list[str], known: set[str], clear: bool) -> tuple[str | None, str]:
    """A loop's id, where one is given, and the text. Raises Usage."""
    if clear:
        if len(words) > 1:
            raise Usage("--clear takes back every note and takes no text.", help_of="note")
        return (words[0] if words else None), ""
    if not words or (len(words) == 1 and words[0] in known):
        loop = f"{words[0]} " if words else ""
        raise Usage(f'What should the agent know? beatctl note {loop}"try lazy loading"', help_of="note")
    if len(words) > 2:
        text = words[1:] if words[0] in known else words
        raise Usage(f'The note is one argument: put it in quotes: "{" ".join(text)}".', help_of="note")
    return (words[0], words[1]) if len(words) == 2 else (None, words[0])


def _most_notes() -> int:
    from beatctl.activities.notes import MOST_NOTES

    return MOST_NOTES


def cancel(loop: NamedLoop = None, as_json: Json = False) -> int:
    """End a loop now.

    When this says so, none of its processes is left and the folder holds the best.
    """
    from beatctl.cli.cancelling import cancel_loop

    loops = Loops()
    status = loops.named(loop, "cancel")
    if status.state != "finished":
        status = cancel_loop(loops, status)
    if as_json:
        print_status_json(status)
    elif status.state == "finished" and status.outcome == "cancelled":
        out(f"{status.id} is cancelled: none of its processes is left. The folder holds {_held(status)}.")
    elif status.state == "finished":
        out(f"{status.id} has ended already: {status.outcome} ({status.reason}).")
    return 0 if status.state == "finished" else 1


def _held(status: Status) -> str:
    if status.strategy == "retry" and status.best is None:
        return "the last finished try"
    return "the best" if status.best and status.baseline and status.best != status.baseline else "what it held before"
