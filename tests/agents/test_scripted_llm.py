"""The scripted model speaks each vendor's dialect; tests of the agents rest on it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.agents import scripted_llm as module
from tests.agents.scripted_llm import Outcome, Script

Serve = Callable[[Script], str]
TOOLS: dict[str, list[Any]] = {
    "/v1/messages": [{"name": "Bash"}],
    "/v1/responses": [{"name": "exec_command"}],
    "/v1/chat/completions": [{"function": {"name": "bash"}}],
    "/v1beta/models/m:generateContent": [{"functionDeclarations": [{"name": "run_shell_command"}]}],
}
RESULTS: dict[str, dict[str, Any]] = {
    "/v1/messages": {"messages": [{"content": [{"type": "tool_result"}]}]},
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


def test_as_a_program_it_prints_its_port() -> None:
    words = [sys.executable, str(Path(module.__file__)), "--outcome", "loop", "--command", "date"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            address = f"http://127.0.0.1:{process.stdout.readline().strip()}"
            for _ in range(2):
                assert "date" in ask(address, "/v1/messages", **RESULTS["/v1/messages"])
        finally:
            process.terminate()
