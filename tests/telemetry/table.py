"""Writes the tables of docs/telemetry.md: `python -m tests.telemetry.table` runs a loop of three iterations and writes
down what a receiver got of it. A test compares names, not numbers."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from beatctl.worker.server_program import find_or_fetch
from beatctl.worker.telemetry.metrics import METRICS
from tests.support import Beatctl, clean_environment, remove_tree, wait_until
from tests.telemetry import three
from tests.telemetry.prometheus import label, names
from tests.telemetry.receiver import Point, Receiver, Span

PAGE = Path(__file__).parents[2] / "docs" / "telemetry.md"
SDK = (
    "temporal_workflow_task_schedule_to_start_latency",
    "temporal_workflow_task_execution_latency",
    "temporal_activity_schedule_to_start_latency",
    "temporal_activity_execution_latency",
    "temporal_local_activity_execution_latency",
    "temporal_worker_task_slots_available",
    "temporal_request",
    "temporal_request_latency",
    "temporal_num_pollers",
)
"""Of the SDK's, those that tell most."""
_ASIDE = ("beatctl.loop.id", "beatctl.iteration", "beatctl.adopted", "beatctl.lost", "beatctl.cost_estimated")


def spans(receiver: Receiver, loop: str) -> str:
    """The table of a loop's spans, a trace after the other."""
    found = receiver.of_loop(loop)
    order = sorted(
        found, key=lambda span: (span.attributes.get("beatctl.iteration", 99), bool(span.parent), span.start, span.end)
    )
    lines = ["| trace | span | ms | status | attributes |", "|---|---|---|---|---|"]
    for span in order:
        number = span.attributes.get("beatctl.iteration")
        trace = "loop" if number is None else f"#{number}"
        name = f"{'· ' if span.parent else ''}{span.name}"
        status = span.message if span.status == 2 else ""
        lines.append(f"| {trace} | {name} | {(span.end - span.start) / 1e6:.0f} | {status} | {_attributes(span)} |")
    return "\n".join(lines)


def _attributes(span: Span) -> str:
    shown = {name: value for name, value in sorted(span.attributes.items()) if name not in _ASIDE}
    links = " → the loop's span" if span.links else ""
    return ", ".join(f"`{name}` {_number(value)}" for name, value in shown.items()) + links


def metrics(receiver: Receiver) -> str:
    """The table of beatctl's own metrics, with what a loop came to."""
    lines = ["| metric | kind, unit | for Prometheus | received |", "|---|---|---|---|"]
    for metric in METRICS:
        received = "; ".join(sorted(_point(point) for point in receiver.named(metric.name))) or "–"
        series = names(metric)[0].replace("_bucket", "_{bucket,sum,count}")
        lines.append(f"| `{metric.name}` | {metric.kind}, `{metric.unit}` | `{series}` | {received} |")
    return "\n".join(lines)


def meanings() -> str:
    """What each metric is."""
    return "\n".join(
        f"- `{metric.name}` by {', '.join(f'`{label(name)}`' for name in metric.labels)}: {metric.description}"
        for metric in METRICS
    )


def _point(point: Point) -> str:
    about = " ".join(str(value) for name, value in sorted(point.attributes.items()) if name != "beatctl.loop.id")
    value = f"{_number(point.value)} in {point.total:.3f} s" if point.kind == "histogram" else _number(point.value)
    return f"{about}: {value}"


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def tables(receiver: Receiver, loop: str) -> dict[str, str]:
    """Each table by the name that the page has for it."""
    return {
        "spans": spans(receiver, loop),
        "metrics": metrics(receiver),
        "meanings": meanings(),
        "sdk": ", ".join(f"`{name}`" for name in SDK),
    }


def written(text: str, made: dict[str, str]) -> str:
    """The page with these tables in it."""
    for name, table in made.items():
        before, begin, rest = text.partition(f"<!-- {name} -->")
        _, end, after = rest.partition(f"<!-- end of {name} -->")
        text = f"{before}{begin}\n{table}\n{end}{after}"
    return text


def without_numbers(text: str) -> str:
    return re.sub(r"\d[\d.e+-]*", "0", text)


def main() -> None:
    from tests.telemetry.receiver import receiving

    folder = Path(tempfile.mkdtemp(prefix="bt-")).resolve()
    program = str(find_or_fetch(os.environ, print))
    with receiving() as receiver:
        beatctl = Beatctl({**clean_environment(folder, program), **receiver.environment, **three.SETTINGS})
        try:
            loop = three.run(beatctl, three.repository(folder / "repo", beatctl.environ))
            wait_until(lambda: three.is_all_there(receiver, loop), "all that is told of the loop")
            PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), tables(receiver, loop)), encoding="utf-8")
        finally:
            beatctl.close()
            remove_tree(folder)


if __name__ == "__main__":
    main()
