"""What a running agent says or does, in words: from the recordings, cut off anywhere, and from what nobody expected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.agents import saying
from beatctl.activities.agents.registry import ADAPTERS
from beatctl.activities.agents.spec import AgentKind

RECORDINGS = Path(__file__).parent / "recordings"
KINDS: dict[str, AgentKind] = {"claude": "claude", "codex": "codex", "gemini": "gemini", "opencode": "opencode"}


def said(kind: AgentKind, *events: Any) -> str:
    tail = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    return ADAPTERS[kind].saying(tail, "/work")


def claude(*blocks: dict[str, Any]) -> str:
    return said("claude", {"type": "assistant", "message": {"content": list(blocks)}})


def tool(name: str, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "name": name, "input": given}


def codex(**item: Any) -> str:
    return said("codex", {"type": "item.started", "item": item})


def gemini(name: str, **given: Any) -> str:
    return said("gemini", {"type": "tool_use", "tool_name": name, "parameters": given})


def opencode(name: str, **given: Any) -> str:
    return said("opencode", {"type": "tool_use", "part": {"tool": name, "state": {"input": given}}})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("claude-ok", ["starting, model claude-sonnet-4-5", "running echo hello > made-by-agent.txt", "Done: ran"]),
        ("claude-limit", ["starting", "its rate limit is reached", "You've hit your session limit"]),
        ("claude-529", ["starting", "the API failed (529): trying again, try 1 of 1", "API Error"]),
        ("codex-ok", ["starting", "running echo hello > made-by-agent.txt", "Done: ran the command."]),
        ("codex-429", ["starting", "You’ve hit your usage limit."]),
        ("gemini-ok", ["starting, model gemini-2.5-pro", "running echo hello > made-by-agent.txt", "Done: ran"]),
        ("opencode-ok", ["starting", "running echo hello > made-by-agent.txt", "Done: ran the command."]),
        ("opencode-401", ["Incorrect API key provided."]),
    ],
)
def test_a_person_can_follow_what_an_agent_does(name: str, words: list[str]) -> None:
    kind = KINDS[name.partition("-")[0]]
    whole = (RECORDINGS / f"{name}.stdout").read_bytes()
    seen = [ADAPTERS[kind].saying(whole[:end], "/work") for end in range(len(whole) + 1)]
    steps = [line for line, before in zip(seen, ["", *seen], strict=False) if line and line != before]
    assert len(steps) == len(words)
    for step, expected in zip(steps, words, strict=True):
        assert step.startswith(expected)


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.stdout")), ids=lambda path: path.stem)
def test_json_is_never_shown_whatever_the_run_was(path: Path) -> None:
    kind = KINDS[path.stem.partition("-")[0]]
    whole = path.read_bytes()
    for start in range(0, len(whole), 397):
        for end in range(start, len(whole), 393):
            words = ADAPTERS[kind].saying(whole[start:end], "/work")
            assert "{" not in words
            assert "\n" not in words
    assert not ADAPTERS["command"].saying(whole, "/work").startswith("{")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (claude(tool("Edit", file_path="/work/src/range.ts")), "editing src/range.ts"),
        (claude(tool("Write", file_path="/elsewhere/x")), "writing /elsewhere/x"),
        (claude(tool("Read", file_path="/work/a b.py")), "reading a b.py"),
        (claude(tool("Edit")), "editing a file"),
        (claude(tool("Bash", command="npm test\n  --all")), "running npm test --all"),
        (claude(tool("Grep", pattern="moment")), "searching for moment"),
        (claude(tool("WebFetch", url="https://example.com")), "fetching https://example.com"),
        (claude(tool("Task", description="find callers")), "with a subagent: find callers"),
        (claude(tool("mcp__github__list_issues")), "using list_issues of github"),
        (claude(tool("SomethingNew", deep={"x": [1]})), "using SomethingNew"),
        (
            claude(tool("TodoWrite", todos=[{"status": "in_progress", "activeForm": "Splitting the bundle"}])),
            "Splitting the bundle",
        ),
        (claude({"type": "text", "text": "\n## **Plan**\n- `a`"}), "Plan"),
        (claude({"type": "text", "text": "I replace it."}, tool("Edit", file_path="/work/a")), "editing a"),
        (codex(type="command_execution", command="bash -lc 'npm test'"), "running npm test"),
        (
            codex(type="file_change", changes=[{"path": "/work/a.ts"}, {"path": "/work/b.ts"}]),
            "editing a.ts and 1 more",
        ),
        (codex(type="reasoning", text="**Considering the loader**\n\nmore"), "Considering the loader"),
        (codex(type="todo_list", items=[{"text": "a", "completed": True}, {"text": "b", "completed": False}]), "b"),
        (codex(type="web_search", query="date-fns size"), "searching the web for date-fns size"),
        (codex(type="mcp_tool_call", server="github", tool="search"), "using search of github"),
        (codex(type="error", message="Model metadata not found"), ""),
        (gemini("replace", file_path="/work/src/a.ts"), "editing src/a.ts"),
        (gemini("run_shell_command", command="npm test"), "running npm test"),
        (gemini("search_file_content", pattern="moment"), "searching for moment"),
        (gemini("new_tool"), "using new_tool"),
        (opencode("edit", filePath="/work/src/a.ts"), "editing src/a.ts"),
        (opencode("bash", command="npm test"), "running npm test"),
        (opencode("grep", pattern="moment"), "searching for moment"),
        (opencode("task", description="find callers"), "with a subagent: find callers"),
        (opencode("new_tool"), "using new_tool"),
    ],
)
def test_tools_are_told_by_what_they_do_and_to_which_file(words: str, expected: str) -> None:
    assert words == expected


def test_geminis_message_is_put_together_from_its_pieces() -> None:
    pieces = [
        {"type": "message", "role": "assistant", "content": text} for text in ("First.\nRepl", "acing mom", "ent")
    ]
    assert said("gemini", *pieces) == "Replacing moment"


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        (b"one\ntwo\n\n", "two"),
        (b"10%\r50%\r\x1b[32m90%\x1b[0m", "90%"),
        (b'working\n{"level": "info", "msg": "compiling"}\n', "compiling"),
        (b'working\n{"level": 3}\n[1, 2]\n', "working"),
        (b'{"type": "assistant", "message": {"content": [{"type": "text", "text": "hello"}]}}\n', "hello"),
        (b"\xff\xfe\x00", "��\x00"),
        (b"", ""),
    ],
)
def test_any_commands_last_line_is_told(printed: bytes, words: str) -> None:
    assert ADAPTERS["command"].saying(printed, "/work") == words


def test_an_enormous_line_at_the_end_does_not_hide_what_came_before(tmp_path: Path) -> None:
    known = {"type": "assistant", "message": {"content": [tool("Read", file_path="/work/big.json")]}}
    result = {"type": "user", "message": {"content": "x" * 500_000}}
    stdout, stderr = tmp_path / "stdout", tmp_path / "stderr"
    stdout.write_text(f"{json.dumps(known)}\n{json.dumps(result)}\n")
    assert saying("claude", stdout, stderr, "/work") == "reading big.json"
    stderr.write_text("warming up\n")
    assert saying("command", tmp_path / "none", stderr) == "warming up"
    assert saying("codex", tmp_path / "none", stderr) == ""


@pytest.mark.parametrize("kind", ["claude", "codex", "gemini", "command"])
def test_no_value_of_an_unexpected_kind_is_a_crash(kind: AgentKind) -> None:
    strange: list[Any] = [None, 7, -1.5, True, "text", [], [None, 3], {}, {"content": [1]}, {"type": "todo_list"}]
    for path in RECORDINGS.glob("*.stdout"):
        for line in path.read_text().splitlines():
            event = json.loads(line)
            for key in event:
                for value in strange:
                    assert isinstance(said(kind, {**event, key: value}), str)
    for name in ("Edit", "Bash", "TodoWrite", "Grep", "Task"):
        for value in strange:
            assert isinstance(claude({"type": "tool_use", "name": name, "input": value}), str)
            assert isinstance(claude(tool(name, todos=value, file_path=value, command=value)), str)
