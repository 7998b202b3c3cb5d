"""Which spans an iteration comes to, by what is recorded of it."""

from __future__ import annotations

from beatctl.activities.records import AgentRow, EvaluatorRow, Mark, Row, Status, Verdict, Wait, sum_of_steps
from beatctl.worker.telemetry.ids import iteration_ids, loop_ids
from beatctl.worker.telemetry.runs import Run
from beatctl.worker.telemetry.spans import Span, Timed, loop_span, spans_of

START = 1_763_000_000.0
STARTED = "2025-11-13T02:13:20.000Z"


def status(**more: object) -> Status:
    known = {"id": "k3f9", "goal": "secret goal", "strategy": "optimize", "state": "running", "directory": "/d"}
    return Status.model_validate({**known, "started_at": STARTED, "agent": "claude", **more})


def row(verdict: Verdict = "keep", agent: AgentRow | None = None, **more: object) -> Row:
    known = {"iteration": 4, "verdict": verdict, "started_at": STARTED, "duration_s": 9.0, "agent": agent}
    return Row.model_validate({**known, **more})


def run(kind: str, start: float, end: float, *, name: str = "", step: int = 1, code: int = 0, **more: object) -> Run:
    return Run(kind, name or kind, step, START + start, START + end, exit_code=code, **more)  # type: ignore[arg-type]


def named(spans: list[Span], name: str) -> list[Span]:
    return [span for span in spans if span.name == name]


def test_a_repeat_after_a_crash_makes_the_same_trace_and_another_loop_of_that_name_another() -> None:
    given = row(agent=AgentRow(name="claude")), [run("agent", 0, 5)], [Timed("snapshot", START + 5, START + 6)]
    once, again = spans_of(status(), *given, "h"), spans_of(status(version=9), *given, "h")
    assert [span.ids for span in once] == [span.ids for span in again]
    later = spans_of(status(started_at="2025-11-13T02:13:21.000Z"), *given, "h")
    assert not {span.ids.trace for span in later} & {span.ids.trace for span in once}
    # A status that was rebuilt from the ledger may be a millisecond off.
    assert loop_ids(status(started_at="2025-11-13T02:13:20.001Z")) == loop_ids(status())


def test_a_run_that_a_limit_interrupted_is_a_span_of_its_own_with_what_it_cost() -> None:
    wait = Wait(agent="codex", reason="rate-limit", since=STARTED, until=STARTED, cost_usd=0.25, tokens=50)
    agent = AgentRow(name="claude", cost_usd=1.0, tokens=150, model="opus", session_id="s-1", version="2.1")
    runs = [run("agent", -100, -90, code=1), run("agent", 0, 5, name="agent-2")]
    spans = spans_of(status(), row(agent=agent, waits=[wait]), runs, [], "h")
    (first,) = named(spans, "invoke_agent codex")
    assert (first.error, first.attributes["beatctl.cost_usd"], first.attributes["beatctl.tokens"]) == (
        "rate-limit",
        0.25,
        50,
    )
    (through,) = named(spans, "invoke_agent claude")
    assert (through.error, through.attributes["beatctl.cost_usd"], through.attributes["beatctl.tokens"]) == (
        None,
        0.75,
        100,
    )
    assert through.attributes["gen_ai.provider.name"] == "anthropic"
    assert through.attributes["gen_ai.request.model"] == "opus"
    assert through.attributes["gen_ai.conversation.id"] == "s-1"
    assert (spans[0].start, spans[0].end) == (START - 100, START + 9)
    assert spans[0].attributes["beatctl.cost_usd"] == 1.0


def test_each_step_of_a_pipeline_has_its_own_span() -> None:
    steps = [AgentRow(name="claude", tokens=10), AgentRow(name="opencode", tokens=20, model="openai/gpt-5")]
    runs = [run("agent", 0, 1), run("agent", 2, 3, name="agent-step2", step=2)]
    spans = spans_of(status(), row(agent=sum_of_steps(steps, pipeline=True)), runs, [], "h")
    (one,), (two,) = named(spans, "invoke_agent claude"), named(spans, "invoke_agent opencode")
    assert (one.attributes["beatctl.step"], one.attributes["beatctl.tokens"]) == (1, 10)
    assert (two.attributes["beatctl.step"], two.attributes["beatctl.tokens"]) == (2, 20)
    assert two.attributes["gen_ai.provider.name"] == "openai"


def test_an_agent_that_says_it_failed_is_an_error_although_it_exited_with_0() -> None:
    spans = spans_of(
        status(), row("crash", AgentRow(name="claude"), reason="no: secret"), [run("agent", 0, 5)], [], "h"
    )
    assert [span.error for span in spans] == ["crash", "agent"]
    assert spans[0].attributes["beatctl.reason"] == "the agent failed"
    timed_out = run("agent", 0, 5, ended_by="timeout", code=0)
    spans = spans_of(status(), row("timeout", AgentRow(name="claude"), reason="…"), [timed_out], [], "h")
    assert [span.error for span in spans] == ["timeout", "timeout"]


def test_an_iteration_cut_short_says_so_and_blames_no_agent() -> None:
    cut = row("crash", AgentRow(name="claude"), reason="cancelled before it was judged")
    spans = spans_of(status(), cut, [run("agent", 0, 5)], [], "h")
    assert spans[0].attributes["beatctl.reason"] == "cancelled before it was judged"
    assert spans[1].error is None


def test_what_programs_printed_is_no_part_of_a_reason() -> None:
    evaluated = EvaluatorRow(exit_code=1)
    for reason, told in (
        ('check: exit code 1: "a "secret" word"; put back: HEAD', 'check: exit code 1: "…"'),
        ('exit code 1: "secret that was cut o', 'exit code 1: "…"'),
        ("put back: branch secret, hooks", "put back"),
        ("equal score; the prompt template failed (secret): beatctl's own prompt was sent", "equal score"),
        ("the prompt template failed (secret): beatctl's own prompt was sent", "the prompt template failed"),
        ("step 2: a new session was begun: secret", "a new session was begun"),
        ("/home/secret is gone", None),
        ("equal score", "equal score"),
    ):
        spans = spans_of(status(), row("discard", reason=reason, evaluator=evaluated), [], [], "h")
        assert spans[0].attributes.get("beatctl.reason") == told


def test_summaries_and_whole_reasons_go_out_only_when_asked_for() -> None:
    said = row(summary="did it", reason='check: exit code 1: "secret"')
    assert "beatctl.summary" not in spans_of(status(), said, [], [], "h")[0].attributes
    spans = spans_of(status(), said, [], [], "h", content=True)
    assert spans[0].attributes["beatctl.summary"] == "did it"
    assert spans[0].attributes["beatctl.reason"] == 'check: exit code 1: "secret"'
    assert "secret goal" not in repr(spans)


def test_a_red_test_is_no_error_and_a_broken_evaluator_is_one() -> None:
    runs = [run("check", 0, 1), run("evaluator", 1, 2, code=1), run("evaluator", 2, 3, name="evaluator-2", code=127)]
    retry = status(strategy="retry")
    errors = [span.error for span in spans_of(retry, row("fail", evaluator=EvaluatorRow()), runs, [], "h")[1:]]
    assert errors == [None, None, "exit 127"]
    scored = [run("evaluator", 0, 1, score=4.0), run("best", 1, 2), run("evaluator", 2, 3, name="evaluator-2", code=3)]
    spans = spans_of(status(), row("crash", evaluator=EvaluatorRow()), scored, [], "h")[1:]
    assert [span.error for span in spans] == [None, "no score", "exit 3"]
    assert spans[1].name == "evaluator best"


def test_a_loop_that_went_on_after_its_end_keeps_its_first_span() -> None:
    ended = {"state": "finished", "outcome": "improved", "reason": "target", "ended_at": "2025-11-13T03:13:20.000Z"}
    first = loop_span(status(**ended, best=Mark(iteration=4, score=7.0)), "h")
    assert (first.ids, first.parent, first.end - first.start) == (loop_ids(status()), None, 3600)
    assert first.attributes["beatctl.best"] == 7.0
    again = loop_span(status(**{**ended, "idle_s": 60.0, "ended_at": "2025-11-13T05:13:20.000Z"}), "h")
    assert again.ids.trace == first.ids.trace
    assert again.parent == first.ids.span != again.ids.span
    assert spans_of(status(), row(), [], [], "h")[0].link == first.ids
    assert spans_of(status(), row(), [], [], "h")[0].ids == iteration_ids(status(), 4)
