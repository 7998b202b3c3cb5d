"""How the scripted model hears and speaks: Anthropic Messages, OpenAI Responses and Chat Completions, Gemini.

What it asks an agent for is named alike in all of them; each dialect has its agent's own tools for that.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

Json = dict[str, Any]

ASIDE = "ok"
"""The answer to what an agent asks beside its work, such as a title for the session."""


@dataclass(frozen=True)
class Shell:
    """Run a shell command."""

    command: str


@dataclass(frozen=True)
class Read:
    """Read a file; claude refuses to write one that it has not read."""

    path: str


@dataclass(frozen=True)
class Write:
    """Write a whole file."""

    path: str
    text: str


@dataclass(frozen=True)
class Tool:
    """Call a tool of an MCP server; the arguments may be made of the run's results so far."""

    server: str
    name: str
    arguments: Json | Callable[[Sequence[str]], Json]


Action = Shell | Read | Write | Tool
Next = Callable[[Sequence[str]], Action | str]
"""From the results since the user's last prompt to what comes next: something to do, or the last words."""


NOT_YET = "the tool is not there yet"


def _what(script: Next, results: Sequence[str], tools: Iterable[object]) -> Action | str:
    """What comes next, a tool by the name it has among `tools`. Until it is there the agent has to wait: programs begin
    before their MCP servers have."""
    done = [result for result in results if NOT_YET not in result]
    answer = script(done)
    if not isinstance(answer, Tool):
        return answer
    name = re.compile(rf"(mcp_+)?{answer.server}_+{answer.name}")
    found = next((str(tool) for tool in tools if name.fullmatch(str(tool))), None)
    arguments = answer.arguments if isinstance(answer.arguments, dict) else answer.arguments(done)
    return Tool(answer.server, found, arguments) if found else Shell(f"sleep 1; echo {NOT_YET}")


class Dialect(Protocol):
    def __call__(self, script: Next, turn: int, body: Json) -> Json | list[Json]: ...


def of(path: str) -> Dialect | None:
    """The dialect spoken at a request's path."""
    if path.endswith("/messages"):
        return anthropic
    if path.endswith("/chat/completions"):
        return chat
    if path.endswith("/responses"):
        return responses
    return gemini if "enerateContent" in path else None


def anthropic(script: Next, turn: int, body: Json) -> Json | list[Json]:
    """Anthropic Messages: one answer, as events when asked to stream."""
    tools = {tool.get("name") for tool in body.get("tools", [])}
    usage = {"input_tokens": 100, "output_tokens": 1, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 50}
    message = {"id": f"msg_{turn:04d}", "type": "message", "role": "assistant", "model": body["model"]}
    if not body.get("stream"):
        block: Json = {"type": "text", "text": ASIDE}
        return message | {"content": [block], "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}
    results: list[str] = []
    for each in reversed(body["messages"]):
        if each["role"] == "user":
            content = each["content"] if isinstance(each["content"], list) else []
            found = [_text(block.get("content")) for block in content if block.get("type") == "tool_result"]
            if not found:
                break
            results = [*found, *results]
    answer = _what(script, results, tools) if "Bash" in tools else ASIDE
    if isinstance(answer, str):
        block = {"type": "text", "text": ""}
        delta, stop = {"type": "text_delta", "text": answer}, "end_turn"
    else:
        name, given = _claude(answer)
        block = {"type": "tool_use", "id": f"toolu_{turn:04d}", "name": name, "input": {}}
        delta, stop = {"type": "input_json_delta", "partial_json": json.dumps(given)}, "tool_use"
    start = message | {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    ending = {"stop_reason": stop, "stop_sequence": None}
    return [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ending, "usage": {"output_tokens": 20}},
        {"type": "message_stop"},
    ]


def _claude(action: Action) -> tuple[str, Json]:
    match action:
        case Shell(command):
            return "Bash", {"command": command, "description": "Run the command"}
        case Read(path):
            return "Read", {"file_path": path}
        case Write(path, text):
            return "Write", {"file_path": path, "content": text}
        case Tool(_, name, arguments):
            return name, cast(Json, arguments)


def responses(script: Next, turn: int, body: Json) -> list[Json]:
    """OpenAI Responses, streamed."""
    tools = [tool.get("name") or tool.get("type") for tool in body.get("tools", [])]
    results: list[str] = []
    for given in reversed(body.get("input", [])):
        if given.get("role") == "user":
            break
        if str(given.get("type", "")).endswith("call_output"):
            results.insert(0, _text(given.get("output")))
    spaces = [f"{tool['name']}__{one['name']}" for tool in body.get("tools", []) for one in tool.get("tools", [])]
    answer = _what(script, results, spaces) if any(name in tools for name in _SHELLS) else ASIDE
    if isinstance(answer, str):
        words = {"type": "output_text", "text": answer, "annotations": []}
        item: Json = {"type": "message", "id": f"m_{turn}", "role": "assistant", "status": "completed"}
        item["content"] = [words]
    else:
        item = {
            "type": "function_call",
            "id": f"fc_{turn}",
            "call_id": f"call_{turn}",
            **_codex(answer, tools),
        }
    usage = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 50},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 120,
    }
    response = {"id": f"resp_{turn}", "status": "in_progress"}
    completed = response | {"status": "completed", "output": [item], "usage": usage}
    return [
        {"type": "response.created", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": completed},
    ]


_SHELLS: Mapping[str, Callable[[str], Json]] = {
    "exec_command": lambda command: {"cmd": command},
    "shell_command": lambda command: {"command": command},
    "shell": lambda command: {"command": ["bash", "-c", command]},
}


def _codex(action: Action, tools: Sequence[str]) -> Json:
    match action:
        case Tool(_, name, arguments):
            space, _, tool = name.rpartition("__")  # a server's tools are a namespace
            return {"namespace": space, "name": tool, "arguments": json.dumps(arguments)}
        case Shell(command):
            pass
        case Read(path):
            command = f"cat {shlex.quote(path)}"
        case Write(path, text):
            command = f"printf %s {shlex.quote(text)} > {shlex.quote(path)}"
    shell = next(name for name in _SHELLS if name in tools)
    return {"name": shell, "arguments": json.dumps(_SHELLS[shell](command))}


def chat(script: Next, turn: int, body: Json) -> Json | list[Json]:
    """OpenAI Chat Completions."""
    tools = {tool["function"]["name"] for tool in body.get("tools", []) if "function" in tool}
    results: list[str] = []
    for each in reversed(body["messages"]):
        if each["role"] == "user":
            break
        if each["role"] == "tool":
            results.insert(0, _text(each.get("content")))
    shell = next((name for name in ("bash", "run_shell_command", "shell") if name in tools), None)
    answer = _what(script, results, tools) if shell else ASIDE
    if isinstance(answer, str):
        message: Json = {"role": "assistant", "content": answer}
        finish = "stop"
    else:
        name, given = _opencode(answer, shell or "bash")
        call = {"name": name, "arguments": json.dumps(given)}
        calls = [{"index": 0, "id": f"call_{turn}", "type": "function", "function": call}]
        message, finish = {"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls"
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


def _opencode(action: Action, shell: str) -> tuple[str, Json]:
    match action:
        case Shell(command):
            return shell, {"command": command, "description": "Run the command"}
        case Read(path):
            return "read", {"filePath": path}
        case Write(path, text):
            return "write", {"filePath": path, "content": text}
        case Tool(_, name, arguments):
            return name, cast(Json, arguments)


def gemini(script: Next, turn: int, body: Json) -> Json:
    """Gemini generateContent."""
    tools = {f["name"] for tool in body.get("tools", []) for f in tool.get("functionDeclarations", [])}
    results: list[str] = []
    for content in reversed(body.get("contents", [])):
        if content.get("role") == "model":
            continue
        found = [part["functionResponse"] for part in content.get("parts", []) if "functionResponse" in part]
        if not found:
            break
        results = [*(_text(each.get("response", {}).get("output")) for each in found), *results]
    answer = _what(script, results, tools) if "run_shell_command" in tools else ASIDE
    if isinstance(answer, str):
        part: Json = {"text": answer}
    else:
        name, given = _gemini(answer)
        part = {"functionCall": {"name": name, "args": given}}
    usage = {
        "promptTokenCount": 100,
        "candidatesTokenCount": 20,
        "totalTokenCount": 120,
        "cachedContentTokenCount": 50,
    }
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "scripted"}


def _gemini(action: Action) -> tuple[str, Json]:
    match action:
        case Shell(command):
            return "run_shell_command", {"command": command, "description": "Run the command"}
        case Read(path):
            return "read_file", {"file_path": path}
        case Write(path, text):
            return "write_file", {"file_path": path, "content": text}
        case Tool(_, name, arguments):
            return name, cast(Json, arguments)


def _text(content: Any) -> str:
    """A tool's result as text: a string, or blocks of which some are text."""
    if isinstance(content, list):
        return "\n".join(str(block.get("text", "")) for block in content if isinstance(block, dict))
    return str(content or "")
