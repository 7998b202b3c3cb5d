"""A report in words: what it came to, why it ended, what it survived, what to type next. Pure."""

from __future__ import annotations

from typing import NamedTuple

from beatctl.cli import render
from beatctl.cli.app import COMMANDS
from beatctl.cli.cells import cut
from beatctl.cli.output import visible
from beatctl.cli.report.model import Report
from beatctl.cli.report.spending import Spent
from beatctl.cli.units import in_words


class Next(NamedTuple):
    """A command to type, and what for."""

    command: str
    purpose: str


def pair_of(before: float | None, after: float | None) -> tuple[str, str]:
    """Two scores with as many digits as it takes to tell them apart."""
    short = render.score(before), render.score(after)
    if before is None or after is None or before == after or short[0] != short[1]:
        return short
    for digits in range(7, 17):
        if f"{before:.{digits}g}" != f"{after:.{digits}g}":
            return f"{before:,.{digits + 1}g}", f"{after:,.{digits + 1}g}"  # one more: the last is a rounded one
    return short


def signed(percent: float | None) -> str:
    """`-28.4%`, `=`, or nothing where it can't be said."""
    if percent is None:
        return ""
    if percent == 0:
        return "="
    if abs(percent) >= 1000:
        return f"{percent:+,.0f}%" if abs(percent) < 1e6 else f"{percent:+.0e}%"
    return f"{percent:+.1f}%" if abs(percent) >= 0.05 else f"{percent:+.2g}%"


def outcome(report: Report) -> str:
    """`171,204 in #187, -28.4% from 239,107`; of a retry loop, which iteration passed."""
    best, baseline = report.best, report.baseline
    yet = "" if report.state == "finished" else " yet"
    if report.strategy == "retry":
        if best is None:
            return f"not passed{yet}"
        return "passes already, before any agent ran" if best.iteration == 0 else f"passed in #{best.iteration}"
    if best is None or best.score is None:
        return f"no score{yet}"
    if baseline is None or baseline.score is None or best.iteration == baseline.iteration:
        return f"{render.score(best.score)}, the baseline's: nothing better was found{yet}"
    first, last = pair_of(baseline.score, best.score)
    change = signed(report.change_percent)
    return f"{first} → {last}{f'  {change}' if change not in ('', '=') else ''}  in #{best.iteration}"


def why(report: Report) -> str:
    """Why it ended, or how it stands, in a sentence or two."""
    detail = visible(report.detail)
    if report.state == "running":
        return "It runs."
    if report.state == "waiting" and report.reason in ("rate-limit", "overloaded"):
        return f"It waits for its agent's limit. {detail}".strip()
    if report.state != "finished":
        words = {"asked": "paused as you asked", "edited": "paused: you edited files"}.get(
            report.reason or "", f"{report.state}{f' ({report.reason})' if report.reason else ''}"
        )
        return f"It {'is ' if not words.startswith('is ') else ''}{words}. {detail}".strip()
    said = _end(report)
    return " ".join(part for part in (said, detail) if part)


def _end(report: Report) -> str:
    limits, best = report.limits, report.best
    command = visible(report.evaluator)
    match report.reason:
        case "passed":
            return f"{cut(command, 60)} passed." if command and not report.detail else ""
        case "target":
            target = limits.get("target")
            return f"The target {render.score(float(target))} is met." if target is not None and best else ""
        case "max-iterations":
            return f"All {int(limits.get('max_iterations') or report.iterations):,} iterations are used."
        case "plateau":
            return f"{limits.get('plateau')} iterations without a better score."
        case "max-duration":
            return f"Its time is over ({in_words(float(limits.get('for_s') or 0))})."
        case "max-cost":
            return f"The {money(float(limits.get('max_cost_usd') or 0))} it may spend are spent."
        case "max-tokens":
            return f"The {int(limits.get('max_tokens') or 0):,} tokens it may use are used."
        case "stopped":
            return "You stopped it."
        case "cancelled":
            return "You cancelled it."
        case "max-failures" | "no-baseline" | "error":
            return "" if report.detail else f"It ended: {report.reason}."
        case _:
            return f"It ended: {visible(report.reason)}." if report.reason else ""


def survived(report: Report) -> list[str]:
    """What went wrong or stopped it on the way, a line each."""
    found, lines = report.survived, []
    if found.adopted:
        lines.append(
            f"{_count(len(found.adopted), 'agent run')} went on while the worker was replaced{_at(found.adopted)}"
        )
    if found.lost:
        lines.append(f"{_count(found.lost, 'agent run')} died with the machine or worker and ran again")
    if found.repaired:
        lines.append(
            f"the repository was put back after {_count(len(found.repaired), 'iteration')}{_at(found.repaired)}"
        )
    if (found.crashes or found.timeouts) and report.reason not in ("max-failures", "no-baseline", "error"):
        counts = [_count(found.crashes, "crash", "crashes"), _count(found.timeouts, "timeout")]
        lines.append(" and ".join(text for text in counts if not text.startswith("0 ")))
    if found.evaluator_broken:
        lines.append(f"the evaluator was broken and mended{_at(found.evaluator_broken)}")
    if found.edits:
        lines.append(f"your edits were taken in{_at(found.edits)}")
    for agent, waited_s in found.limits.items():
        times = _count(found.met[agent], "time")
        waited = f": {in_words(int(waited_s))} waited for the reset" if waited_s >= 1 else ""
        lines.append(f"{visible(agent)} met its limit {times}{waited}")
    lines += [f"{in_words(int(one.duration_s))} paused after #{one.after}: {one.reason}" for one in found.pauses]
    lines += [f"{in_words(wait.duration_s)} of waiting before #{wait.before}" for wait in found.waits]
    return lines


def repeats(report: Report) -> str:
    """How many experiments came to what had been tried before, and which."""
    found = report.repeats
    if not found:
        return ""
    named = ", ".join(f"#{one.iteration} {'#' + str(one.of) if one.of else 'the baseline'}" for one in found[:4])
    more = ", …" if len(found) > 4 else ""
    return f"{_count(len(found), 'experiment')} came to the same files as an earlier one ({named}{more})"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _at(numbers: list[int]) -> str:
    named = ", ".join(f"#{number}" for number in numbers[:4])
    return f" ({named}{', …' if len(numbers) > 4 else ''})"


def money(cost: float | None, estimated: bool = False) -> str:
    """`$14.20`, `$0.031`, `$0.00042`, `~$14.20`; nothing where it is unknown."""
    if cost is None:
        return ""
    about = "~" if estimated else ""
    if cost >= 0.1 or cost == 0:
        return f"{about}${cost:,.2f}"
    return f"{about}${cost:.3f}" if cost >= 0.001 else f"{about}${cost:.2g}"


ESTIMATED = "~: tokens by the price table, not the agent's own figure"


def spent(cost: float | None, tokens: int | None, estimated: bool = False) -> str:
    """Cost, tokens where none is told, or nothing."""
    if cost:
        return money(cost, estimated)
    return f"{tokens:,} tokens" if tokens else ""


def total_spent(report: Report) -> str:
    parts = [money(report.cost_usd, report.cost_estimated)] if report.cost_usd else []
    parts += [f"{report.tokens:,} tokens"] if report.tokens else []
    return ", ".join(parts)


def phases(report: Report) -> list[tuple[str, float]]:
    """Where the time went, in seconds; without what took none."""
    times = report.times
    found = [
        ("agent", times.agent_s),
        ("evaluator", times.evaluator_s),
        ("checks, snapshots", times.rest_s),
        ("waiting, cooldown", times.waiting_s),
        ("agents' limits", times.limits_s),
        ("under way", times.under_way_s),
    ]
    return [(name, seconds) for name, seconds in found if seconds >= 0.001]


def step_name(report: Report, step: Spent) -> str:
    """A pipeline step by its number and what it was to do."""
    number = step.name.removeprefix("step ")
    text = report.steps[int(number) - 1] if number.isdigit() and int(number) <= len(report.steps) else ""
    return f"{step.name}: {visible(text)}" if text else step.name


def next_commands(report: Report) -> list[Next]:
    """What to type next, fitting how it stands."""
    return [found for found in _fitting(report) if found.command.split()[1] in COMMANDS]


def _fitting(report: Report) -> list[Next]:
    loop = report.id
    if report.state == "running" or report.state == "waiting":
        watch = [Next(f"beatctl watch {loop}", "stay with it")]
        return [*watch, Next(f"beatctl pause {loop}", "pause after this iteration"), _stop(loop)]
    if report.state == "paused":
        return [Next(f"beatctl resume {loop}", "go on"), Next(f"beatctl logs {loop}", "what ran last"), _stop(loop)]
    if report.reason == "no-baseline":
        return [
            Next(f"beatctl logs {loop} 0", "what the evaluator printed"),
            Next("beatctl start …", "again, once it is mended"),
        ]
    changed = report.best is not None and report.best.iteration > 0
    more = Next(f"beatctl resume {loop} {_more(report)}", "go on from the best" if changed else "go on")
    if report.strategy == "retry" and report.best is None and report.iterations:
        tries = [
            Next(f"beatctl logs {loop}", "how the last try ended"),
            Next(f"beatctl diff {loop}", "what the tries left"),
        ]
        return [*tries, more, _undo(loop)]
    if not changed:
        looked = [Next(f"beatctl show {loop}", "every experiment")] if report.iterations else []
        return [*looked, *([more] if report.iterations else [])]
    shown = [
        Next(f"beatctl diff {loop}", "what the loop changed"),
        Next(f"beatctl apply {loop}{'' if report.branch else ' --branch NAME'}", _applied(report)),
        _undo(loop),
    ]
    return [*shown, more] if report.strategy == "optimize" else shown


def _applied(report: Report) -> str:
    kept = sum(not kept.edits for kept in report.kept)
    return f"as {_count(kept, 'commit')} of your own" if kept else "as a commit of your own"


def _undo(loop: str) -> Next:
    return Next(f"beatctl undo {loop}", "the folder as before the loop")


def _stop(loop: str) -> Next:
    return Next(f"beatctl stop {loop}", "end it after this iteration")


def _more(report: Report) -> str:
    """The limit that has to give for a loop that ended to go on."""
    if report.reason == "target":
        return "--target none"
    if report.reason == "max-duration" and report.limits.get("for_s"):
        return f"--for {in_words(float(report.limits['for_s'])).replace(' ', '')}"
    return f"-n +{int(report.limits.get('max_iterations') or 0) or 10}"


def notes(report: Report) -> list[tuple[str, str]]:
    """What the user told the agent on the way: from which iteration on, and the words."""
    return [
        (f"#{note.iteration}" if note.iteration is not None else "next", visible(note.text)) for note in report.notes
    ]
