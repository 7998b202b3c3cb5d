"""Claude Code (`claude`), driven with `--print` and its stream of JSON events."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from beatctl.activities.agents.adapter import Told, argument
from beatctl.activities.agents.outcome import NOT_STARTED, AgentOutcome, Ended, Kind, Prompted, not_allowed, paragraph
from beatctl.activities.agents.output import Event, count, events, last_lines, number, string
from beatctl.activities.agents.shell_line import simple_commands
from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.agents.words import newest_first, on, running, sentence

_TOKENS = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
_USAGE = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_ENDS = {
    "error_max_turns": "claude stopped at its limit of turns",
    "error_max_budget_usd": "claude stopped at its limit of cost",
    "error_during_execution": "claude stopped with an error",
}
_PATHS = {
    "Edit": "editing",
    "MultiEdit": "editing",
    "NotebookEdit": "editing",
    "Write": "writing",
    "Read": "reading",
    "NotebookRead": "reading",
    "LS": "listing",
}
_ASKS = {"Grep": "searching for", "Glob": "looking for", "WebSearch": "searching the web for"}
_ROOT_REFUSED = "cannot be used with root"
_AS_ROOT = (
    "claude refuses --permissions full to root. Run beatctl as another user, use --permissions workspace, "
    "or set IS_SANDBOX=1 where this machine is a throwaway container"
)


class Claude:
    def command_line(
        self,
        agent: AgentSpec,
        prompt: str,
        prompt_file: Path,
        last_message_file: Path,
        root: Path | None,
        session: str | None = None,
    ) -> Prompted:
        text, whole = argument(prompt, prompt_file)
        argv = [*agent.argv, "-p", text, "--output-format", "stream-json", "--verbose"]
        if agent.permissions == "full":
            argv.append("--dangerously-skip-permissions")
        else:
            argv += ["--permission-mode", "acceptEdits"]
            argv += allowing(rules(agent.allowed_commands))
        if agent.model:
            argv += ["--model", agent.model]
        if root:
            argv += ["--add-dir", str(root)]
        if session:
            argv += ["--resume", session]
        return Prompted(argv=[*argv, *agent.args], stdin=None if whole else str(prompt_file))

    def saying(self, tail: bytes, directory: str) -> str:
        for event in newest_first(tail):
            match event.get("type"):
                case "assistant":
                    words = _doing(event, directory)
                case "result":
                    words = sentence(string(event, "result"))
                case "rate_limit_event" if string(event, "rate_limit_info", "status") == "rejected":
                    words = "its rate limit is reached"
                case "system" if event.get("subtype") == "api_retry":
                    words = _trying_again(event)
                case "system" if event.get("subtype") == "init":
                    words = f"starting, model {string(event, 'model') or 'unknown'}"
                case _:
                    continue
            if words:
                return words
        return ""

    def tells(self, agent: AgentSpec) -> frozenset[Told]:
        return frozenset(("cost", "tokens"))

    def refusal(self, agent: AgentSpec, environ: dict[str, str]) -> str | None:
        sandboxed = environ.get("IS_SANDBOX") == "1" or environ.get("CLAUDE_CODE_BUBBLEWRAP")
        return _AS_ROOT if agent.permissions == "full" and os.getuid() == 0 and not sandboxed else None

    def read(self, agent: AgentSpec, ended: Ended) -> AgentOutcome:
        session = model = said = problem = None
        reset: float | None = None
        result: Event | None = None
        for event in events(ended.stdout):
            match event.get("type"):
                case "system" if event.get("subtype") == "init":
                    session, model = string(event, "session_id"), string(event, "model")
                case "assistant":
                    said = _text(event) or said
                    problem = string(event, "error") or problem
                case "rate_limit_event" if string(event, "rate_limit_info", "status") == "rejected":
                    reset = number(event, "rate_limit_info", "resetsAt")
                    problem = "rate_limit"
                case "result":
                    result = event
                    said = string(event, "result") or said
        told = result or {}
        outcome = AgentOutcome(
            ok=ended.well and told.get("is_error") is False and not _unknown_command(told),
            kind="done",
            summary=paragraph(said or ""),
            session_id=string(told, "session_id") or session,
            model=model,
            cost_usd=number(told, "total_cost_usd"),
            tokens=_tokens(told) if result else None,
        )
        if outcome.ok:
            outcome.summary = not_allowed(outcome.summary, _denied(told))
            return outcome
        outcome.kind, outcome.error = _problem(ended, result, said, problem)
        if outcome.kind == "rate-limited":
            outcome.reset_at = reset
        return outcome


def rules(commands: Sequence[str]) -> list[str]:
    """The permission rules that let claude run these shell commands.

    A simple command is allowed with further arguments, too. Claude asks for each command of a pipeline or list on its
    own: those are allowed as they are. It never allows `$(…)`, whatever the rules say.
    """
    found: dict[str, None] = {}
    for command in commands:
        pieces = simple_commands(command)
        found[f"Bash({_escaped(command.strip())}:*)"] = None
        found |= {f"Bash({_escaped(piece)})": None for piece in pieces if len(pieces) > 1}
    return list(found)


def allowing(found: Sequence[str]) -> list[str]:
    """The options that carry these rules.

    `--allowedTools` takes the first closing parenthesis for the end of a rule, whatever stands before it; a rule with
    another one in it goes in as settings, which are added to the user's own.
    """
    plain = [each for each in found if ")" not in each[:-1]]
    odd = [each for each in found if ")" in each[:-1]]
    options = ["--allowedTools", *plain] if plain else []
    return [*options, "--settings", json.dumps({"permissions": {"allow": odd}})] if odd else options


def _escaped(command: str) -> str:
    return command.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def _problem(ended: Ended, result: Event | None, said: str | None, problem: str | None) -> tuple[Kind, str]:
    words = " ".join(last_lines(ended.stderr, 2))[-500:]
    if result is None and ended.exit_code in NOT_STARTED:
        return "missing", f"claude could not be started: {words or ended.how}"
    status = count(result or {}, "api_error_status")
    said = paragraph(said or "", 300)
    if problem == "authentication_failed" or status in (401, 403):
        return "authentication", f"claude is not logged in ({said}): run `claude` once, or set ANTHROPIC_API_KEY"
    if problem == "rate_limit" or status == 429:
        return "rate-limited", f"claude's rate limit is reached: {said}"
    if status in (500, 502, 503, 504, 529) or problem == "overloaded":
        return "overloaded", f"claude's service is overloaded or down: {said}"
    if result is None:
        if _ROOT_REFUSED in words:
            return "failed", _AS_ROOT
        return "failed", f"claude {ended.how} without a result" + (f": {words}" if words else "")
    if _unknown_command(result):
        return (
            "failed",
            f"claude took the goal for one of its own commands: {said}. Let the goal begin without the slash",
        )
    if result.get("is_error") is False:
        return "failed", f"claude {ended.how} after saying that it was done" + (f": {words}" if words else "")
    why = _ENDS.get(string(result, "subtype") or "")
    details = result.get("errors")
    details = "; ".join(str(detail) for detail in details)[:300] if isinstance(details, list) else said
    return "failed", f"{why or 'claude failed'}: {details}" if details else why or f"claude failed and {ended.how}"


def _unknown_command(result: Event) -> bool:
    """A prompt such as `/fix-it` is a command to claude; one it doesn't know costs nothing and counts as success."""
    return count(result, "num_turns") == 0 and (string(result, "result") or "").startswith("Unknown ")


def _text(event: Event) -> str | None:
    message = event.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    blocks = content if isinstance(content, list) else []
    texts = [string(block, "text") for block in blocks if isinstance(block, dict) and block.get("type") == "text"]
    return "\n".join(text for text in texts if text) or None


def _doing(event: Event, directory: str) -> str:
    """What the last block of a message says, or does with which tool."""
    message = event.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    for block in reversed(content if isinstance(content, list) else []):
        if not isinstance(block, dict):
            continue
        if block.get("type") == "text" and (words := sentence(string(block, "text"))):
            return words
        if block.get("type") == "tool_use" and (words := _using(block, directory)):
            return words
    return ""


def _using(block: Event, directory: str) -> str:
    name = string(block, "name") or "a tool"
    if name in _PATHS:
        where = string(block, "input", "file_path") or string(block, "input", "notebook_path")
        return on(_PATHS[name], where or string(block, "input", "path"), directory) or f"{_PATHS[name]} a file"
    if name in _ASKS:
        return on(_ASKS[name], string(block, "input", "pattern") or string(block, "input", "query")) or f"using {name}"
    match name:
        case "Bash":
            return running(string(block, "input", "command")) or "running a command"
        case "WebFetch":
            return on("fetching", string(block, "input", "url")) or "fetching a page"
        case "Task" | "Agent":
            return on("with a subagent:", string(block, "input", "description")) or "with a subagent"
        case "TodoWrite":
            return _plan(block)
    server, _, tool = name.removeprefix("mcp__").partition("__")
    return f"using {tool} of {server}" if name.startswith("mcp__") and tool else f"using {name}"


def _plan(block: Event) -> str:
    given = block.get("input")
    todos = given.get("todos") if isinstance(given, dict) else None
    for todo in todos if isinstance(todos, list) else []:
        if isinstance(todo, dict) and todo.get("status") == "in_progress":
            return sentence(string(todo, "activeForm") or string(todo, "content")) or "planning"
    return "planning"


def _trying_again(event: Event) -> str:
    attempt, most = count(event, "attempt"), count(event, "max_retries")
    status = count(event, "error_status")
    tries = f", try {attempt}" + (f" of {most}" if most else "") if attempt else ""
    return f"the API failed{f' ({status})' if status else ''}: trying again{tries}"


def _tokens(result: Event) -> int | None:
    """Of every model the run used; an older claude tells the main one's only."""
    models = result.get("modelUsage")
    if isinstance(models, dict) and models:
        return sum(count(used, key) or 0 for used in models.values() if isinstance(used, dict) for key in _TOKENS)
    used = result.get("usage")
    return sum(count(used, key) or 0 for key in _USAGE) if isinstance(used, dict) else None


def _denied(result: Event) -> list[str]:
    denials = result.get("permission_denials")
    found: list[str] = []
    for denial in denials if isinstance(denials, list) else []:
        if isinstance(denial, dict):
            what = string(denial, "tool_input", "command") or string(denial, "tool_input", "file_path")
            found.append(what or string(denial, "tool_name") or "?")
    return found
