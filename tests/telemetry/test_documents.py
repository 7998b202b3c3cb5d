"""What the documents, the dashboard and the alert rules say of telemetry is what a worker sends."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from beatctl.activities.records import State
from beatctl.worker.telemetry.metrics import METRICS, STATES
from tests.telemetry.conftest import Told
from tests.telemetry.prometheus import label, names
from tests.telemetry.table import PAGE, SDK, tables, without_numbers, written

pytestmark = pytest.mark.xdist_group("telemetry")

GRAFANA = Path(__file__).parents[2] / "deploy" / "grafana"
FUNCTIONS = {
    *("absent", "changes", "count", "histogram_quantile", "increase", "max", "offset", "on", "rate", "sum", "unless"),
    *("and", "by"),
}
EVERYWHERE = {"beatctl_host", "le"}
"""Labels that are no metric's own: of the resource, and of every histogram."""


def dashboard() -> Any:
    return json.loads((GRAFANA / "dashboard.json").read_text(encoding="utf-8"))


def rules() -> list[Any]:
    (group,) = yaml.safe_load((GRAFANA / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return list(group["rules"])


def expressions() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            yield re.sub(r"label_values\((\w+), (\w+)\)", r'\1{\2=""}', variable["definition"])
    yield from (rule["expr"] for rule in rules())


def test_the_page_shows_what_a_collector_receives(told: Told) -> None:
    page = PAGE.read_text(encoding="utf-8")
    anew = written(page, tables(told.receiver, told.loop))
    assert without_numbers(anew) == without_numbers(page), "python -m tests.telemetry.table writes it anew"
    assert page.count("| #") == 4 + 17


def test_the_metrics_of_the_sdk_that_the_page_names_are_sent(told: Told) -> None:
    assert [name for name in SDK if not told.receiver.named(name)] == []


def test_every_metric_that_is_sent_is_in_the_list_with_its_kind_unit_and_labels(told: Told) -> None:
    kinds = {"counter": "sum", "gauge": "gauge", "histogram": "histogram"}
    known = {metric.name: metric for metric in METRICS}
    sent = [point for points in told.receiver.metrics for point in points if point.scope == "beatctl"]
    assert {point.name for point in sent} == set(known) - {"beatctl.waiting.time"}
    for point in sent:
        metric = known[point.name]
        assert (point.kind, point.unit) == (kinds[metric.kind], metric.unit)
        assert set(point.attributes) <= set(metric.labels)
    assert set(STATES) == set(get_args(State))


def test_a_dashboard_or_rule_that_asks_for_what_nobody_sends(told: Told) -> None:
    series = {name: {label(one) for one in metric.labels} for metric in METRICS for name in names(metric)}
    for point in (point for points in told.receiver.metrics for point in points if point.scope != "beatctl"):
        unit = "_seconds" if point.unit == "s" else ""
        ends = {"histogram": ("_bucket", "_sum", "_count"), "sum": ("_total",), "gauge": ("",)}[point.kind]
        series |= {f"{point.name}{unit}{end}": set(point.attributes) for end in ends}
    found = 0
    for expression in expressions():
        bare = re.sub(r'"[^"]*"|\$\w+|\[[^\]]*\]|\boffset \w+', "", expression)
        words = set(re.findall(r"[a-z_][a-z_0-9]*", bare)) - FUNCTIONS
        metrics = {word for word in words if word.startswith(("beatctl_", "temporal_")) and word in series}
        assert metrics, expression
        allowed = EVERYWHERE.union(*(series[name] for name in metrics))
        assert words - metrics <= allowed, expression
        found += 1
    assert found > 20


def test_a_dashboard_that_grafana_would_not_show() -> None:
    board = dashboard()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) > 10
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["targets"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
    variables = {variable["name"] for variable in board["templating"]["list"]}
    used = {word for text in expressions() for word in re.findall(r"\$(\w+)", text) if not word.startswith("__")}
    assert used <= variables


def test_rules_that_prometheus_would_not_take() -> None:
    wanted = {"NoWorker", "HostAway", "LoopPaused", "FailuresInARow", "SpendingFast", "NoNewBest"}
    assert {rule["alert"].removeprefix("Beatctl") for rule in rules()} == wanted
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        assert all(rule["expr"].count(one) == rule["expr"].count(other) for one, other in ("()", "[]", "{}"))


def test_rules_that_stay_silent_or_cry_wolf(place: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool, of Prometheus, is not on PATH")
    shutil.copy(GRAFANA / "alerts.yaml", place)
    shutil.copy(Path(__file__).with_name("alerts_test.yaml"), place)
    for words in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]):
        done = subprocess.run([promtool, *words], cwd=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
