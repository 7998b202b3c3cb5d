"""The scripted model speaks each vendor's dialect; tests of the agents rest on it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.agents import scripted_llm as module
from tests.agents.dialects import NOT_YET, Json, Shell, Tool
from tests.agents.scripted_llm import Limit, Outcome, Script
from tests.support import wait_until

Serve = Callable[[Script], str]
TOOLS: dict[str, list[Any]] = {
    "/v1/messages": [{"name": "Bash"}],
    "/v1/responses": [{"name": "exec_command"}],
    "/v1/chat/completions": [{"function": {"name": "bash"}}],
    "/v1beta/models/m:generateContent": [{"functionDeclarations": [{"name": "run_shell_command"}]}],
}
RESULTS: dict[str, dict[str, Any]] = {
    "/v1/messages": {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]},
    "/v1/responses": {"input": [{"type": "function_call_output"}]},
    "/v1/chat/completions": {"messages": [{"role": "tool"}]},
    "/v1beta/models/m:generateContent": {"contents": [{"parts": [{"functionResponse": {}}]}]},
}


def ask(address: str, path: str, **body: Any) -> str:
    first = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "go"}], "tools": TOOLS[path]}
    request = urllib.request.Request(address + path, json.dumps(first | body).encode())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        text: str = answer.read().decode()
    return text


@pytest.mark.parametrize("path", TOOLS)
def test_it_asks_for_the_command_and_then_ends(path: str, scripted_llm: Serve) -> None:
    script = Script(command="make score", last_words="All done.")
    address = scripted_llm(script)
    assert "make score" in ask(address, path)
    end = ask(address, path, **RESULTS[path])
    assert "All done." in end
    assert "make score" not in end
    assert [prompt["model"] for prompt in script.prompts] == ["m", "m"]


@pytest.mark.parametrize("path", TOOLS)
@pytest.mark.parametrize("outcome", ["429", "401", "529", "500"])
def test_it_refuses_as_it_is_told_to(outcome: Outcome, path: str, scripted_llm: Serve) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        ask(scripted_llm(Script(outcome)), path)
    with raised.value as error:
        assert error.code == int(outcome)
        assert json.loads(error.read())["error"]["message"]


@pytest.mark.parametrize("path", TOOLS)
def test_each_run_has_turns_and_last_words_of_its_own(path: str, scripted_llm: Serve) -> None:
    runs = [[Shell("first")], [Shell("second")]]
    address = scripted_llm(Script(runs=runs, last_words=lambda results: f"{len(results)} done"))
    for command in ("first", "second", "second"):
        assert command in ask(address, path)
        assert "1 done" in ask(address, path, **RESULTS[path])


def test_a_servers_tool_is_asked_for_once_it_is_there(scripted_llm: Serve) -> None:
    wait = Tool("beatctl", "wait_for_loop", lambda results: {"loop": results[0]})
    script = Script(runs=[[Tool("beatctl", "start_loop", {}), wait]], last_words=lambda results: f"{results[1]}!")
    address, path = scripted_llm(script), "/v1/messages"
    told: list[Json] = [{"role": "user", "content": "go"}]

    def ask_with(*tools: str) -> str:
        return ask(address, path, messages=told, tools=[{"name": name} for name in ("Bash", *tools)])

    assert "sleep" in ask_with("mcp__other__start_loop")
    told.append({"role": "user", "content": [{"type": "tool_result", "content": NOT_YET}]})
    there = ("mcp__beatctl__start_loop", "mcp__beatctl__wait_for_loop")
    assert "mcp__beatctl__start_loop" in ask_with(*there)
    told.append({"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "k3f9"}]}]})
    assert "k3f9" in ask_with(*there)
    told.append({"role": "user", "content": [{"type": "tool_result", "content": "ended"}]})
    assert "ended!" in ask_with(*there)


def test_a_limit_begins_with_its_run_and_is_really_over_at_the_reset(scripted_llm: Serve) -> None:
    script = Script(limit=Limit(run=2, lasts_s=1))
    address, path = scripted_llm(script), "/v1/messages"
    for body in ({}, RESULTS[path]):
        ask(address, path, **body)
    with pytest.raises(urllib.error.HTTPError) as raised:
        ask(address, path)
    with raised.value as error:
        assert error.headers["anthropic-ratelimit-unified-reset"] == str(script.reset_at)
    wait_until(lambda: time.time() >= script.reset_at, "the reset")
    assert script.command in ask(address, path)
    assert all(moment < script.reset_at for moment in script.refused)


def test_as_a_program_it_prints_its_port() -> None:
    words = [sys.executable, "-m", module.__name__, "--outcome", "loop", "--command", "date"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout
            address = f"http://127.0.0.1:{process.stdout.readline().strip()}"
            for _ in range(2):
                assert "date" in ask(address, "/v1/messages", **RESULTS["/v1/messages"])
        finally:
            process.terminate()
