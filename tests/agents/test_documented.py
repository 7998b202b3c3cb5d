"""The agents that docs/agents.md defines, each driven against a program that prints what the real one prints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.agents import AgentOutcome, AgentSpec, command_line, read_outcome, resolve
from beatctl.activities.agents.definition import AgentTables
from beatctl.cli import agent_tables
from tests.agents.test_resolve import program

PAGE = Path(__file__).parents[2] / "docs" / "agents.md"
BLOCKS = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
PROMPT = "lower n\nand no more"


def tables() -> AgentTables:
    """All of the page's, as they would stand in one file."""
    text = "\n".join(BLOCKS)
    return agent_tables.checked(tomllib.loads(text)["agents"], text, "docs/agents.md")


def lines(*events: dict[str, Any]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def mini(status: str) -> str:
    info = {"exit_status": status, "submission": "lowered n" if status == "Submitted" else "", "mini_version": "2.4.6"}
    more = {
        "model_stats": {"instance_cost": 0.05, "api_calls": 3},
        "config": {"model": {"model_name": "openai/gpt-5.5"}},
    }
    return json.dumps({"info": info | more, "messages": [], "trajectory_format": "mini-swe-agent-1.1"}, indent=2)


QWEN = (
    {"type": "system", "subtype": "init", "session_id": "s-1", "model": "qwen3-coder-plus"},
    {"type": "assistant", "message": {"content": [{"type": "text", "text": "on it"}]}},
)
USED = {"input_tokens": 900, "cache_read_input_tokens": 300, "output_tokens": 100}
COPILOT = (
    {"type": "assistant.message", "data": {"content": "lowered n", "outputTokens": 45, "toolRequests": []}},
    {"type": "assistant.message", "data": {"content": "", "toolRequests": [{"name": "bash"}]}},
)
AIDER = """\
Aider v0.86.1
Model: gpt-4o with diff edit format
lowered n
Tokens: 3.2k sent, 1.2k cache hit, 125 received. Cost: $0.01 message, $0.01 session.
Applied edit to n
Tokens: 4k sent, 75 received. Cost: $0.01 message, $0.02 session.
"""

PRINTED = {
    "qwen": lines(
        *QWEN, {"type": "result", "is_error": False, "result": "lowered n", "session_id": "s-1", "usage": USED}
    ),
    "copilot": lines(*COPILOT, {"type": "result", "sessionId": "c-1", "exitCode": 0, "usage": {"premiumRequests": 1}}),
    "mini": "mini-swe-agent (step 3, $0.05)\n",
    "aider": AIDER,
}
"""What each prints when all went well."""

OUTCOMES: dict[str, dict[str, Any]] = {
    "qwen": {"session_id": "s-1", "model": "qwen3-coder-plus", "tokens": 1000, "cost_usd": None},
    "copilot": {"session_id": "c-1", "tokens": None, "cost_usd": None},
    "mini": {"version": "2.4.6", "model": "openai/gpt-5.5", "cost_usd": 0.05},
    "aider": {"tokens": 7400, "cost_usd": 0.02},
}

FAILED = [
    ("qwen", 0, lines(*QWEN, {"type": "result", "is_error": True, "error": {"message": "too long"}}), "failed"),
    ("qwen", 1, "API Error: 429 You exceeded your current quota\n", "rate-limited"),
    ("qwen", 0, lines(*QWEN), "failed"),
    ("copilot", 0, lines({"type": "result", "exitCode": 1}), "failed"),
    ("copilot", 1, "Error: No authentication information found.\n", "authentication"),
    ("aider", 0, "litellm.AuthenticationError: AuthenticationError: OpenAIException\n", "authentication"),
    ("aider", 0, "litellm.RateLimitError: gave up\n", "rate-limited"),
    ("aider", 1, "", "failed"),
]


def run(name: str, folder: Path, printed: str, *, exits: int = 0, file: str = "", **asked: Any) -> AgentOutcome:
    """One run of the page's agent; a program of its name prints, and notes its arguments and standard input."""
    agent = stand_in(name, folder, printed, exits=exits, file=file, **asked)
    prompt_file, message = folder / "prompt.md", folder / "out.json"
    prompt_file.write_text(PROMPT)
    made = command_line(agent, PROMPT, prompt_file, last_message_file=message, session=asked.get("session"))
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        stdin = Path(made.stdin).open("rb") if made.stdin else subprocess.DEVNULL  # noqa: SIM115
        done = subprocess.run(made.argv, stdin=stdin, stdout=out, stderr=err, env={**os.environ, **made.environment})
    return read_outcome(agent, folder / "stdout", folder / "stderr", done.returncode, None, message)


def stand_in(name: str, folder: Path, printed: str, *, exits: int, file: str, **asked: Any) -> AgentSpec:
    definition = tables().defined[name]
    (folder / "printed").write_text(printed)
    (folder / "file").write_text(file)
    place = definition.command[0]
    body = f'printf "%s\\0" "$@" > {folder}/argv\n'
    body += f'case "$1" in --version) echo 1.2.3; exit;; esac\ncat {folder}/printed\n'
    if file:
        body += f'while [ "$1" != -o ]; do shift; done\ncp {folder}/file "$2"\n'
    program(folder / "bin" / place, f"{body}exit {exits}")
    environ = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    asked = {key: value for key, value in asked.items() if key != "session"}
    return resolve(name, environ, tables=tables(), allowed_commands=["npm test | tail -1"], **asked)


def argv(folder: Path) -> list[str]:
    return (folder / "argv").read_text().split("\0")[:-1]


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_a_documented_agents_run_is_told_as_it_went(name: str, place: Path) -> None:
    outcome = run(name, place, PRINTED[name], file=mini("Submitted") if name == "mini" else "")
    assert (outcome.ok, outcome.kind, outcome.error) == (True, "done", None)
    assert outcome.summary == "lowered n"
    assert {key: getattr(outcome, key) for key in OUTCOMES[name]} == OUTCOMES[name]
    told = " ".join(argv(place))
    assert PROMPT in told or str(place / "prompt.md") in told


@pytest.mark.parametrize(("name", "exits", "printed", "kind"), FAILED)
def test_what_a_documented_agent_says_of_a_failure_is_never_taken_for_success(
    name: str, exits: int, printed: str, kind: str, place: Path
) -> None:
    outcome = run(name, place, printed, exits=exits)
    assert (outcome.ok, outcome.kind) == (False, kind)
    assert outcome.error is not None
    assert outcome.error.startswith(name)


@pytest.mark.parametrize("file", [mini("LimitsExceeded"), "{", ""])
def test_exit_0_of_mini_swe_agent_is_no_success_without_its_word_for_it(file: str, place: Path) -> None:
    outcome = run("mini", place, PRINTED["mini"], file=file or "\n")
    assert (outcome.ok, outcome.kind) == (False, "failed")
    assert ("LimitsExceeded" in (outcome.error or "")) == ("Limits" in file)


def test_model_permissions_session_and_arguments_reach_the_program(place: Path) -> None:
    run("qwen", place, PRINTED["qwen"], model="qwen3-max", args=["--debug"], session="s-0")
    given = argv(place)
    assert given[given.index("--model") + 1] == "qwen3-max"
    assert given[given.index("--resume") + 1] == "s-0"
    assert [word for word in given if word.startswith("run_shell")] == [
        "run_shell_command(npm test)",
        "run_shell_command(tail -1)",
    ]
    assert "--yolo" not in given
    assert given[-1] == "--debug"
    run("copilot", place, PRINTED["copilot"], session="s-0")
    assert [word for word in argv(place) if word.startswith(("shell", "--resume"))] == [
        "shell(npm:*)",
        "shell(tail:*)",
        "--resume=s-0",
    ]
    run("qwen", place, PRINTED["qwen"], permissions="full")
    assert argv(place)[3:] == ["--yolo"]


def test_the_page_has_an_example_of_each_agent_it_promises() -> None:
    assert set(tables().defined) == {"aider", "qwen", "copilot", "mini"}
    assert set(PRINTED) == set(tables().defined)
    assert tables().known["codex"].args == ["-c", "model_reasoning_effort=high"]
