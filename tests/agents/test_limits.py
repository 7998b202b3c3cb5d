"""Limits, overload and missing logins, as the agents have worded them, beside runs that only speak of such things."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from beatctl.activities.agents import AgentOutcome, AgentSpec, read_outcome
from beatctl.activities.agents.spec import AgentKind

NOW = datetime(2026, 6, 29, 20, 0, tzinfo=UTC).timestamp()
RESET = NOW + 3600
TALK = (
    'I handle HTTP 429: when the API says "You\'ve hit your usage limit, try again in 3 hours" or overloaded_error, '
    "rate limit reached, 401 Unauthorized, Claude AI usage limit reached|1751230800, the client waits."
)


def ended(
    kind: AgentKind,
    folder: Path,
    *events: dict[str, Any],
    stderr: str = "",
    plain: str = "",
    exit_code: int | None = 1,
    signal: int | None = None,
) -> AgentOutcome:
    stdout = plain + "".join(json.dumps(event) + "\n" for event in events)
    (folder / "stdout").write_text(stdout)
    (folder / "stderr").write_text(stderr)
    agent = AgentSpec(kind=kind, name="agent.sh" if kind == "command" else kind, argv=[f"/bin/{kind}"])
    return read_outcome(agent, folder / "stdout", folder / "stderr", exit_code, signal, folder / "none", NOW)


def spoke(text: str, error: str | None = None) -> dict[str, Any]:
    event: dict[str, Any] = {"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}}
    return event | ({"error": error} if error else {})


def result(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "result", "subtype": "success", "is_error": True, "result": text} | more


def rejected(resets_at: float | None = RESET) -> dict[str, Any]:
    return {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": resets_at}}


INIT = {"type": "system", "subtype": "init", "session_id": "s", "model": "m", "claude_code_version": "2.1.197"}
CLAUDE: list[tuple[str, list[dict[str, Any]], str, float | None]] = [
    ("the event of a subscription", [INIT, rejected(), spoke("x", "rate_limit"), result("x")], "rate-limited", RESET),
    ("ended while it waited", [INIT, rejected()], "rate-limited", RESET),
    ("a status alone", [INIT, result("API Error: Request rejected (429)", api_error_status=429)], "rate-limited", None),
    ("an older one, by its text", [INIT, result(f"Claude AI usage limit reached|{RESET:.0f}")], "rate-limited", RESET),
    (
        "an older one, that said success",
        [INIT, result(f"Claude AI usage limit reached|{RESET:.0f}", is_error=False)],
        "rate-limited",
        RESET,
    ),
    ("the words for people", [INIT, result("5-hour limit reached ∙ resets 9pm (UTC)")], "rate-limited", RESET),
    (
        "a weekly limit",
        [INIT, result("You've hit your weekly limit · resets Jul 3, 2pm (America/New_York)")],
        "rate-limited",
        datetime(2026, 7, 3, 14, tzinfo=ZoneInfo("America/New_York")).timestamp(),
    ),
    ("no date told", [INIT, result("You're out of extra usage · resets 9pm (UTC)")], "rate-limited", RESET),
    ("an organisation", [INIT, result("Your org is out of usage · contact your admin")], "rate-limited", None),
    ("overloaded", [INIT, result("API Error: 529 Overloaded", api_error_status=529)], "overloaded", None),
    ("overloaded, by its text", [INIT, result('API Error: 529 {"type":"overloaded_error"}')], "overloaded", None),
    ("a server error", [INIT, spoke("API Error", "server_error"), result("API Error: 500")], "overloaded", None),
    ("no login", [INIT, result("Not logged in · Please run /login")], "authentication", None),
    ("no credit", [INIT, spoke("x", "billing_error"), result("Credit balance is too low")], "authentication", None),
    ("a limit that had passed", [INIT, rejected(), spoke("going on"), result("", subtype="e")], "failed", None),
    ("only warned", [INIT, {**rejected(), "rate_limit_info": {"status": "allowed_warning"}}], "failed", None),
    ("speaks of limits, is killed", [INIT, spoke(TALK)], "failed", None),
    ("speaks of limits, out of turns", [INIT, spoke(TALK), result("", subtype="error_max_turns")], "failed", None),
    ("speaks of limits, exit 1", [INIT, spoke(TALK), result(TALK, is_error=False)], "failed", None),
    ("a bad request that quotes", [INIT, result(f"API Error: 400 {TALK}", api_error_status=400)], "failed", None),
]


@pytest.mark.parametrize(("events", "kind", "reset"), [row[1:] for row in CLAUDE], ids=[row[0] for row in CLAUDE])
def test_claudes_limits_are_waited_out_and_nothing_else_is(
    events: list[dict[str, Any]], kind: str, reset: float | None, tmp_path: Path
) -> None:
    outcome = ended("claude", tmp_path, *events, stderr=TALK)
    assert (outcome.ok, outcome.kind, outcome.reset_at) == (False, kind, reset)
    assert outcome.error


CURLY = "You’ve hit your usage limit. Upgrade to Pro (https://chatgpt.com/explore/pro) or try again"
CODEX: list[tuple[str, str, float | None]] = [
    (f"{CURLY} at Jul 1st, 2026 9:00 PM.", "rate-limited", None),
    (f"{CURLY} in 3 hours 2 minutes.", "rate-limited", NOW + 3 * 3600 + 120),
    ("You've hit your usage limit. Try again in 20s.", "rate-limited", NOW + 20),
    ("exceeded retry limit, last status: 429 Too Many Requests, request id: 500-a", "rate-limited", None),
    ("stream disconnected before completion: Rate limit reached for gpt-5. Please try again in 11.5s. Visit", "", 11.5),
    ("Quota exceeded. Check your plan and billing details.", "rate-limited", None),
    ("Your workspace is out of credits. Add credits to continue.", "rate-limited", None),
    ("exceeded retry limit, last status: 503 Service Unavailable", "overloaded", None),
    ("We’re currently experiencing high demand, which may cause temporary errors.", "overloaded", None),
    ("Selected model is at capacity. Please try a different model.", "overloaded", None),
    ("unexpected status 401 Unauthorized: Incorrect API key provided., url: http://x:500/v1", "authentication", None),
    ("Your access token could not be refreshed. Please log out and sign in again.", "authentication", None),
    ("To use Codex with your ChatGPT plan, upgrade to Plus: https://chatgpt.com", "authentication", None),
    ("Codex ran out of room in the model's context window. Start a new thread", "failed", None),
    (f"unexpected status 400 Bad Request: {TALK}", "failed", None),
]


@pytest.mark.parametrize(("error", "kind", "reset"), CODEX)
def test_codexs_limits_are_waited_out_and_nothing_else_is(
    error: str, kind: str, reset: float | None, tmp_path: Path
) -> None:
    said = {"type": "item.completed", "item": {"type": "agent_message", "text": TALK}}
    failed = {"type": "turn.failed", "error": {"message": error}}
    outcome = ended("codex", tmp_path, {"type": "thread.started", "thread_id": "t"}, said, failed, stderr=TALK)
    assert outcome.kind == (kind or "rate-limited")
    if "Jul" in error:  # by the machine's clock
        assert outcome.reset_at == datetime(2026, 7, 1, 21, 0).timestamp()
    else:
        assert outcome.reset_at == (NOW + reset if reset and reset < NOW else reset)


def test_a_limit_that_codex_came_through_is_not_the_reason_of_its_end(tmp_path: Path) -> None:
    limited = {"type": "error", "message": "Reconnecting... 1/5 (exceeded retry limit, last status: 429)"}
    going_on = {"type": "item.completed", "item": {"type": "command_execution", "command": "true"}}
    assert ended("codex", tmp_path, limited).kind == "rate-limited"
    assert ended("codex", tmp_path, limited, going_on, exit_code=None, signal=9).kind == "failed"


def gemini(message: str, stderr: str = "", exit_code: int = 1) -> tuple[list[dict[str, Any]], str, int]:
    events: list[dict[str, Any]] = [{"type": "init"}, {"type": "message", "role": "user", "content": TALK}]
    if message:
        events.append({"type": "result", "status": "error", "error": {"type": "unknown", "message": message}})
    return events, stderr, exit_code


QUOTA = "Error when talking to Gemini API Full report available at: /tmp/x.json TerminalQuotaError: "
GEMINI = [
    (gemini("[API Error: You have exhausted your daily quota on this model.]"), "rate-limited", None),
    (gemini("[API Error: Please retry in 12h3m20s.]", exit_code=173), "rate-limited", NOW + 43_400),
    (gemini("", f"{QUOTA}You have exhausted your capacity. Your quota will reset after 1h0m0s."), "", RESET),
    (gemini("[API Error: quota]", f"{QUOTA}x\n  retryDelayMs: 3600000,\n"), "rate-limited", RESET),
    (gemini("daily quota", "Attempt 1 failed: Your quota will reset after 5s.. Retrying after 6173ms...\n"), "", None),
    (gemini('[API Error: {"error":{"code":429,"details":[{"retryDelay":"20s"}]}}]', "", 173), "", NOW + 20),
    (gemini("x", f"{QUOTA}No capacity available\n  reason: 'MODEL_CAPACITY_EXHAUSTED',", 173), "overloaded", None),
    (gemini("[API Error: The model is overloaded. Please try again later.]"), "overloaded", None),
    (gemini("x", exit_code=503 % 256), "overloaded", None),
    (gemini("API key not valid. Please pass a valid API key."), "authentication", None),
    (gemini("x", exit_code=41), "authentication", None),
    (gemini("Reached max session turns", f"Error executing tool run_shell_command: {TALK}"), "failed", None),
    (gemini("", f"Error executing tool run_shell_command: {TALK}", exit_code=53), "failed", None),
]


@pytest.mark.parametrize(("run", "kind", "reset"), GEMINI)
def test_geminis_limits_are_waited_out_and_nothing_else_is(
    run: tuple[list[dict[str, Any]], str, int], kind: str, reset: float | None, tmp_path: Path
) -> None:
    events, stderr, exit_code = run
    outcome = ended("gemini", tmp_path, *events, stderr=stderr, exit_code=exit_code)
    assert (outcome.kind, outcome.reset_at) == (kind or "rate-limited", reset)


def api_error(message: str, status: int | None = None, body: str = "", **headers: str) -> dict[str, Any]:
    data = {"message": message, "statusCode": status, "responseBody": body, "responseHeaders": headers}
    return {"type": "error", "sessionID": "s", "error": {"name": "APIError", "data": data}}


OPENCODE: list[tuple[dict[str, Any], str, float | None]] = [
    (api_error("The usage limit has been reached", 429, f'{{"error": {{"resets_at": {RESET:.0f}}}}}'), "", RESET),
    (api_error("Rate limit exceeded", 429, **{"retry-after": "20"}), "rate-limited", NOW + 20),
    (api_error("Weekly usage limit reached. It will reset in 1 hour. To continue", 429), "rate-limited", RESET),
    (api_error("Free usage exceeded, subscribe to Go"), "rate-limited", None),
    (api_error("Provider is overloaded", 529), "overloaded", None),
    (api_error("Internal Server Error", 500), "overloaded", None),
    (api_error("Provider is overloaded"), "overloaded", None),
    (api_error("Insufficient balance", 402), "authentication", None),
    (api_error("Forbidden", 403), "authentication", None),
    ({"type": "error", "sessionID": "s", "error": {"name": "ProviderAuthError", "data": {}}}, "authentication", None),
    (api_error(f"Bad request: {TALK}", 400), "failed", None),
    ({"type": "error", "sessionID": "s", "error": {"name": "MessageAbortedError"}}, "failed", None),
    ({"type": "error", "sessionID": "s", "error": "x"}, "failed", None),
]


@pytest.mark.parametrize(("error", "kind", "reset"), OPENCODE)
def test_opencodes_limits_are_waited_out_and_nothing_else_is(
    error: dict[str, Any], kind: str, reset: float | None, tmp_path: Path
) -> None:
    said = {"type": "text", "sessionID": "s", "part": {"type": "text", "text": TALK}}
    outcome = ended("opencode", tmp_path, said, error, stderr=TALK)
    assert (outcome.kind, outcome.reset_at) == (kind or "rate-limited", reset)
    assert outcome.summary.startswith("I handle HTTP 429")


def logged(second: int, said: str, aside: bool = False) -> str:
    return (
        f'timestamp=2026-06-29T20:00:{second:02}.306Z level=ERROR run=1 message="stream error" providerID=p modelID=m '
        f"session.id=s small={'true' if aside else 'false'} agent=build mode=primary "
        f'error.error="AI_APICallError: {said}"\n'
    )


def test_a_limit_that_opencode_sits_out_until_it_is_ended_is_one(tmp_path: Path) -> None:
    """It waits for as long as the service says, without an event."""
    began = {"type": "step_start", "sessionID": "s", "timestamp": (NOW + 5) * 1000}
    limited = logged(7, "The usage limit has been reached")
    outcome = ended("opencode", tmp_path, began, stderr=limited, exit_code=None, signal=15)
    assert (outcome.kind, outcome.error) == (
        "rate-limited",
        "opencode's limit is reached: The usage limit has been reached",
    )
    for passed in (logged(3, "The usage limit has been reached"), logged(7, "Rate limit exceeded", aside=True)):
        assert ended("opencode", tmp_path, began, stderr=passed, exit_code=None, signal=15).kind == "failed"


@pytest.mark.parametrize("kind", ["claude", "codex", "gemini", "opencode", "command"])
@pytest.mark.parametrize(
    ("line", "limited", "reset"),
    [
        ("Claude AI usage limit reached|{reset}", "rate-limited", RESET),
        ("Error: 429 Too Many Requests\nretry-after: 3600", "rate-limited", RESET),
        ("litellm.RateLimitError: rate limit exceeded, please try again in 1 hour", "rate-limited", RESET),
        ("openai.RateLimitError: Error code: 429", "rate-limited", None),
        ('{{"type":"error","error":{{"type":"overloaded_error"}}}}', "overloaded", None),
    ],
)
def test_a_program_that_tells_nothing_in_order_is_searched_to_its_first_line(
    kind: AgentKind, line: str, limited: str, reset: float | None, tmp_path: Path
) -> None:
    line = line.format(reset=int(RESET))
    if kind != "command" and line.startswith("{"):
        line = f"API: {line}"
    noise = "compiling module 12345 of 67890, nothing to see here\n" * 20_000
    text = f"{line}\n{noise}"
    for outcome in (ended(kind, tmp_path, plain=text), ended(kind, tmp_path, stderr=text)):
        assert (outcome.ok, outcome.kind, outcome.reset_at) == (False, limited, reset)
        assert outcome.error
        assert "agent.sh" in outcome.error or kind in outcome.error


@pytest.mark.parametrize(
    ("kind", "events"),
    [
        ("claude", [INIT, spoke(TALK), result(TALK, is_error=False)]),
        (
            "codex",
            [{"type": "item.completed", "item": {"type": "agent_message", "text": TALK}}, {"type": "turn.completed"}],
        ),
        (
            "gemini",
            [{"type": "message", "role": "assistant", "content": TALK}, {"type": "result", "status": "success"}],
        ),
        ("opencode", [{"type": "text", "part": {"text": TALK}}, {"type": "step_finish", "part": {"reason": "stop"}}]),
        ("command", []),
    ],
)
def test_a_run_that_went_well_may_speak_of_limits(
    kind: AgentKind, events: list[dict[str, Any]], tmp_path: Path
) -> None:
    outcome = ended(kind, tmp_path, *events, plain=f"{TALK}\n", stderr=TALK, exit_code=0)
    assert (outcome.ok, outcome.kind, outcome.error, outcome.reset_at) == (True, "done", None, None)


def test_what_an_agent_in_a_script_read_and_said_is_not_the_scripts_error(tmp_path: Path) -> None:
    quoted = [spoke(TALK), {"type": "user", "message": {"content": TALK}}, result(TALK, is_error=False)]
    assert ended("command", tmp_path, *quoted).kind == "failed"
    limited = result(f"Claude AI usage limit reached|{RESET:.0f}")
    assert ended("command", tmp_path, *quoted, limited).reset_at == RESET


def test_tests_that_fail_are_no_limit(tmp_path: Path) -> None:
    said = "FAILED tests/test_rate_limit.py::test_429 - assert 500 == 429\n1 failed, 529 passed\nlimit: 3, quota: 7\n"
    assert ended("command", tmp_path, plain=said, stderr=said).kind == "failed"
