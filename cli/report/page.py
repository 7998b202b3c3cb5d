"""A report as one page of HTML that needs no network: text, picture, ledger and diffs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from beatctl import __version__
from beatctl.activities.records import Row, timestamp
from beatctl.cli import render
from beatctl.cli.cells import cut
from beatctl.cli.output import from_home, visible
from beatctl.cli.report import sentences
from beatctl.cli.report.diffs import Diffs
from beatctl.cli.report.model import Report, percent, to_beat
from beatctl.cli.report.picture import drawn
from beatctl.cli.report.spending import Spent
from beatctl.cli.units import in_words

PAGE_STARTS_WITH = '<!doctype html>\n<html lang="en" data-made-by="beatctl">'
"""How every page begins: what else is in a file's place is not written over."""
_TEMPLATES = Path(__file__).with_name("page")
_WORDS_BYTES = 500_000
"""For all summaries together; each has at least 80 characters."""
_MOST_KEPT = 30
_SHORT = 300
"""Characters of a goal or a summary outside of the ledger."""
_ORDER = ("pass", "keep", "fail", "discard", "inconclusive", "crash", "timeout", "tampered")


class Line(NamedTuple):
    """An iteration in the page's ledger."""

    number: int
    verdict: str
    score: str
    change: str
    took: str
    cost: str
    words: str
    sort: dict[str, float | None]


def page(report: Report, rows: Sequence[Row], diffs: Diffs, now: float) -> str:
    """The whole page, as it stands `now` (unix seconds)."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":"), "allow_nan": False}
    environment.filters.update(duration=in_words, score=render.score, signed=sentences.signed, words=visible)
    environment.filters.update(money=sentences.money, short=lambda text: cut(visible(text), _SHORT))
    known = {row.iteration: row for row in rows}
    most = max(80, min(1000, _WORDS_BYTES // max(1, len(rows))))
    picture = drawn(report, rows)
    by_share = sorted(report.kept, key=lambda entry: -abs(entry.share_percent or 0.0))
    foremost = {entry.iteration for entry in by_share[:_MOST_KEPT]}
    kept = [
        (entry, sentences.pair_of(entry.before, entry.after), diffs.shown.get(entry.iteration)) for entry in report.kept
    ]
    on_page = {entry.iteration for entry in report.kept}
    return environment.get_template("page.html.j2").render(
        report=report,
        starts_with=PAGE_STARTS_WITH,
        version=__version__,
        now=_day(timestamp(now)),
        outcome=sentences.outcome(report),
        pair=_pair(report),
        why=sentences.why(report),
        facts=_facts(report),
        picture=picture,
        ylabel=max(8, *(len(tick.text) for tick in picture.y_ticks)) if picture.y_ticks else 8,
        verdicts=[(verdict, report.counts[verdict]) for verdict in _ORDER if report.counts.get(verdict)],
        kept=[entry for entry in kept if entry[0].iteration in foremost],
        kept_more=[entry for entry in kept if entry[0].iteration not in foremost],
        largest_share=max((entry.share_percent or 0.0 for entry in report.kept), default=0.0) or 1.0,
        figures=_figures(report),
        phases=_phases(report),
        agents=_spent(report.by_agent),
        estimated=sentences.ESTIMATED,
        steps=[(sentences.step_name(report, step), step) for step in report.by_step],
        by_verdict=_spent(report.by_verdict),
        notes=sentences.notes(report),
        survived=sentences.survived(report),
        commands=sentences.next_commands(report),
        lines=[_line(row, known, most) for row in rows],
        diffs=diffs,
        data={
            "id": report.id,
            "diffs": {number: list(diff) for number, diff in diffs.shown.items() if number not in on_page},
            "kept": {number: list(diff)[1:] for number, diff in diffs.shown.items() if number in on_page},
            "more": {row.iteration: more for row in rows if (more := _more(row, most))},
            "problem": visible(diffs.problem),
        },
    )


def _pair(report: Report) -> tuple[str, str] | None:
    first, last = report.baseline, report.best
    if report.strategy == "retry" or first is None or last is None or last.iteration == first.iteration:
        return None
    return sentences.pair_of(first.score, last.score)


def _figures(report: Report) -> list[str]:
    what = "try" if report.strategy == "retry" else "experiment"
    many = "tries" if report.strategy == "retry" else "experiments"
    count = f"{report.iterations:,} {what if report.iterations == 1 else many}"
    return [text for text in (count, in_words(report.elapsed_s), sentences.total_spent(report)) if text]


def _facts(report: Report) -> list[tuple[str, str, bool]]:
    """What the loop was: name, text, whether that is code."""
    runs = ", ".join([report.agent, *report.models])
    goes = {"minimize": "lower", "maximize": "higher"}.get(report.direction or "", "")
    found = [
        ("Evaluator", report.evaluator, True),
        ("Better is", goes, False),
        ("Check", report.check or "", True),
        ("Agent", runs, False),
        ("Started", _day(report.started_at), False),
        ("Folder", from_home(report.worktree if report.origin else report.directory), True),
        ("Made from", from_home(report.origin or ""), True),
        ("Limits", render.limits_line(report.limits, strategy=report.strategy) if report.limits else "", False),
    ]
    return [(name, visible(text), code) for name, text, code in found if text]


def _day(text: str | None) -> str:
    try:
        return f"{datetime.fromisoformat(text or ''):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return ""


def _phases(report: Report) -> list[tuple[str, str, float, str]]:
    total = report.times.total_s or 1.0
    return [
        (name, in_words(seconds), round(seconds / total * 100, 2), f"{seconds / total * 100:.0f}%")
        for name, seconds in sentences.phases(report)
    ]


def _spent(found: Sequence[Spent]) -> list[tuple[Spent, float]]:
    """Each with its share in percent of what they cost (in tokens where no cost is told); nothing where neither is."""
    amounts = [spent.cost_usd or 0.0 for spent in found]
    if not any(amounts):
        amounts = [float(spent.tokens or 0) for spent in found]
    whole = sum(amounts)
    return (
        [(spent, round(amount / whole * 100, 2)) for spent, amount in zip(found, amounts, strict=True)] if whole else []
    )


def _line(row: Row, known: dict[int, Row], most: int) -> Line:
    against = to_beat(row, known)
    changed = percent(row.score, against) if row.iteration else None
    cost = row.agent.cost_usd if row.agent else None
    tokens = row.agent.tokens if row.agent else None
    return Line(
        number=row.iteration,
        verdict=row.verdict,
        score=render.score(row.score) if row.score is not None else "",
        change=sentences.signed(changed),
        took=in_words(row.duration_s),
        cost=sentences.money(cost, bool(row.agent and row.agent.cost_estimated))
        if cost is not None
        else f"{tokens:,} tok"
        if tokens
        else "",
        words=cut(_words(row), most),
        sort={"s": row.score, "c": changed, "t": row.duration_s, "p": cost if cost is not None else tokens},
    )


def _words(row: Row) -> str:
    return render.row_words(row) or ("the untouched folder" if row.verdict == "baseline" else "")


def _more(row: Row, most: int) -> dict[str, Any]:
    """What the ledger's line does not say of an iteration."""
    said, why = visible(row.summary), visible(row.reason or "")
    shown = cut(_words(row), most)
    agent = row.agent
    model = " ".join(filter(None, (agent.name, agent.model or ""))) if agent else ""
    notes = []
    if agent and agent.adopted:
        notes.append("went on while the worker was replaced")
    if agent and agent.lost:
        notes.append(f"{agent.lost} lost and run again")
    found = {
        "said": said[:2000] if said not in shown else "",
        "why": why if why not in shown else "",
        "agent": ", ".join(filter(None, (visible(model), in_words(agent.duration_s) if agent else "", *notes))),
        "tokens": f"{agent.tokens:,}" if agent and agent.tokens and agent.cost_usd is not None else "",
        "eval": in_words(row.evaluator.duration_s) if row.evaluator else "",
        "samples": ", ".join(map(render.score, row.samples)) if len(row.samples) > 1 else "",
        "snap": (row.snapshot or "")[:12],
    }
    return {name: text for name, text in found.items() if text}
