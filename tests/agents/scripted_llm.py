"""A language model that follows a script, on a loopback port: what claude, codex, gemini and opencode talk to in tests.

It speaks Anthropic Messages, OpenAI Responses and Chat Completions, and Gemini generateContent. Its first turn asks for
one shell command, which the agent really runs; once it is given a tool's result it ends with a sentence.

    python tests/agents/scripted_llm.py --outcome ok --command 'echo hello > made.txt'

prints the port it listens on, and serves until it is ended.
"""

from __future__ import annotations

import argparse
import itertools
import json
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, cast

Outcome = Literal["ok", "loop", "429", "401", "529", "500", "hang"]
Json = dict[str, Any]

DEFAULT_COMMAND = "echo hello > made-by-agent.txt"
LAST_WORDS = "Done: ran the command."
RESET_IN_S = 3600


@dataclass
class Script:
    """What the model does."""

    outcome: Outcome = "ok"
    """`loop`: asks for the command again and again; a number: answers with that HTTP error; `hang`: never answers."""
    command: str = DEFAULT_COMMAND
    last_words: str = LAST_WORDS
    calls: list[tuple[str, Json]] = field(default_factory=list)
    """What it asks for, one a turn: the end of a tool's name, and its arguments. It asks for the command until that
    tool is there."""
    reset_at: int = 0
    """Unix seconds at which a 429 ends; 0: an hour from now."""
    prompts: list[Json] = field(default_factory=list)
    """Each request's body, for tests to look at."""
    turns: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    ended: threading.Event = field(default_factory=threading.Event)

    def asks_for_tool(self, has_result: bool) -> bool:
        return self.outcome == "loop" or not has_result or bool(self.calls)

    def call(self, tools: Iterable[object]) -> tuple[str, Json] | None:
        """The next tool to ask for, where it is there: programs may begin before their servers have."""
        found = next((str(tool) for tool in tools if self.calls and str(tool).endswith(self.calls[0][0])), None)
        return (found, self.calls.pop(0)[1]) if found is not None else None


def anthropic(script: Script, body: Json) -> Json | list[Json]:
    """Anthropic Messages: one answer, as events when asked to stream."""
    turn = next(script.turns)
    tools = {tool.get("name") for tool in body.get("tools", [])}
    content = body["messages"][-1]["content"]
    has_result = isinstance(content, list) and any(block.get("type") == "tool_result" for block in content)
    usage = {"input_tokens": 100, "output_tokens": 1, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 50}
    message = {"id": f"msg_{turn:04d}", "type": "message", "role": "assistant", "model": body["model"]}
    if not body.get("stream"):
        block: Json = {"type": "text", "text": "ok"}
        return message | {"content": [block], "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}
    command = {"command": script.command, "description": "Run the command"}
    shell = ("Bash", command) if "Bash" in tools and script.asks_for_tool(has_result) else None
    call = script.call(tools) or shell
    if call is not None:
        block = {"type": "tool_use", "id": f"toolu_{turn:04d}", "name": call[0], "input": {}}
        asked = json.dumps(call[1])
        delta, stop = {"type": "input_json_delta", "partial_json": asked}, "tool_use"
    else:
        block = {"type": "text", "text": ""}
        delta, stop = {"type": "text_delta", "text": script.last_words}, "end_turn"
    start = message | {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    return [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": None},
            "usage": {"output_tokens": 20},
        },
        {"type": "message_stop"},
    ]


def responses(script: Script, body: Json) -> list[Json]:
    """OpenAI Responses, streamed."""
    turn = next(script.turns)
    tools = [tool.get("name") or tool.get("type") for tool in body.get("tools", [])]
    given = [item for item in body.get("input", []) if isinstance(item, dict)]
    has_result = any(item.get("type", "").endswith("call_output") for item in given)
    arguments: dict[str, Json] = {
        "exec_command": {"cmd": script.command},
        "shell_command": {"command": script.command},
        "shell": {"command": ["bash", "-c", script.command]},
    }
    tool = next((name for name in arguments if name in tools), None)
    shell = (tool, arguments[tool]) if tool and script.asks_for_tool(has_result) else None
    spaces = {one["name"]: tool["name"] for tool in body.get("tools", []) for one in tool.get("tools", [])}
    call = script.call([*tools, *spaces]) or shell
    if call is not None:
        item: Json = {"type": "function_call", "id": f"fc_{turn}", "call_id": f"call_{turn}", "name": call[0]}
        item |= {"arguments": json.dumps(call[1])} | ({"namespace": spaces[call[0]]} if call[0] in spaces else {})
    else:
        words = {"type": "output_text", "text": script.last_words, "annotations": []}
        item = {"type": "message", "id": f"m_{turn}", "role": "assistant", "status": "completed", "content": [words]}
    usage = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 50},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 120,
    }
    response = {"id": f"resp_{turn}", "status": "in_progress"}
    return [
        {"type": "response.created", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {
            "type": "response.completed",
            "response": response | {"status": "completed", "output": [item], "usage": usage},
        },
    ]


def chat(script: Script, body: Json) -> Json | list[Json]:
    """OpenAI Chat Completions."""
    turn = next(script.turns)
    tools = {tool["function"]["name"] for tool in body.get("tools", []) if "function" in tool}
    has_result = any(message.get("role") == "tool" for message in body["messages"])
    tool = next((name for name in ("bash", "run_shell_command", "shell") if name in tools), None)
    if tool and script.asks_for_tool(has_result):
        call = {"name": tool, "arguments": json.dumps({"command": script.command, "description": "Run the command"})}
        calls = [{"index": 0, "id": f"call_{turn}", "type": "function", "function": call}]
        message: Json = {"role": "assistant", "content": None, "tool_calls": calls}
        finish = "tool_calls"
    else:
        message, finish = {"role": "assistant", "content": script.last_words}, "stop"
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    base = {"id": f"chatcmpl-{turn}", "created": int(time.time()), "model": body.get("model", "scripted")}
    if not body.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return base | {"object": "chat.completion", "choices": [choice], "usage": usage}
    chunk = base | {"object": "chat.completion.chunk"}
    return [
        chunk | {"choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        chunk | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}], "usage": usage},
    ]


def gemini(script: Script, body: Json) -> Json:
    """Gemini generateContent."""
    next(script.turns)
    tools = {f["name"] for tool in body.get("tools", []) for f in tool.get("functionDeclarations", [])}
    parts = [part for content in body.get("contents", []) for part in content.get("parts", [])]
    has_result = any("functionResponse" in part for part in parts)
    command = {"command": script.command, "description": "Run the command"}
    asks = "run_shell_command" in tools and script.asks_for_tool(has_result)
    call = script.call(tools) or (("run_shell_command", command) if asks else None)
    if call is not None:
        answer: Json = {"functionCall": {"name": call[0], "args": call[1]}}
    else:
        answer = {"text": script.last_words}
    usage = {
        "promptTokenCount": 100,
        "candidatesTokenCount": 20,
        "totalTokenCount": 120,
        "cachedContentTokenCount": 50,
    }
    candidate = {"content": {"role": "model", "parts": [answer]}, "finishReason": "STOP", "index": 0}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "scripted"}


def refusal(script: Script, path: str) -> tuple[Json, dict[str, str]]:
    """Body and headers of an HTTP error, as each vendor words it."""
    code = int(script.outcome)
    reset = script.reset_at or int(time.time()) + RESET_IN_S
    if "/messages" in path:
        kinds = {429: "rate_limit_error", 401: "authentication_error", 529: "overloaded_error", 500: "api_error"}
        words = {429: "This request would exceed your account's rate limit. Please try again later."}
        words |= {401: "invalid x-api-key", 529: "Overloaded", 500: "Internal server error"}
        headers = {
            "retry-after": str(RESET_IN_S),
            "anthropic-ratelimit-unified-status": "rejected",
            "anthropic-ratelimit-unified-reset": str(reset),
            "anthropic-ratelimit-unified-representative-claim": "five_hour",
            "x-should-retry": "false",
        }
        error = {"type": kinds[code], "message": words[code]}
        return {"type": "error", "error": error}, headers if code == 429 else {}
    if "enerateContent" in path:
        if code == 401:
            words_401 = "API key not valid. Please pass a valid API key."
            return {"error": {"code": 401, "message": words_401, "status": "UNAUTHENTICATED"}}, {}
        if code != 429:
            return {"error": {"code": code, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}, {}
        quota = {"quotaMetric": "m", "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}
        details = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [quota]}
        words_429 = "You exceeded your current quota, please check your plan and billing details."
        error_429 = {"code": 429, "message": words_429, "status": "RESOURCE_EXHAUSTED", "details": [details]}
        return {"error": error_429}, {}
    if code == 401:
        return {"error": {"type": "invalid_request_error", "message": "Incorrect API key provided."}}, {}
    if code == 429:
        error = {"type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": "plus"}
        return {"error": error | {"resets_at": reset, "resets_in_seconds": RESET_IN_S}}, {}
    return {"error": {"type": "server_error", "message": "The server had an error."}}, {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def log_message(self, format: str, *args: object) -> None:
        """Silence: what a test needs to know is in `Script.prompts`."""

    def _send(
        self, code: int, body: bytes, kind: str = "application/json", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(code)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self._send(200, b"", "text/plain")

    def do_GET(self) -> None:
        self._send(404, b'{"error":{"message":"not here"}}')

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            body = cast(Json, json.loads(raw))
        except ValueError:
            body = {}
        path = self.path.partition("?")[0].rstrip("/")
        self.script.prompts.append(body)
        if self.script.outcome == "hang":
            self.script.ended.wait()
            return
        if self.script.outcome.isdigit():
            error, headers = refusal(self.script, path)
            self._send(int(self.script.outcome), json.dumps(error).encode(), headers=headers)
            return
        if path.endswith(("count_tokens", "countTokens")):
            self._send(200, b'{"input_tokens": 10, "totalTokens": 10}')
            return
        answer: Json | list[Json]
        if path.endswith("/messages"):
            answer = anthropic(self.script, body)
        elif path.endswith("/chat/completions"):
            answer = chat(self.script, body)
        elif path.endswith("/responses"):
            answer = responses(self.script, body)
        elif "enerateContent" in path:
            answer = gemini(self.script, body)
            answer = [answer] if "stream" in path else answer
        else:
            self._send(404, b'{"error":{"message":"no such route"}}')
            return
        if isinstance(answer, list):
            self._send(200, b"".join(map(_event, answer)), "text/event-stream")
        else:
            self._send(200, json.dumps(answer).encode())


def _event(data: Json) -> bytes:
    name = f"event: {data['type']}\n" if "type" in data else ""
    return f"{name}data: {json.dumps(data)}\n\n".encode()


@contextmanager
def serve(script: Script) -> Iterator[str]:
    """The model, listening; yields its address, `http://127.0.0.1:PORT`."""
    handler = type("Handler", (_Handler,), {"script": script})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        script.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outcome", default="ok", choices=["ok", "loop", "429", "401", "529", "500", "hang"])
    parser.add_argument("--command", default=DEFAULT_COMMAND, help="the shell command the first turn asks for")
    parser.add_argument("--last-words", default=LAST_WORDS)
    given = parser.parse_args()
    with serve(Script(given.outcome, given.command, given.last_words)) as address:
        print(address.rpartition(":")[2], flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
