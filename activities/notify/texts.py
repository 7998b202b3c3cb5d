"""The words of a notification, for somebody who looks at a phone: pure functions of what happened."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from beatctl.activities.figures import change, in_words, score
from beatctl.activities.notify.happened import Happened

Kind = Literal["info", "success", "warning", "failure"]


class Message(BaseModel):
    """What is sent. Plain text."""

    title: str
    text: str
    kind: Kind
    """What services show as a colour or a priority."""
    fields: dict[str, Any] = {}
    """The same for programs: JSON."""


def message(what: Happened, local: Callable[[datetime], datetime] = datetime.astimezone) -> Message:
    """The words for what happened. `local` puts a time into the zone it is told in; by default the machine's."""
    title = f"{what.loop} {_headline(what, local)}"
    lines = [what.goal, *_why(what, local), _figures(what), *_next(what)]
    text = "\n".join(line for line in lines if line)
    return Message(title=title, text=text, kind=_kind(what), fields={**fields(what), "title": title, "text": text})


def fields(what: Happened) -> dict[str, Any]:
    """The event as a command gets it on its standard input."""
    return what.model_dump(mode="json", exclude={"baseline", "best"}) | {
        "baseline": _mark(what.baseline),
        "best": _mark(what.best),
    }


def trial(at: str) -> Message:
    """What `beatctl notify test` sends."""
    title, text = "beatctl: a test", "Notifications of your loops arrive here."
    told = {"event": "test", "loop": None, "at": at, "title": title, "text": text}
    return Message(title=title, text=text, kind="info", fields=told)


def _headline(what: Happened, local: Callable[[datetime], datetime]) -> str:
    if what.event == "pause":
        return f"paused: {what.reason}"
    if what.event == "waiting":
        return f"waits until {_clock(what.waiting_until, what.at, local)}" if what.waiting_until else "waits"
    if what.event == "best":
        return f"has a new best: {_best_score(what)}"
    ended = what.outcome or "finished"
    return f"{ended}: {_best_score(what)}" if ended == "improved" else ended


def _best_score(what: Happened) -> str:
    percent = change(what.best.score, what.baseline.score) if what.best and what.baseline else ""
    return f"{score(what.best.score if what.best else None)}{f' ({percent})' if percent else ''}"


def _why(what: Happened, local: Callable[[datetime], datetime]) -> list[str]:
    """The reason in words, as `status` has them."""
    detail = " ".join(what.detail.split())
    if what.event in ("finish", "failure"):
        reason = what.reason if what.reason not in (None, what.outcome) else ""
        return [f"Ended: {reason}." if reason else "", detail]
    if what.event == "best":
        return []
    if what.event == "waiting" and what.waiting_until:
        left = datetime.fromisoformat(what.waiting_until) - datetime.fromisoformat(what.at)
        return [detail, f"It goes on by itself in {in_words(max(0.0, round(left.total_seconds())))}."]
    return [detail]


def _figures(what: Happened) -> str:
    """`171,204 #187 (-28.4%), baseline 239,107; kept 12 of 212; $14.20; 5h 12m`."""
    parts = [_standing(what)]
    if what.strategy == "optimize":
        parts.append(f"kept {what.kept} of {what.iterations}")
    else:
        parts.append(f"{what.iterations} iteration{'' if what.iterations == 1 else 's'}")
    if what.cost_usd:
        parts.append(f"{'about ' if what.cost_estimated else ''}${what.cost_usd:,.2f}")
    elif what.tokens:
        parts.append(f"{what.tokens:,} tokens")
    return "; ".join(filter(None, [*parts, in_words(round(what.elapsed_s))]))


def _standing(what: Happened) -> str:
    if what.strategy == "retry":
        over = "" if what.state == "finished" else " yet"
        return f"passed in #{what.best.iteration}" if what.best else f"not passed{over}"
    if what.baseline is None:
        return "no baseline"
    if what.best is None or what.best.iteration == what.baseline.iteration:
        return f"nothing better than the baseline, {score(what.baseline.score)}"
    percent = change(what.best.score, what.baseline.score)
    told = f"best {score(what.best.score)} #{what.best.iteration}{f' ({percent})' if percent else ''}"
    return f"{told}, baseline {score(what.baseline.score)}"


def _next(what: Happened) -> list[str]:
    """The commands that go on from here."""
    if what.event == "pause":
        return [f"To go on: beatctl resume {what.loop}"]
    if what.event == "waiting":
        return [f"To try now: beatctl resume {what.loop}"]
    if what.event == "best":
        return [f"To see it: beatctl diff {what.loop}"]
    gained = what.kept or what.outcome == "reached"
    if gained and what.iteration:
        branch = "" if what.branch else " --branch NAME"
        return [f"To look: beatctl report {what.loop}", f"To take it: beatctl apply {what.loop}{branch}"]
    return [f"To look: beatctl {'report' if what.iteration else 'show'} {what.loop}"]


def _kind(what: Happened) -> Kind:
    if what.event == "failure":
        return "failure"
    if what.event == "pause":
        return "warning"
    good = what.event == "best" or what.outcome in ("reached", "improved")
    return "success" if good and what.event in ("best", "finish") else "info"


def _mark(mark: Any) -> dict[str, Any] | None:
    return None if mark is None else {"iteration": mark.iteration, "score": mark.score}


def _clock(time: str, now: str, local: Callable[[datetime], datetime]) -> str:
    """`22:11 CET`, with the day where that is another."""
    then, today = local(datetime.fromisoformat(time)), local(datetime.fromisoformat(now))
    day = "" if then.date() == today.date() else f"{then:%a} " if (then - today).days < 6 else f"{then:%d %b} "
    return f"{day}{then:%H:%M %Z}".strip()
