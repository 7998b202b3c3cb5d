"""What the real programs print for each thing that can happen to them, read as beatctl reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.agents import AgentOutcome, AgentSpec, read_outcome
from beatctl.activities.agents.spec import AgentKind
from tests.agents.drive import CASES

RECORDINGS = Path(__file__).parent / "recordings"
AGENTS = ["claude", "codex", "gemini", "opencode"]
FINISHED = [f"{agent}-ok" for agent in AGENTS]
SESSION = "00000000-0000-4000-8000-000000000000"


def spec(kind: str) -> AgentSpec:
    known: dict[str, AgentKind] = {
        "claude": "claude",
        "codex": "codex",
        "gemini": "gemini",
        "opencode": "opencode",
    }
    return AgentSpec(kind=known[kind], name=kind, argv=[f"/bin/{kind}"])


def read(name: str, folder: Path = RECORDINGS) -> AgentOutcome:
    exit_code: int | None
    ended = (RECORDINGS / f"{name}.exit").read_text().split()
    exit_code, signal = (None, int(ended[1])) if ended[0] == "signal" else (int(ended[0]), None)
    agent = name.partition("-")[0]
    stdout, stderr = folder / f"{name}.stdout", folder / f"{name}.stderr"
    return read_outcome(spec(agent), stdout, stderr, exit_code, signal, folder / "last-message.txt")


@pytest.mark.parametrize("agent", AGENTS)
def test_a_finished_run_tells_its_last_words_session_and_tokens(agent: str) -> None:
    outcome = read(f"{agent}-ok")
    assert (outcome.ok, outcome.kind, outcome.error) == (True, "done", None)
    assert outcome.summary == "Done: ran the command."
    assert outcome.session_id == ("ses_1" if agent == "opencode" else SESSION)
    assert outcome.tokens == {"claude": 360, "codex": 240, "gemini": 240, "opencode": 240}[agent]
    assert sum(used.input_tokens + used.output_tokens for used in outcome.usage) == outcome.tokens
    assert all(used.input_tokens and used.output_tokens for used in outcome.usage)
    assert outcome.model == {"claude": "claude-sonnet-4-5", "gemini": "gemini-2.5-pro"}.get(agent)
    assert outcome.version == ("2.1.197" if agent == "claude" else None)


def test_what_a_run_spent_is_counted() -> None:
    outcome = read("claude-ok")
    assert outcome.cost_usd is not None
    assert 0.0005 < outcome.cost_usd < 0.1
    assert read("codex-ok").cost_usd is None
    assert read("gemini-ok").cost_usd is None
    assert read("opencode-ok").cost_usd == pytest.approx(0.00028)


@pytest.mark.parametrize("name", ["claude-429", "claude-limit", "codex-429", "gemini-429", "opencode-429"])
def test_a_rate_limit_is_never_taken_for_success(name: str) -> None:
    outcome = read(name)
    assert not outcome.ok
    assert outcome.kind == "rate-limited"
    assert outcome.error
    assert "limit" in outcome.error or "quota" in outcome.error


def test_a_subscription_limit_tells_when_it_ends() -> None:
    assert read("claude-limit").reset_at == 1767229200
    assert read("claude-429").reset_at is None
    assert read("opencode-429").reset_at == 1767229200


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("claude-401", "set ANTHROPIC_API_KEY"),
        ("claude-login", "run `claude` once"),
        ("codex-401", "run `codex login`"),
        ("codex-login", "SCRIPTED_KEY"),
        ("gemini-401", "API key not valid. Please pass a valid API key."),
        ("gemini-login", "set GEMINI_API_KEY"),
        ("opencode-401", "run `opencode auth login`"),
    ],
)
def test_an_agent_that_is_not_logged_in_says_how_to(name: str, hint: str) -> None:
    outcome = read(name)
    assert (outcome.ok, outcome.kind) == (False, "authentication")
    assert outcome.error
    assert "is not logged in" in outcome.error
    assert hint in outcome.error


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("claude-turns", "claude stopped at its limit of turns: Reached maximum number of turns (2)"),
        ("claude-command", "claude took the goal for one of its own commands: Unknown command: /fix-it"),
        ("claude-killed", "claude exited with 143 without a result"),
        ("codex-killed", "codex was ended by SIGTERM before its turn was done"),
        # Told to end, gemini exits 0.
        ("gemini-killed", "gemini exited with 0 without a result"),
        ("opencode-killed", "opencode was ended by SIGTERM before it was done"),
        ("opencode-model", "opencode failed: Model not found: scripted/no-such-model. Is --model one that"),
    ],
)
def test_a_run_that_did_not_finish_is_a_failure_with_its_reason(name: str, words: str) -> None:
    outcome = read(name)
    assert (outcome.ok, outcome.kind) == (False, "failed")
    assert outcome.error
    assert outcome.error.startswith(words)
    assert "STARTUP" not in outcome.error
    assert "Reading additional input" not in outcome.error


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("claude-529", "API Error: 529 Overloaded"),
        ("codex-500", "We’re currently experiencing high demand"),
        ("opencode-500", "The server had an error."),
    ],
)
def test_an_overloaded_service_is_no_fault_of_the_run(name: str, words: str) -> None:
    outcome = read(name)
    assert (outcome.ok, outcome.kind) == (False, "overloaded")
    assert outcome.error
    agent = name.partition("-")[0]
    assert outcome.error.startswith(f"{agent}'s service is overloaded or down: {words}")


@pytest.mark.parametrize("agent", ["claude", "gemini", "opencode"])
def test_what_was_not_allowed_is_in_the_summary(agent: str) -> None:
    outcome = read(f"{agent}-denied")
    assert outcome.ok
    assert outcome.summary == "Done: ran the command. (It was not allowed: npm install left-pad.)"


def test_every_case_has_its_recording_and_every_recording_its_case() -> None:
    assert {path.stem for path in RECORDINGS.glob("*.exit")} == set(CASES)


@pytest.mark.parametrize("name", FINISHED)
def test_a_run_cut_off_anywhere_is_not_a_success(name: str, tmp_path: Path) -> None:
    whole = (RECORDINGS / f"{name}.stdout").read_bytes()
    (tmp_path / f"{name}.stderr").write_bytes(b"")
    for end in range(0, len(whole) - 2, 7):
        (tmp_path / f"{name}.stdout").write_bytes(whole[:end])
        assert not read(name, tmp_path).ok, whole[max(0, end - 60) : end]


@pytest.mark.parametrize("name", FINISHED)
@pytest.mark.parametrize("ended", [(1, None), (143, None), (None, 9)])
def test_a_good_last_word_with_a_bad_exit_is_not_a_success(name: str, ended: tuple[int | None, int | None]) -> None:
    agent = name.partition("-")[0]
    outcome = read_outcome(spec(agent), RECORDINGS / f"{name}.stdout", RECORDINGS / "none", *ended, RECORDINGS / "none")
    assert not outcome.ok
    assert outcome.error
    assert "after saying that it was done" in outcome.error


@pytest.mark.parametrize("name", sorted(CASES))
def test_garbage_between_the_events_changes_nothing(name: str, tmp_path: Path) -> None:
    garbage = [
        b"\xff\xfe\x00 not text",
        b"{",
        b"[1, 2]",
        b"null",
        b'{"type": 7}',
        b"{" * 5000,
        b'{"type": "result"',
        b"",
    ]
    lines = (RECORDINGS / f"{name}.stdout").read_bytes().splitlines()
    mixed = b"\n".join(piece for line in lines for piece in [*garbage, line]) + b"\n" + b"\n".join(garbage)
    (tmp_path / f"{name}.stdout").write_bytes(mixed)
    (tmp_path / f"{name}.stderr").write_bytes((RECORDINGS / f"{name}.stderr").read_bytes())
    assert read(name, tmp_path) == read(name)


@pytest.mark.parametrize("name", FINISHED)
def test_fifty_megabytes_are_read_to_the_end(name: str, tmp_path: Path) -> None:
    lines = (RECORDINGS / f"{name}.stdout").read_bytes().splitlines(keepends=True)
    noise = json.dumps({"type": "user", "message": {"content": "x" * 4000}}).encode() + b"\n"
    with (tmp_path / f"{name}.stdout").open("wb") as file:
        file.writelines(lines[:-1])
        for _ in range(4_000):
            file.write(noise)
        file.write(b"y" * (34 << 20) + b"\n")  # one line longer than is held in memory
        file.write(lines[-1])
    (tmp_path / f"{name}.stderr").write_bytes(b"")
    assert read(name, tmp_path) == read(name)


@pytest.mark.parametrize("name", [*FINISHED, "claude-denied", "claude-turns", "gemini-401", "opencode-401"])
def test_no_value_of_an_unexpected_kind_is_a_crash(name: str, tmp_path: Path) -> None:
    events = [json.loads(line) for line in (RECORDINGS / f"{name}.stdout").read_text().splitlines()]
    strange: list[Any] = [None, 7, -1.5, 1e400, "text", [], [None, 3], {}, {"message": 5, "content": [1]}]
    (tmp_path / f"{name}.stderr").write_bytes(b"")
    for position, event in enumerate(events):
        for key in event:
            for value in strange:
                changed = [*events[:position], {**event, key: value}, *events[position + 1 :]]
                text = "".join(json.dumps(each) + "\n" for each in changed)
                (tmp_path / f"{name}.stdout").write_text(text)
                AgentOutcome.model_validate_json(read(name, tmp_path).model_dump_json())


@pytest.mark.parametrize("agent", AGENTS)
def test_no_output_at_all_is_a_failure(agent: str, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    for exit_code in (0, 1, None):
        outcome = read_outcome(spec(agent), nothing, nothing, exit_code, None, nothing)
        assert (outcome.ok, outcome.kind) == (False, "failed")
        assert outcome.error
    for exit_code in (126, 127):
        assert read_outcome(spec(agent), nothing, nothing, exit_code, None, nothing).kind == "missing"


def test_claude_refused_to_root_says_what_to_do(tmp_path: Path) -> None:
    said = "--dangerously-skip-permissions cannot be used with root/sudo privileges for security reasons\n"
    (tmp_path / "stderr").write_text(said)
    nothing = tmp_path / "nothing"
    outcome = read_outcome(spec("claude"), nothing, tmp_path / "stderr", 1, None, nothing)
    assert outcome.error
    assert "IS_SANDBOX=1" in outcome.error
