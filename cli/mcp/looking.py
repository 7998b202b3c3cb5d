"""The tools that look: list_loops, loop_status, show_iteration, loop_diff, loop_report."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from beatctl.activities.records import Row, Status
from beatctl.cli import service
from beatctl.cli.mcp.bounds import LINE, bounded, few, part
from beatctl.cli.mcp.tool import Arguments, Call, OfLoop, Result, Tool
from beatctl.cli.mcp.words import in_tool_words
from beatctl.cli.problems import Usage

_TEXT = 20_000
_MOST_TEXT = 50_000
_PATHS = 200


class ListArguments(Arguments):
    """Which loops."""

    only_here: bool = Field(False, description="Only loops of the directory, and of worktrees made from it.")
    state: Literal["unfinished", "finished"] | None = Field(None, description="Only those. Default: all.")
    limit: int = Field(10, ge=1, le=30, description="Loops in an answer.")
    after: str | None = Field(None, description="Go on after this loop's id: `next_after` of the answer before.")


class Listed(Result):
    """Loops, newest first."""

    loops: list[Status] = Field(description="A status each; long goals are cut.")
    total: int = Field(description="How many loops there are of those asked for.")
    next_after: str | None = Field(None, description="Pass this as `after` for older ones; null: there are none.")


def list_loops(call: Call, given: ListArguments) -> Listed:
    """List the loops on this machine, newest first, each with its state, outcome, best score and cost.

    Use it to find a loop's id, or to see what is at work.
    """
    from beatctl.cli.loops import candidates, in_folder

    known = call.loops.all()
    wanted = in_folder(known, call.here) if given.only_here else known
    if given.state is not None:
        wanted = [loop for loop in wanted if (loop.state == "finished") == (given.state == "finished")]
    ids = [loop.id for loop in wanted]
    begin = 0
    if given.after is not None:
        if given.after not in ids:
            raise Usage(f'No loop "{given.after}" in this list. There are:\n{candidates(wanted)}')
        begin = ids.index(given.after) + 1
    page = wanted[begin : begin + given.limit]
    older = begin + given.limit < len(wanted)
    return Listed(
        loops=[bounded(loop, LINE) for loop in page], total=len(wanted), next_after=page[-1].id if older else None
    )


class Standing(Result):
    """How a loop stands."""

    loop: Status = Field(description="Its status.")
    doing: str = Field(description="What runs at this moment.")
    stuck: str = Field(description="Why it does not go on although it could; empty: it does.")


def loop_status(call: Call, given: OfLoop) -> Standing:
    """Tell how a loop stands now: state, outcome, best score, iteration, cost in US dollars, and what runs.

    To wait for something to happen, call wait_for_loop instead of this again and again.
    """
    from beatctl.cli.view import doing, why_idle

    found = call.loops.find(given.loop, call.here)
    service.bring_back_if_gone(call.loops, found)
    return Standing(loop=bounded(found), doing=doing(call.loops, found), stuck=why_idle(call.loops, found).strip())


class ShowArguments(OfLoop):
    """Which iterations."""

    iteration: int | None = Field(
        None, ge=0, description="This one, whole: 0 is the baseline. Left out: a row for each, newest first."
    )
    prompt: bool = Field(False, description="With `iteration`: the agent's whole prompt, too.")
    limit: int = Field(20, ge=1, le=50, description="Without `iteration`: rows in an answer.")
    after: int | None = Field(
        None, ge=0, description="Without `iteration`: go on after this one: `next_after` of the answer before."
    )
    offset: int = Field(0, ge=0, description="With `iteration`: where in `text` to begin.")


class Shown(Result):
    """Rows of a loop's ledger."""

    id: str = Field(description="The loop.")
    rows: list[Row] = Field(description="Newest first. `logs` is the folder with what agent and evaluator printed.")
    total: int = Field(description="How many rows the loop has.")
    next_after: int | None = Field(None, description="Pass this as `after` for older rows; null: there are none.")
    text: str | None = Field(
        None, description="The one iteration in words: what was asked, said, printed and changed, in part."
    )
    next_offset: int | None = Field(None, description="Where `text` goes on: pass it as `offset`; null: it is whole.")


def show_iteration(call: Call, given: ShowArguments) -> Shown:
    """Show a loop's experiments: verdict, score, duration, cost and what the agent said, a row each, newest first; or
    one iteration whole, with the ends of what agent and evaluator printed and the beginning of its diff.

    Texts are at most 20,000 characters; the files in a row's `logs` folder hold all of it.
    """
    from beatctl.cli.experiment import Look, experiment_text
    from beatctl.cli.view import located, row_of

    status = call.loops.find(given.loop, call.here)
    numbers = call.loops.ledger.numbers(status.id)
    if given.iteration is not None:
        row = located(call.loops, status, row_of(call.loops, status, given.iteration))
        whole = experiment_text(call.loops, status, row, Look(whole_prompt=given.prompt))
        text, more = part(_in_calls(whole, status, row), given.offset, _TEXT)
        return Shown(id=status.id, rows=[bounded(row)], total=len(numbers), text=text, next_offset=more)
    wanted = [number for number in numbers if given.after is None or number < given.after]
    page = wanted[: given.limit]
    found = [row for row in (call.loops.ledger.row(status.id, number) for number in page) if row is not None]
    return Shown(
        id=status.id,
        rows=[bounded(located(call.loops, status, row), LINE) for row in found],
        total=len(numbers),
        next_after=page[-1] if len(wanted) > len(page) else None,
    )


def _in_calls(text: str, status: Status, row: Row) -> str:
    """What an iteration's text says of commands that show more of it, in calls. The rest is not ours to change."""
    whole = f"beatctl diff {status.id} {row.iteration}"
    text = text.replace(f"beatctl show {status.id} {row.iteration} --prompt", "`prompt: true`")
    return text.replace(whole, f"loop_diff {status.id} with `iteration` {row.iteration}")


class DiffArguments(OfLoop):
    """Which changes."""

    iteration: int | None = Field(
        None, ge=1, description="What this one changed. Left out: what the whole loop did, from baseline to best."
    )
    stat: bool = Field(False, description="Only which files, and how many lines of each.")
    offset: int = Field(0, ge=0, description="Where in the diff to begin: `next_offset` of the answer before.")
    max_chars: int = Field(_TEXT, ge=100, le=_MOST_TEXT, description="Characters of diff in an answer.")


class Diffed(Result):
    """What was changed."""

    id: str = Field(description="The loop.")
    before: str = Field(description="The snapshot before, a git commit.")
    after: str = Field(description="The snapshot after, a git commit.")
    paths: list[str] = Field(description=f"Files that were changed, made or removed; the first {_PATHS}.")
    total_paths: int = Field(description="How many of them there are.")
    diff: str = Field(description="As git shows it.")
    total_chars: int = Field(description="How long the whole diff is.")
    next_offset: int | None = Field(None, description="Where the diff goes on: pass it as `offset`; null: it is whole.")


def loop_diff(call: Call, given: DiffArguments) -> Diffed:
    """Show what a loop changed and nothing else, as a git diff: from the baseline to its best, or one iteration.

    The user's own edits are left out. Long diffs come in parts of `max_chars` characters; `stat` is a short overview.
    """
    from beatctl.cli.change import changed

    status = call.loops.find(given.loop, call.here)
    found = changed(call.loops, status, given.iteration, stat=given.stat)
    paths = found.paths()
    whole = found.text.decode("utf-8", "replace")
    text, more = part(whole, given.offset, given.max_chars)
    return Diffed(
        id=status.id,
        before=found.before,
        after=found.after,
        paths=paths[:_PATHS],
        total_paths=len(paths),
        diff=text,
        total_chars=len(whole),
        next_offset=more,
    )


class Reported(Result):
    """What a loop came to."""

    report: dict[str, Any] = Field(
        description="As `beatctl report --json` has it: outcome, why it ended, baseline, best, change_percent, counts "
        "by verdict, kept experiments with what each brought, near misses, cost, tokens, times."
    )
    cut: dict[str, int] = Field(
        {}, description="Lists of the report that hold only their newest entries, with how many there are in all."
    )


def loop_report(call: Call, given: OfLoop) -> Reported:
    """Tell what a loop came to: outcome, why it ended, what was kept and what each kept experiment brought, time and
    cost. Call it when wait_for_loop says that the loop is over, or at any time before.
    """
    from beatctl.cli.report.command import as_json_of, report_of

    status = call.loops.find(given.loop, call.here)
    service.bring_back_if_gone(call.loops, status)
    made = report_of(call.loops, status, call.loops.rows(status.id))
    found, cut_lists = few(as_json_of(made), text=LINE)
    found["next"] = [{**one, "command": in_tool_words(one["command"])} for one in found["next"]]
    return Reported(report=found, cut=cut_lists)


TOOLS = [
    Tool("List loops", ListArguments, Listed, list_loops, "reads"),
    Tool("How a loop stands", OfLoop, Standing, loop_status, "reads"),
    Tool("Show experiments", ShowArguments, Shown, show_iteration, "reads"),
    Tool("What a loop changed", DiffArguments, Diffed, loop_diff, "reads"),
    Tool("Report of a loop", OfLoop, Reported, loop_report, "reads"),
]
