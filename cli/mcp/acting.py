"""The tools that steer: pause_loop, resume_loop, stop_loop, cancel_loop, add_note, set_limits, apply_loop."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from beatctl.activities.records import Status
from beatctl.cli import act, render
from beatctl.cli.limit_options import unbounded_warning
from beatctl.cli.mcp.bounds import bounded
from beatctl.cli.mcp.limits import MoreArguments, typed_limits
from beatctl.cli.mcp.tool import Call, OfLoop, OfNamedLoop, Result, Tool
from beatctl.cli.problems import Usage

_CANCEL_S = 45.0


class Changed(Result):
    """A loop after a call."""

    loop: Status = Field(description="Its status now. `asked` is what was asked for and is not done yet.")
    now: str = Field(description="What became of it, in a sentence.")


def pause_loop(call: Call, given: OfLoop) -> Changed:
    """Pause a loop after the iteration that runs. Nothing more is spent until resume_loop; the folder stays the
    loop's. Returns at once, with `loop.asked` "pause" until the iteration is over."""
    shown = act.pause_loop(call.loops, call.loops.find(given.loop, call.here))
    return _changed(shown, "pauses after this iteration; resume_loop goes on", "is paused; resume_loop goes on")


class ResumeArguments(MoreArguments, OfLoop):
    """The loop, and limits to change on the way."""


def resume_loop(call: Call, given: ResumeArguments) -> Changed:
    """Go on with a loop that is paused, waits for a rate limit, or has ended.

    One that has ended goes on from its best with its ledger, and needs a limit that allows more: more_iterations, or
    max_duration, which counts from now. It spends money again. Returns as soon as it goes on.
    """
    from beatctl.cli.resume import go_on_unfinished
    from beatctl.cli.setting import checked

    typed = typed_limits(given)
    checked(typed, "resume")
    status = call.loops.find(given.loop, call.here)
    if status.state != "finished":
        shown, words = go_on_unfinished(call.loops, status, typed)
        return Changed(loop=bounded(shown), now=words)
    from beatctl.cli.going_on import begin_again, planned

    plan = planned(call.loops, status, typed)
    shown = begin_again(call.loops, plan)
    limits = render.limits_line(shown.limits, strategy=shown.strategy)
    return Changed(loop=bounded(shown), now=f"{shown.id} goes on {plan.words}. Limits: {limits}")


def stop_loop(call: Call, given: OfLoop) -> Changed:
    """End a loop after the iteration that runs; its result counts. The folder then holds the best version. Returns at
    once: wait_for_loop waits for the end."""
    shown = act.stop_loop(call.loops, call.loops.find(given.loop, call.here))
    return _changed(shown, "stops after this iteration", "has ended")


def cancel_loop(call: Call, given: OfNamedLoop) -> Changed:
    """End a loop now: its agent and everything that started is killed, and what the running iteration did is undone.
    The folder then holds the best version so far. stop_loop lets the iteration finish instead. Takes some seconds."""
    from beatctl.cli.cancelling import cancel_loop as cancel

    status = call.loops.named(given.loop, "cancel", call.here)
    if status.state == "finished":
        return Changed(loop=bounded(status), now=f"{status.id} has ended already: {status.outcome} ({status.reason}).")
    shown = cancel(call.loops, status, _CANCEL_S)
    if shown.state != "finished":
        return Changed(loop=bounded(shown), now=f"{shown.id} is still ending; see loop_status.")
    return Changed(loop=bounded(shown), now=f"{shown.id} has ended: {shown.outcome}. None of its processes is left.")


class NoteArguments(OfLoop):
    """What the agent should know."""

    text: str | None = Field(
        None, description='The note, up to 4 KiB, such as "try lazy loading". Give this or `clear`.'
    )
    clear: bool = Field(False, description="Take back every note instead.")


def add_note(call: Call, given: NoteArguments) -> Changed:
    """Tell a loop's agent something: every prompt from the next one on carries it, until taken back (`clear`). Up to
    20 notes. The run at work does not see it."""
    if given.clear == (given.text is not None):
        raise Usage("add_note takes either `text`, the note, or `clear: true`, which takes back every note.")
    status = call.loops.find(given.loop, call.here)
    if given.text is None:
        shown = act.clear_notes(call.loops, status)
        return Changed(loop=bounded(shown), now=f"{shown.id} has no notes any more.")
    shown = act.add_note(call.loops, status, given.text)
    return Changed(
        loop=bounded(shown), now=f"Noted: every prompt of {shown.id} carries it from the next one on ({shown.state})."
    )


class SetArguments(MoreArguments, OfLoop):
    """The loop, and the limits to change."""


def set_limits(call: Call, given: SetArguments) -> Changed:
    """Change limits of a loop that has not ended; what is left out stays. What runs keeps the time limit it began
    with. For a loop that has ended use resume_loop, which takes the same limits."""
    from beatctl.cli.setting import change_limits, checked

    typed = typed_limits(given)
    if not typed.given():
        raise Usage("Which limit? For example `max_iterations: 300`, `more_iterations: 50` or `max_cost: 10`.")
    checked(typed, "set")
    status = act.unfinished(call.loops.find(given.loop, call.here), "set")
    shown = change_limits(call.loops, status, typed, "set")
    warning = unbounded_warning(shown.limits)
    changes = render.limits_changed(status.limits, shown.limits)
    return Changed(loop=bounded(shown), now=f"{shown.id}: {changes}. {warning}".rstrip())


class ApplyArguments(OfNamedLoop):
    """Which experiments become commits, and where."""

    branch: str | None = Field(
        None, description="Commit on a new branch of this name; the folder stays as it is. Give this or `commit`."
    )
    commit: bool = Field(False, description="Commit on the current branch instead.")
    squash: bool = Field(False, description="One commit for all, instead of one for each experiment kept.")
    only: list[int] | None = Field(None, description="These iterations alone. Default: all that were kept.")
    message: str | None = Field(
        None, description="The commits' message; {n}, {summary} and {score} are filled in. Default: the summary."
    )
    dry_run: bool = Field(False, description="Only say what would be committed.")


class Applied(Result):
    """The commits."""

    loop: Status = Field(description="The loop's status.")
    applied: dict[str, Any] = Field(
        description="`branch` (null: the current one), `from` (the commit before), `commits` (iterations, commit, "
        "subject), `nothing_to_commit`, `already_applied`."
    )


def apply_loop(call: Call, given: ApplyArguments) -> Applied:
    """Turn what a loop kept into git commits, each with its score, made by the user's own git (name, signing, hooks).

    The loop must have ended. The user's own edits are not in them. `branch` leaves the folder and the current branch as
    they are, and is the safe choice; look at loop_diff first.
    """
    from beatctl.cli.apply import apply_loop as apply

    status = call.loops.named(given.loop, "apply", call.here)
    if given.only is not None and not given.only:
        raise Usage("`only` names no iteration. Leave it out for all that were kept.")
    made = apply(
        call.loops,
        status,
        branch=given.branch,
        commit=given.commit,
        squash=given.squash,
        only=sorted(set(given.only)) if given.only is not None else None,
        message=given.message,
        dry_run=given.dry_run,
    )
    return Applied(loop=bounded(status), applied=made.as_json())


def _changed(shown: Status, asked: str, at_once: str) -> Changed:
    words = asked if shown.asked else at_once
    if shown.state == "finished":
        words = f"has ended: {shown.outcome} ({shown.reason})"
    return Changed(loop=bounded(shown), now=f"{shown.id} {words}.")


TOOLS = [
    Tool("Pause a loop", OfLoop, Changed, pause_loop, "acts", again_is_nothing=True),
    Tool("Go on with a loop", ResumeArguments, Changed, resume_loop, "acts", open_world=True),
    Tool("Stop a loop", OfLoop, Changed, stop_loop, "acts", again_is_nothing=True),
    Tool("Cancel a loop", OfNamedLoop, Changed, cancel_loop, "destroys", again_is_nothing=True),
    Tool("Tell the agent", NoteArguments, Changed, add_note, "acts"),
    Tool("Change limits", SetArguments, Changed, set_limits, "acts"),
    Tool("Make commits", ApplyArguments, Applied, apply_loop, "destroys"),
]
