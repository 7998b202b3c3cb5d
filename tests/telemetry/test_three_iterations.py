"""What a collector receives of a loop of three iterations: keep, discard, crash."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from datetime import datetime
from typing import Any

import pytest

from tests.support import Beatctl
from tests.telemetry import three
from tests.telemetry.conftest import Told
from tests.telemetry.receiver import Span

pytestmark = pytest.mark.xdist_group("telemetry")

JUDGED = Counter(["iteration", "invoke_agent tinker", "snapshot", "check", "evaluator", "restore"])
TRACES = {
    0: JUDGED - Counter(["invoke_agent tinker"]),
    1: JUDGED,
    2: JUDGED,
    3: JUDGED - Counter(["check", "evaluator"]),
}


def traces(told: Told) -> dict[int, list[Span]]:
    found: dict[int, list[Span]] = {}
    for span in told.receiver.of_loop(told.loop):
        if "beatctl.iteration" in span.attributes:
            found.setdefault(span.attributes["beatctl.iteration"], []).append(span)
    return found


def root(spans: list[Span]) -> Span:
    (found,) = [span for span in spans if not span.parent]
    return found


def rows(told: Told) -> list[Any]:
    found: list[Any] = told.beatctl("show", told.loop, "--json", cwd=told.folder, expect=0).json
    return found


def test_an_iteration_is_one_trace_of_all_its_parts_linked_to_its_loop(told: Told) -> None:
    (loop,) = [span for span in told.receiver.of_loop(told.loop) if span.name == "loop"]
    found = traces(told)
    assert {number: Counter(span.name for span in spans) for number, spans in found.items()} == TRACES
    for spans in found.values():
        assert root(spans).name == "iteration"
        assert {span.parent for span in spans} == {"", root(spans).id}
        assert len({span.trace for span in spans}) == 1
        assert root(spans).links == ((loop.trace, loop.id),)
    assert len({root(spans).trace for spans in found.values()} | {loop.trace}) == 5
    ids = [span.id for span in told.receiver.spans]
    assert len(ids) == len(set(ids))


def test_times_are_those_of_what_ran_and_a_part_lies_within_its_iteration(told: Told) -> None:
    (loop,) = [span for span in told.receiver.of_loop(told.loop) if span.name == "loop"]
    assert loop.start <= min(span.start for span in told.receiver.spans) + 1_000_000  # it is told in milliseconds
    for row in rows(told):
        spans = traces(told)[row["iteration"]]
        whole = root(spans)
        for span in spans:
            assert whole.start <= span.start <= span.end <= whole.end
        runs = [span for span in spans if span.name in ("invoke_agent tinker", "snapshot", "check", "evaluator")]
        in_order = sorted(runs, key=lambda span: span.start)
        order = ["snapshot", "check", "evaluator"] if row["iteration"] == 0 else [span.name for span in in_order]
        assert [span.name for span in in_order] == order
        if row["agent"] is not None:
            agent = in_order[0]
            assert agent.name == "invoke_agent tinker"
            assert abs(agent.start / 1e9 - datetime.fromisoformat(row["started_at"]).timestamp()) < 0.002
            assert abs((agent.end - agent.start) / 1e9 - row["agent"]["duration_s"]) < 0.002


def test_a_trace_says_what_became_of_the_iteration(told: Told) -> None:
    for row in rows(told):
        whole = root(traces(told)[row["iteration"]])
        about = whole.attributes
        assert about["beatctl.loop.id"] == told.loop
        assert about["beatctl.verdict"] == row["verdict"]
        assert about.get("beatctl.score") == row["score"]
        assert about["beatctl.best"] == (50 if row["iteration"] == 0 else 40)
        assert about["beatctl.strategy"] == "optimize"
        assert about["beatctl.host"] == whole.resource["beatctl.host"] == three.HOST
    assert [root(traces(told)[number]).attributes["beatctl.verdict"] for number in (1, 2, 3)] == [
        "keep",
        "discard",
        "crash",
    ]


def test_an_agent_that_crashed_is_an_error_and_nothing_else_is(told: Told) -> None:
    wrong = {(span.name, span.attributes["beatctl.iteration"]) for span in told.receiver.spans if span.status == 2}
    assert wrong == {("iteration", 3), ("invoke_agent tinker", 3)}
    crashed = next(span for span in traces(told)[3] if span.name == "invoke_agent tinker")
    assert crashed.attributes["error.type"] == "exit 7"
    assert crashed.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert crashed.attributes["gen_ai.agent.name"] == "tinker"
    worked = next(span.attributes for span in traces(told)[1] if span.name == "invoke_agent tinker")
    assert (worked["gen_ai.request.model"], worked["gen_ai.conversation.id"]) == ("small", "s-1")
    assert (worked["beatctl.cost_usd"], worked["beatctl.tokens"]) == (0.25, 1200)
    assert (worked["gen_ai.usage.input_tokens"], worked["gen_ai.usage.output_tokens"]) == (1000, 200)
    measured = {
        number: next(span.attributes for span in traces(told)[number] if span.name == "evaluator") for number in (1, 2)
    }
    assert {n: one["gen_ai.evaluation.score.value"] for n, one in measured.items()} == {1: 40, 2: 45}
    assert {n: one["gen_ai.evaluation.score.label"] for n, one in measured.items()} == {1: "keep", 2: "discard"}


def test_the_loop_itself_is_told_with_how_it_ended(told: Told) -> None:
    (loop,) = [span for span in told.receiver.of_loop(told.loop) if span.name == "loop"]
    about = loop.attributes
    assert (about["beatctl.outcome"], about["beatctl.reason"]) == ("improved", "max-iterations")
    assert (about["beatctl.iterations"], about["beatctl.baseline"], about["beatctl.best"]) == (3, 50, 40)


def test_metrics_are_what_the_ledger_says(told: Told) -> None:
    receiver = told.receiver
    verdicts = {point.attributes["beatctl.verdict"]: point.value for point in receiver.named("beatctl.iterations")}
    assert verdicts == {"baseline": 1, "keep": 1, "discard": 1, "crash": 1}
    assert all(point.monotonic for point in receiver.named("beatctl.iterations"))
    assert receiver.value("beatctl.loops", beatctl__state="finished") == 1
    assert receiver.value("beatctl.best", beatctl__loop__id=told.loop) == 40
    assert receiver.value("beatctl.score", beatctl__loop__id=told.loop) == 45
    assert receiver.value("beatctl.cost") == 0.5
    assert receiver.value("beatctl.tokens") == 2400
    assert receiver.value("beatctl.agent.duration", beatctl__status="done") == 2
    assert receiver.value("beatctl.agent.duration", beatctl__status="failed") == 1
    assert receiver.value("beatctl.evaluator.duration", beatctl__run="evaluator") == 3
    assert receiver.value("beatctl.evaluator.duration", beatctl__run="check") == 3
    spent = sum(row["agent"]["duration_s"] for row in rows(told) if row["agent"])
    assert abs(sum(point.total for point in receiver.named("beatctl.agent.duration")) - spent) < 0.001


def test_what_temporals_sdk_measures_comes_to_the_same_place_from_the_same_service(told: Told) -> None:
    assert told.receiver.named("temporal_workflow_task_schedule_to_start_latency")
    assert told.receiver.named("temporal_local_activity_execution_latency")
    assert {one["service.name"] for one in told.receiver.resources} == {"beatctl"}
    assert len({one["service.instance.id"] for one in told.receiver.resources}) == 1
    assert told.receiver.resources[0]["service.instance.id"].endswith("/embedded")
    assert {one["deployment.environment.name"] for one in told.receiver.resources} == {"tests"}
    assert all(one.get("x-tenant") == "blue whales" for one in told.receiver.headers)


def test_log_lines_carry_loop_and_iteration_and_belong_to_its_trace(told: Told) -> None:
    lines = {line.text.partition(",")[0].partition(":")[0]: line for line in told.receiver.lines}
    for number, verdict in enumerate(("baseline", "keep", "discard", "crash")):
        line = lines[verdict]
        assert line.attributes == {"beatctl.loop.id": told.loop, "beatctl.iteration": number}
        assert (line.trace, line.span) == (root(traces(told)[number]).trace, root(traces(told)[number]).id)
    (loop,) = [span for span in told.receiver.of_loop(told.loop) if span.name == "loop"]
    assert (lines["ended"].trace, lines["ended"].span) == (loop.trace, loop.id)
    text = told.beatctl.logs()
    assert "INFO beatctl.loop: keep, score 40, best 40, " in text
    assert f"[{told.loop} #1]" in text
    assert f"ended: improved (max-iterations) [{told.loop}]" in text


def test_nothing_of_goal_command_output_or_folder_leaves_the_machine(told: Told) -> None:
    sent = json.dumps(
        [
            [asdict(span) for span in told.receiver.spans],
            [asdict(line) for line in told.receiver.lines],
            [[asdict(point) for point in points] for points in told.receiver.metrics],
        ]
    )
    assert told.loop in sent
    for word in ("wombats", "marmots", "ocelots", "pangolins", str(told.folder)):
        assert word in f"{three.GOAL} {three.AGENT} {three.WORDS} {told.folder}"
        assert word not in sent


def test_an_agent_gets_no_variable_of_its_workers_telemetry(told: Told) -> None:
    seen = told.folder.parent / "seen"
    spy = told.folder.parent / "spy.sh"
    spy.write_text(f"#!/bin/sh\nenv > {seen}\nexit 1\n")
    spy.chmod(0o755)
    other = three.repository(told.folder.parent / "other", told.beatctl.environ)
    shell = {name: value for name, value in told.beatctl.environ.items() if not name.startswith("OTEL_")}
    words = ("start", "look", "--until", "false", "--agent", str(spy), "-n", "1", "--json")
    Beatctl(shell)(*words, cwd=other, expect=1)
    assert "BEATCTL_ITERATION=1" in seen.read_text()
    assert "OTEL_" not in seen.read_text()
