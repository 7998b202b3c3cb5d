"""The live view of one loop: a pure function from what there is to see to lines of styled text."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from beatctl.cli import render
from beatctl.cli.cells import cells, pad
from beatctl.cli.live.sparkline import BARS, sparkline
from beatctl.cli.live.styled import Text, cut, fields, plain, wrapped
from beatctl.cli.units import in_words

if TYPE_CHECKING:
    from beatctl.activities.records import Row, Status
    from beatctl.cli.live.seen import Running, Seen

STATES = {
    "running": "cyan",
    "waiting": "yellow",
    "paused": "yellow",
    "reached": "green",
    "improved": "green",
    "failed": "red",
    "cancelled": "red",
    "pausing": "yellow",
    "stopping": "yellow",
    "cancelling": "yellow",
}
_VERDICTS = {"pass": "green", "keep": "green", "fail": "yellow", "crash": "red", "timeout": "red", "tampered": "red"}
_INDENT = " " * 7
_MOST_IN_THE_END = 10
# What goes first when the terminal is too low.
_HEAD, _BEST, _ITER, _NOW, _NOTICE, _WORDS, _STEP, _SPARK, _IN_USE = range(9)


@dataclass(frozen=True)
class Look:
    """How and to whom a frame is shown."""

    columns: int = 80
    lines: int = 24
    bars: str = BARS
    keys: Sequence[str] = ()
    """The keys that do something: `p pause`. Empty where nobody can press any."""
    question: str = ""
    """What is asked instead of the keys."""
    notices: Sequence[str] = ()
    stuck: str = ""
    """Why nothing goes on, and what to do; a notice where something still runs."""


def frame(seen: Seen, look: Look, now: float) -> list[Text]:
    """The view, at most `look.lines` lines of at most `look.columns` cells. `now`: unix seconds."""
    columns = max(1, look.columns)
    ranked = _fixed(seen, look, now, columns)
    keys = bottom(look, columns)
    room = max(1, look.lines)
    latest = 1 if seen.latest else 0
    while len(ranked) > 1 and len(ranked) + len(keys) + latest > room:
        ranked.remove(max(ranked, key=lambda line: line[0]))
    keys = keys if room > len(ranked) else []
    top = [line for rank, line in ranked if rank != _IN_USE and rank != _NOTICE]
    below = [line for rank, line in ranked if rank in (_IN_USE, _NOTICE)]
    rows = experiments(seen, room - len(ranked) - len(keys), columns)
    return [cut(line, columns) for line in [*top, *rows, *below, *keys]]


def last_frame(seen: Seen, look: Look, now: float) -> list[Text]:
    """What stays on the terminal once the loop has ended: the view without keys, and not too long."""
    most = min(look.lines, len(_fixed(seen, look, now, look.columns)) + _MOST_IN_THE_END)
    return frame(seen, Look(columns=look.columns, lines=most, bars=look.bars), now)


def _fixed(seen: Seen, look: Look, now: float, columns: int) -> list[tuple[int, Text]]:
    """The lines that are there whatever the height, each with its rank."""
    status = seen.status
    lines = [(_HEAD, _head(status, columns)), (_BEST, _best(seen, columns))]
    bars = sparkline(seen.bests, columns - len(_INDENT) - 1, bars=look.bars) if status.strategy == "optimize" else ""
    if bars:
        lines.append((_SPARK, Text.assemble(_INDENT, (bars, "cyan"))))
    lines.append((_ITER, _iterations(seen, columns)))
    child = seen.running
    stuck = look.stuck if status.state == "running" and child is None else ""
    doing = wrapped("now", plain(stuck), "yellow", columns, 4) if stuck else _now(seen, now, columns)
    lines += [(_NOW, line) for line in doing]
    if child is not None and child.is_agent and seen.steps:
        words = plain(seen.steps[child.step - 1]) if child.step <= len(seen.steps) else ""
        lines.append((_STEP, fields("step", [f"{child.step} of {len(seen.steps)}", words], columns)))
    if child is not None:
        lines.append((_WORDS, Text.assemble((f"{_INDENT}| ", "dim"), plain(seen.words))))
    notices = [notice for notice in look.notices if notice != stuck]
    lines += [(_NOTICE, Text.assemble(" ", (plain(notice), "yellow"))) for notice in notices]
    if status.state != "finished":
        lines.append((_IN_USE, Text(f" {_in_use(seen)}", "dim")))
    return lines


def bottom(look: Look, columns: int) -> list[Text]:
    """The question, or as many keys as fit."""
    if look.question:
        return [cut(Text(f" {look.question}", "bold"), columns)]
    if not look.keys:
        return []
    keys = list(look.keys)
    while keys:
        line = Text("  ").join(Text.assemble((key[:1], "bold"), key[1:]) for key in keys)
        if line.cell_len + 1 <= columns:
            return [Text.assemble(" ", line)]
        # `s stop after this` becomes `s stop` before anything is left out.
        longest = max(range(len(keys)), key=lambda place: len(keys[place].split()))
        if len(keys[longest].split()) > 2:
            keys[longest] = " ".join(keys[longest].split()[:2])
        else:
            keys.pop()
    return []


def _head(status: Status, columns: int) -> Text:
    word = render.state_word(status)
    since = in_words(int(status.elapsed_s))
    right = Text.assemble((word, STATES.get(word, "")), f"  {since}")
    room = columns - 1 - cells(status.id) - 2 - 2 - right.cell_len - 1
    if room < 8:
        return cut(Text.assemble(" ", (status.id, "bold"), "  ", right), columns)
    goal = cut(Text(plain(status.goal)), room).plain
    return Text.assemble(" ", (status.id, "bold"), "  ", pad(goal, room), "  ", right)


def _best(seen: Seen, columns: int) -> Text:
    status = seen.status
    best, baseline = status.best, status.baseline
    if status.strategy == "retry":
        counts = render.counts_words(status.counts)
        passed = Text(f"passed in #{best.iteration}", "green") if best is not None else Text("not passed yet")
        if best is None and status.state == "finished":
            passed = Text("not passed")
        return fields("tries", [passed, counts], columns)
    target = status.limits.get("target")
    parts: list[Text | str] = []
    if best is None:
        parts.append("no score" if status.state == "finished" else "no score yet")
    elif baseline is None or best.iteration == baseline.iteration:
        parts.append(Text.assemble((render.score(best.score), "bold"), " the baseline"))
    else:
        percent = render.change(best.score, baseline.score)
        change = f" ({percent})" if percent else ""
        parts.append(Text.assemble((render.score(best.score), "bold"), f" #{best.iteration}", (change, "green")))
        parts.append(f"baseline {render.score(baseline.score)}")
    if status.iteration:
        parts.append(f"kept {status.kept} of {status.iteration}")
    if target is not None:
        parts.append(f"target {render.score(float(target))}")
    return fields("best", parts, columns)


def _iterations(seen: Seen, columns: int) -> Text:
    status = seen.status
    limits = status.limits
    child = seen.running or seen.ran
    number = max(status.iteration, seen.at_work, child.iteration if child is not None else 0)
    most = render.last_allowed(status)
    allowed = limits.get("max_failures")
    failures = Text(f"failures {status.failures}{f'/{allowed}' if allowed else ''}", "red" if status.failures else "")
    return fields(
        "iter", [f"{number:,}{f'/{most:,}' if most else ''}", _cost(status), _left(status), failures], columns
    )


def _cost(status: Status) -> str:
    most = status.limits.get("max_cost_usd")
    if status.cost_usd or most:
        about = "~" if status.cost_estimated else ""
        return f"{about}${status.cost_usd:,.2f}" + (f" of ${most:,.10g}" if most else "")
    most = status.limits.get("max_tokens")
    return f"{status.tokens:,}{f' of {most:,}' if most else ''} tokens" if status.tokens or most else ""


def _left(status: Status) -> str:
    given = status.limits.get("for_s")
    if not given or status.state == "finished":
        return ""
    left = float(given) - status.elapsed_s
    return f"{in_words(int(left))} left" if left >= 1 else "time is up"


def _now(seen: Seen, now: float, columns: int) -> list[Text]:
    """What the loop does at this moment, or why it does nothing."""
    status = seen.status
    if status.state == "finished":
        return []  # how it ended is said below the last frame
    if status.state == "paused":
        why = plain(status.detail) or {"asked": "as asked"}.get(status.reason or "", status.reason or "")
        return wrapped("now", f"paused: {why}", "yellow", columns, 4)
    if status.state == "waiting":
        why = render.wait_words(status, now) if status.waiting_until else plain(status.detail or status.now)
        return wrapped("now", why if "waiting" in why else f"waiting: {why}", "yellow", columns, 3)
    if seen.running is not None:
        return [_child(seen, seen.running, now, columns)]
    return [fields("now", [_between(seen, now)], columns)]


def _child(seen: Seen, child: Running, now: float, columns: int) -> Text:
    limit = seen.status.limits.get("agent_timeout_s" if child.is_agent else "eval_timeout_s")
    took = in_words(int(max(0.0, now - child.since)))
    of = f" of {in_words(float(limit))}" if limit else ""
    number = "baseline" if child.iteration == 0 else f"#{child.iteration}"
    name, _, again = child.name.partition("-")
    if child.is_agent:
        what = plain(child.what).partition(" step ")[0]
    elif name == "evaluator" and seen.samples > 1:
        what = f"evaluator {again or 1} of {seen.samples}"
    else:
        what = {"best": "evaluator on the best again"}.get(name, name)
    return fields("now", [Text.assemble((number, "bold"), f" {what} {took}{of}")], columns)


def _between(seen: Seen, now: float) -> str:
    """Nothing runs: the cooldown, or the moments between two runs."""
    status, ran = seen.status, seen.ran
    if ran is not None and (ran.iteration > status.iteration or not seen.latest):
        what = f"#{ran.iteration}" if ran.iteration else "the baseline"
        return f"taking a snapshot of {what}" if ran.is_agent else f"judging {what}"
    if not seen.latest:
        return "taking the folder as it is: the baseline"
    cooldown = float(status.limits.get("cooldown_s") or 0)
    last = seen.latest[0]
    if cooldown and last.iteration and last.iteration == status.iteration and last.started_at:
        ended = datetime.fromisoformat(last.started_at).timestamp() + last.duration_s
        left = ended + cooldown - now
        given = float(status.limits.get("for_s") or 0)
        if given:
            left = min(left, given - status.elapsed_s)
        if left > 0:
            until = time.strftime("%H:%M", time.localtime(now + left)) if left >= 60 else ""
            return f"cooling down, {in_words(int(left) + 1)} left" + (f" (until {until})" if until else "")
    return f"getting #{status.iteration + 1} ready"


def _in_use(seen: Seen) -> str:
    status = seen.status
    if seen.here and not status.origin:
        return "This folder is in use until the loop ends (--worktree avoids that)"
    root = plain(status.worktree or status.directory)
    home = os.path.expanduser("~")
    shown = f"~{root.removeprefix(home)}" if root.startswith(f"{home}/") else root
    return f"Works in its own worktree: {shown}" if status.origin else f"In use until the loop ends: {shown}"


def experiments(seen: Seen, most: int, columns: int) -> list[Text]:
    """The latest experiments, newest first, a line each."""
    rows = [row for _, row in zip(range(max(0, most)), seen.latest, strict=False)]
    if not rows:
        return []
    scored = seen.status.strategy == "optimize"
    scores = seen.scores or {}
    best = seen.status.best.iteration if seen.status.best else None
    changes = [
        render.change(row.score, scores.get(row.parent)) if row.iteration and row.parent is not None else ""
        for row in rows
    ]
    numbers = max(len(str(row.iteration)) for row in rows) + 1
    verdicts = max(9, *(len(row.verdict) for row in rows))
    values = max(len(render.score(row.score)) for row in rows)
    percents = max(map(len, changes))
    lines = []
    for row, change in zip(rows, changes, strict=True):
        style = "bold" if row.iteration == best else "dim" if _passed_over(row) else ""
        line = Text.assemble(" ", (f"{f'#{row.iteration}':<{numbers}}  ", style))
        line.append(f"{row.verdict:<{verdicts}}", _VERDICTS.get(row.verdict, ""))
        if scored:
            line.append(f" {pad(render.score(row.score), values, right=True)}  ")
            line.append(f"{change:>{percents}}  " if percents else "")
        else:
            line.append("  ")
        line.append(plain(render.row_words(row)))
        lines.append(cut(line, columns))
    return lines


def _passed_over(row: Row) -> bool:
    return row.verdict in ("discard", "inconclusive", "fail")
