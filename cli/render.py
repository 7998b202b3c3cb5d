"""Loops and experiments in words: pure functions from ledger models to lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from beatctl.activities.figures import change as change
from beatctl.activities.figures import score as score
from beatctl.cli import times
from beatctl.cli.cells import cells, cut, wrap
from beatctl.cli.output import paint, visible
from beatctl.cli.repository import push_words
from beatctl.cli.units import in_words
from beatctl.cli.worktree import taking_over_words

if TYPE_CHECKING:
    from beatctl.activities.agents.spec import AgentSpec
    from beatctl.activities.records import Row, Status

VERDICT_STYLES = {
    "pass": ("green",),
    "keep": ("green",),
    "fail": ("yellow",),
    "crash": ("red",),
    "timeout": ("red",),
    "tampered": ("red",),
}
STATE_STYLES = {
    "running": ("cyan",),
    "waiting": ("yellow",),
    "paused": ("yellow",),
    "pausing": ("yellow",),
    "stopping": ("yellow",),
    "cancelling": ("yellow",),
    "reached": ("green",),
    "improved": ("green",),
    "failed": ("red",),
}


def parent_score(row: Row, scores: Mapping[int, float | None]) -> float | None:
    """The score this experiment had to beat."""
    return scores.get(row.parent) if row.parent is not None else None


def row_line(row: Row, to_beat: float | None, *, colours: bool = False, columns: int = 100) -> str:
    """One experiment: `#212  discard   172,880   +1.0%  lazy-load chart legend`."""
    verdict = paint(f"{row.verdict:<9}", *VERDICT_STYLES.get(row.verdict, ()), on=colours)
    head = f"#{row.iteration:<4} "
    numbers = f" {score(row.score):>12}  {change(row.score, to_beat) if row.iteration else '':>7}  "
    about = row_words(row)
    if row.score is None and not row.samples and row.verdict in ("pass", "fail", "baseline"):
        numbers = "  "  # retry loops have no scores: nothing to line up with
    room = max(20, columns - len(head) - 9 - len(numbers))
    return (head + verdict + numbers + cut(about, room)).rstrip()


def row_words(row: Row) -> str:
    """What this experiment was about: why it failed where it did, else what the agent said."""
    said = visible(row.summary)
    why = "; ".join(filter(None, (repeat_words(row), visible(row.reason or ""))))
    if row.verdict in ("crash", "timeout", "tampered", "inconclusive") or not said:
        return why or said
    if row.verdict in ("discard", "fail") and why and len(said) < 50:
        return f"{said} ({why})"
    same = repeat_words(row)
    return f"{same}: {said}" if same else said


def repeat_words(row: Row) -> str:
    """`same as #41` where it came to the same files as an earlier experiment; not where it changed nothing at all."""
    if row.repeat_of is None or row.repeat_of == row.parent:
        return ""
    return f"same as #{row.repeat_of}" if row.repeat_of else "same as the baseline"


def state_word(status: Status) -> str:
    """`running`, `pausing` and the like while something is asked for, or the outcome."""
    if status.state == "finished":
        return status.outcome or "finished"
    if status.waiting_for:
        return "waiting"
    asked = {"pause": "pausing", "stop": "stopping", "cancel": "cancelling"}
    return asked.get(status.asked or "", status.state)


def state_styled(status: Status, *, colours: bool) -> str:
    return paint(state_word(status), *state_style(status), on=colours)


def state_style(status: Status) -> tuple[str, ...]:
    """The style of its state's word."""
    return STATE_STYLES.get(state_word(status), ())


def agent_name(status: Status, at: datetime | None) -> str:
    """Who works: `codex, the fallback, until 22:11`."""
    if not status.fallback_until or status.state == "finished":
        return status.agent
    until = times.local(status.fallback_until)
    return f"{status.agent}, the fallback, until {times.clock(until, at or until)}"


def wait_words(status: Status, now: float) -> str:
    """A wait for a limit's reset: `waiting until 22:11, 2h 3m left: claude's limit is reached: …`. `now` in unix
    seconds."""
    until = datetime.fromisoformat(str(status.waiting_until)).timestamp()
    left = f", {in_words(int(until - now) + 1)} left" if until > now else ""
    when = times.clock(times.local(until), times.local(now))
    return f"waiting until {when}{left}" + (f": {visible(status.detail)}" if status.detail else "")


def next_words(status: Status) -> str:
    """What one would type next."""
    verbs: tuple[str, ...]
    if status.state == "finished":
        gained = status.best is not None and status.baseline is not None
        gained = gained and status.best != status.baseline
        verbs = ("report", "apply" if gained else "undo") if status.iteration else ("show",)
    elif status.state == "paused" or status.waiting_until:
        verbs = ("resume", "stop", "cancel")
    elif status.asked:
        verbs = ("watch", "cancel")
    else:
        verbs = ("watch", "pause", "stop")
    where = "" if status.branch else " --branch NAME"
    return "   ".join(f"beatctl {verb} {status.id}{where if verb == 'apply' else ''}" for verb in verbs)


def limits_line(limits: dict[str, object], *, strategy: str = "optimize") -> str:
    """The limits in force, on a line."""
    none = "no limit"

    def count(key: str) -> str:
        value = limits.get(key)
        return f"{value:,}" if isinstance(value, int) and value else none

    def time(key: str) -> str:
        value = limits.get(key)
        return in_words(float(value)) if isinstance(value, int | float) and value else none

    parts = [f"iterations {count('max_iterations')}"]
    if limits.get("for_s"):
        parts.append(f"time {time('for_s')}")
    if limits.get("max_cost_usd"):
        parts.append(f"cost ${float(str(limits['max_cost_usd'])):,.2f}")
    if limits.get("max_tokens"):
        parts.append(f"tokens {count('max_tokens')}")
    parts.append(f"failures in a row {count('max_failures')}")
    parts.append(f"agent {time('agent_timeout_s')}")
    parts.append(f"evaluator {time('eval_timeout_s')}")
    if limits.get("cooldown_s"):
        parts.append(f"cooldown {time('cooldown_s')}")
    if limits.get("target") is not None:
        parts.append(f"target {score(float(str(limits['target'])))}")
    if limits.get("plateau"):
        parts.append(f"plateau {limits['plateau']}")
    if limits.get("max_unchanged") != 3:
        parts.append(f"unchanged {count('max_unchanged')}")
    return ", ".join(parts)


def last_allowed(status: Status) -> int:
    """The highest number an iteration can get: rows of the user's own edits come on top of the limit. 0: no limit."""
    most = int(status.limits.get("max_iterations") or 0)
    return most + status.edit_rows if most else 0


def limits_changed(before: dict[str, object], after: dict[str, object]) -> str:
    """What of the limits is another now: `iterations 10 → 300, cooldown none → 30s`."""
    names = {
        "max_iterations": "iterations",
        "for_s": "time",
        "max_cost_usd": "cost",
        "max_tokens": "tokens",
        "max_failures": "failures in a row",
        "max_unchanged": "unchanged in a row",
        "agent_timeout_s": "agent",
        "eval_timeout_s": "evaluator",
        "cooldown_s": "cooldown",
        "target": "target",
        "plateau": "plateau",
    }

    def word(key: str, value: object) -> str:
        if not isinstance(value, int | float) or (not value and key != "target"):
            return "none"
        if key == "target":
            return score(float(value))
        if key == "max_cost_usd":
            return f"${value:,.2f}"
        return in_words(float(value)) if key.endswith("_s") else f"{value:,}"

    changes = [
        f"{name} {word(key, before.get(key))} → {word(key, after.get(key))}"
        for key, name in names.items()
        if before.get(key) != after.get(key)
    ]
    return ", ".join(changes) or "nothing changed, these limits hold already"


def notes_lines(status: Status, columns: int = 100) -> list[str]:
    """The user's notes, oldest first, with the experiment that first heard each."""
    lines = []
    for note in status.notes:
        since = f"since #{note.iteration}" if note.iteration is not None else "in the next prompt"
        if note.iteration is None and status.state == "finished":
            since = "never sent"
        lines.append(f"{cut(visible(note.text), max(20, columns - 14 - len(since)))} ({since})")
    return lines


def agent_words(agent: AgentSpec) -> str:
    """An agent, and what it may do: `claude 2.1.0, permissions workspace (edits files, …)`."""
    words = [agent.name, agent.version or "", f"model {agent.model}" if agent.model else ""]
    may = {
        "workspace": "edits files, runs the evaluator and check",
        "full": "may do anything your account may",
    }
    if agent.kind == "command":
        permissions = "your command: it may do what your account may"
    else:
        permissions = f"permissions {agent.permissions} ({may[agent.permissions]})"
    return f"{' '.join(word for word in words if word)}, {permissions}"


def best_words(status: Status) -> str:
    """`171,204 #187 (-28.4%), baseline 239,107`; for a retry loop which iteration passed."""
    best, baseline = status.best, status.baseline
    yet = "" if status.state == "finished" else " yet"
    if status.strategy == "retry":
        return f"passed in #{best.iteration}" if best is not None else f"not passed{yet}"
    if best is None:
        return f"no score{yet}"
    if baseline is None or best.iteration == baseline.iteration:
        return f"{score(best.score)} (the baseline)"
    percent = change(best.score, baseline.score)
    return (
        f"{score(best.score)} #{best.iteration}{f' ({percent})' if percent else ''}, baseline {score(baseline.score)}"
    )


def counts_words(counts: Mapping[str, int]) -> str:
    """`12 keep, 180 discard, 3 crash`."""
    order = ("pass", "keep", "fail", "discard", "inconclusive", "crash", "timeout", "tampered")
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in order if counts.get(verdict))


def cost_words(status: Status) -> str:
    """What was spent, or nothing where the agent does not say."""
    most, most_tokens = status.limits.get("max_cost_usd"), status.limits.get("max_tokens")
    parts = []
    if status.cost_usd or most:
        about = "about " if status.cost_estimated else ""
        parts.append(f"{about}${status.cost_usd:,.2f}" + (f" of ${most:,.2f}" if most else ""))
    if status.tokens or most_tokens:
        parts.append(f"{status.tokens:,}{f' of {most_tokens:,}' if most_tokens else ''} tokens")
    return ", ".join(parts)


def field(name: str, text: str, *, colours: bool = False, columns: int = 100) -> list[str]:
    """A named line of a loop's block; sentences go on in lines below it, addresses and paths stay whole."""
    room = max(40, columns - 12)
    texts = [text] if cells(text) <= room or name in ("folder", "next") else wrap(text, room)
    first = f"  {paint(f'{name:<10}', 'dim', on=colours)}{texts[0]}"
    return [first, *(f"  {'':<10}{more}" for more in texts[1:])]


def status_lines(
    status: Status, *, now: str = "", at: datetime | None = None, colours: bool = False, columns: int = 100
) -> list[str]:
    """A loop as `status` shows it. `now` is what runs at this moment, `at` the moment in local time."""
    head = f"{paint(status.id, 'bold', on=colours)}  {state_styled(status, colours=colours)}"
    if status.state in ("finished", "paused") and status.reason and status.reason != status.outcome:
        head += f" ({status.reason})"
    most = last_allowed(status)
    iteration = f"{status.iteration}{f'/{most}' if most else ''}"
    allowed = status.limits.get("max_failures") or 0
    failures = f"{status.failures}{f'/{allowed}' if allowed else ''}"
    over = status.state == "finished"
    fields = [
        ("best" if status.strategy == "optimize" else "result", best_words(status) if not status.partial else ""),
        (
            "iteration",
            f"{iteration}   failures in a row {failures}   elapsed {in_words(int(status.elapsed_s))}"
            if not status.partial
            else "",
        ),
        ("so far", counts_words(status.counts)),
        ("spent", cost_words(status)),
        ("now", _now_words(status, now)),
        ("agent", agent_name(status, at)),
        ("folder", status.directory),
        ("repo", f"{status.repo} {status.ref}" if status.repo else ""),
        ("branch", push_words(status)),
        ("limits", limits_line(status.limits, strategy=status.strategy) if not (over or status.partial) else ""),
        *(("note", line) for line in notes_lines(status, columns)),
        ("ended", times.ago(times.local(status.ended_at), at) if over and at and status.ended_at else ""),
        ("why", visible(status.detail) if not status.waiting_until else ""),
        *(("notify", visible(text)) for text in status.notify_problems),
        ("schedule", status.schedule or ""),
        ("host", status.host or "" if status.connection != "embedded" else ""),
        ("server", status.connection if status.connection != "embedded" else ""),
        ("web ui", status.ui_url or ""),
        ("next", next_words(status)),
    ]
    lines = [f"{head}  {cut(visible(status.goal), max(20, columns - 24))}"]
    for name, text in fields:
        if text:
            lines += field(name, text, colours=colours, columns=columns)
    return lines


def _now_words(status: Status, now: str) -> str:
    if status.waiting_for:
        return f"waiting: {status.waiting_for}"
    return visible(now) if status.state in ("running", "waiting") else ""


def ending_lines(status: Status, *, colours: bool = False) -> list[str]:
    """What a loop came to, and what to type next: the last words of an attached `start`."""
    head = f"{status.id} {state_styled(status, colours=colours)}"
    if status.reason and status.reason != status.outcome:
        head += f" ({status.reason})"
    lines = [f"{head} after {in_words(int(status.elapsed_s))}: {best_words(status)}"]
    detail = visible(status.detail)
    if detail:
        lines.append(f"  {detail}")
    counts = counts_words(status.counts)
    spent = cost_words(status)
    if counts or spent:
        lines.append("  " + ", ".join(part for part in (counts, f"spent {spent}" if spent else "") if part))
    if status.iteration:
        take = f"   beatctl apply {status.id} --branch NAME" if status.kept or status.outcome == "reached" else ""
        lines.append(f"  beatctl diff {status.id}{take}   beatctl undo {status.id}")
    return lines + taking_over_words(status)
