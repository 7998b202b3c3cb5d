"""A report as lines for a terminal. Pure."""

from __future__ import annotations

from beatctl.cli import render
from beatctl.cli.cells import cells, cut, pad, wrap
from beatctl.cli.output import paint, visible
from beatctl.cli.report import sentences
from beatctl.cli.report.model import Kept, Report, Stair, Tries
from beatctl.cli.report.spending import Spent
from beatctl.cli.units import in_words

_MOST_KEPT = 25
_MOST_TRIES = 12
_BARS = "▁▂▃▄▅▆▇█"


def lines(report: Report, *, colours: bool = False, columns: int = 100) -> list[str]:
    """The whole report, no line wider than `columns`."""
    writer = _Writer(colours, columns)
    _head(writer, report)
    _experiments(writer, report)
    _kept(writer, report)
    _near_misses(writer, report)
    _tries(writer, report)
    _time(writer, report)
    _cost(writer, report)
    notes = sentences.notes(report)
    if notes:
        writer.section("Your notes", legend="from which iteration on")
        for number, text in notes:
            writer.line(f"{number:<6}", last=text)
    survived = sentences.survived(report)
    if survived:
        writer.section("Survived")
        for line in survived:
            writer.wrapped(line)
    _next(writer, report)
    return writer.lines


class _Writer:
    def __init__(self, colours: bool, columns: int) -> None:
        self.lines: list[str] = []
        self.colours = colours
        self.columns = columns

    def paint(self, text: str, *styles: str) -> str:
        return paint(text, *styles, on=self.colours)

    def section(self, title: str, rest: str = "", *, legend: str = "") -> None:
        self.lines.append("")
        self.lines.append("  ".join(filter(None, (self.paint(title, "bold"), rest, self.paint(legend, "dim")))))

    def line(self, *parts: tuple[str, tuple[str, ...]] | str, last: str = "") -> None:
        """A line of plain and styled parts; `last` is somebody's words, cut to what is left."""
        plain = [part if isinstance(part, str) else part[0] for part in parts]
        styled = [part if isinstance(part, str) else self.paint(*(part[0], *part[1])) for part in parts]
        room = self.columns - 2 - sum(map(cells, plain))
        text = cut(visible(last), room) if last else ""
        self.lines.append(("  " + "".join(styled) + text).rstrip())

    def wrapped(self, text: str) -> None:
        self.lines += [f"  {cut(line, self.columns - 2)}" for line in wrap(text, self.columns - 2)]


def _head(writer: _Writer, report: Report) -> None:
    state = report.outcome or report.state
    word = render.STATE_STYLES.get(state, ())
    head = f"{report.id}  {state}"
    goal = cut(visible(report.goal), max(10, writer.columns - cells(head) - 2))
    writer.lines.append(f"{writer.paint(report.id, 'bold')}  {writer.paint(state, *word)}  {goal}")
    writer.line((sentences.outcome(report), ("bold",)))
    why = sentences.why(report)
    if why:
        writer.wrapped(why)
    spent = sentences.total_spent(report)
    writer.line(f"{in_words(report.elapsed_s)}{f', {spent}' if spent else ''}")
    if len(report.stairs) > 1:
        writer.line((_staircase(report.stairs, report.iterations, min(60, writer.columns - 4)), ("green",)))


def _staircase(stairs: list[Stair], last: int, columns: int) -> str:
    """The score to beat over the iterations, drawn in one line."""
    low, high = min(stair.score for stair in stairs), max(stair.score for stair in stairs)
    last = max(last, stairs[-1].iteration, 1)
    columns = min(columns, last + 1)
    text = ""
    for column in range(columns):
        number = last * column / max(1, columns - 1)
        score = next(stair.score for stair in reversed(stairs) if stair.iteration <= number or stair is stairs[0])
        share = (score / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.5
        text += _BARS[min(len(_BARS) - 1, int(share * len(_BARS)))]
    return text


def _experiments(writer: _Writer, report: Report) -> None:
    writer.section("Experiments" if report.strategy == "optimize" else "Tries", f"{report.iterations:,}")
    counts = render.counts_words(report.counts)
    for line in (counts, sentences.repeats(report)):
        if line:
            writer.wrapped(line)


def _kept(writer: _Writer, report: Report) -> None:
    if not report.kept:
        return
    shown = report.kept
    if len(shown) > _MOST_KEPT:
        strongest = sorted(shown, key=lambda kept: -abs(kept.share_percent or 0.0))[:_MOST_KEPT]
        numbers = {kept.iteration for kept in strongest}
        shown = [kept for kept in shown if kept.iteration in numbers]
    writer.section("Kept", legend="score before → after, change, share of the whole gain")
    scores = [" → ".join(sentences.pair_of(kept.before, kept.after)) for kept in shown]
    wide = max(map(len, scores))
    for kept, score in zip(shown, scores, strict=True):
        best = report.best is not None and kept.iteration == report.best.iteration
        writer.line(
            (f"#{kept.iteration:<5}", ("bold",) if best else ()),
            f"{score:>{wide}}  ",
            (f"{sentences.signed(kept.change_percent):>7}", ("red" if (kept.share_percent or 0.0) < 0 else "green",)),
            f"  {_share(kept):>5}  ",
            last=kept.summary,
        )
    if len(shown) < len(report.kept):
        writer.line((f"and {len(report.kept) - len(shown)} smaller ones: beatctl show {report.id}", ("dim",)))


def _share(kept: Kept) -> str:
    return "" if kept.share_percent is None else f"{kept.share_percent:.0f}%"


def _near_misses(writer: _Writer, report: Report) -> None:
    if not report.near_misses:
        return
    writer.section("Near misses", legend="discarded, closest to the score to beat")
    scores = [render.score(miss.score) for miss in report.near_misses]
    wide = max(map(len, scores))
    for miss, score in zip(report.near_misses, scores, strict=True):
        change = sentences.signed(miss.change_percent)
        writer.line(f"#{miss.iteration:<5}{score:>{wide}}  {change:>7}  ", last=miss.summary)


def _tries(writer: _Writer, report: Report) -> None:
    if not report.tries:
        return
    writer.section("How they ended")
    hidden = max(0, len(report.tries) - _MOST_TRIES)
    for tries in report.tries[:1] if hidden else []:
        _try(writer, tries)
    if hidden:
        writer.line((f"… {hidden} others: beatctl show {report.id}", ("dim",)))
    for tries in report.tries[1 + hidden :] if hidden else report.tries:
        _try(writer, tries)


def _try(writer: _Writer, tries: Tries) -> None:
    numbers = f"#{tries.first}" if tries.first == tries.last else f"#{tries.first}-{tries.last}"
    style = render.VERDICT_STYLES.get(tries.verdict, ())
    said = tries.reason or tries.summary
    writer.line(f"{numbers:<10}", (f"{tries.verdict:<9}", style), f"{in_words(tries.duration_s):>8}  ", last=said)


def _time(writer: _Writer, report: Report) -> None:
    found = sentences.phases(report)
    if not found:
        return
    total = report.times.total_s or 1.0
    writer.section("Time", in_words(report.times.total_s))
    room = min(40, writer.columns - 42)
    for name, seconds in found:
        share = seconds / total
        bar = "█" * round(share * room) or "▏"
        writer.line(f"{name:<20}{in_words(seconds):>8} {share * 100:>4.0f}%  ", (bar, ("cyan",)))
    for step in report.by_step:
        spent = sentences.spent(step.cost_usd, step.tokens, step.cost_estimated)
        words = f"{in_words(step.duration_s):>8} {step.runs:>4} runs  {spent:>9}  "
        writer.line(words, last=sentences.step_name(report, step))


def _cost(writer: _Writer, report: Report) -> None:
    told = [spent for spent in report.by_agent if spent.cost_usd or spent.tokens]
    if not told:
        return
    writer.section("Cost", sentences.total_spent(report))
    verdicts = [spent for spent in report.by_verdict if spent.cost_usd or spent.tokens]
    named = [(visible(spent.name), spent) for spent in told]
    named += [(f"on {spent.name}", spent) for spent in verdicts] if len(verdicts) > 1 else []
    wide = min(28, max(cells(name) for name, _ in named))
    for name, spent in named:
        writer.line(f"{pad(cut(name, wide), wide)}  {_spent_words(spent)}")
    if report.cost_estimated:
        writer.line(last=sentences.ESTIMATED)


def _spent_words(spent: Spent) -> str:
    estimated = spent.cost_estimated
    each = f"{sentences.money(spent.cost_usd / spent.runs, estimated)} each" if spent.cost_usd and spent.runs else ""
    runs = f"{spent.runs:,} run{'s' if spent.runs != 1 else ''}"
    return f"{sentences.spent(spent.cost_usd, spent.tokens, estimated):>16} {runs:>10}  {each}"


def _next(writer: _Writer, report: Report) -> None:
    writer.section("Next")
    commands = sentences.next_commands(report)
    page = sentences.Next(f"beatctl report {report.id} --html FILE", "this as a page, with every diff")
    commands = [*commands, page]
    wide = max(len(command.command) for command in commands)
    for command in commands:
        writer.line((f"{command.command:<{wide}}", ("cyan",)), "  ", last=command.purpose)
