"""Claude Code (`claude`), driven with `--print` and its stream of JSON events."""

from __future__ import annotations

import os
import re

from beatctl.activities.agents.adapter import Run, Told, argument
from beatctl.activities.agents.claude_rules import allowing, rules
from beatctl.activities.agents.outcome import (
    NOT_STARTED,
    AgentOutcome,
    Ended,
    Kind,
    Prompted,
    Usage,
    not_allowed,
    paragraph,
    told_reset,
)
from beatctl.activities.agents.output import Event, count, events, last_lines, number, string
from beatctl.activities.agents.plain import plain_trouble
from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.agents.troubles import Trouble, no_session, told, trouble
from beatctl.activities.agents.words import newest_first, on, running, sentence

_OF_MODEL = ("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens", "outputTokens")
_OF_RUN = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
"""Sent, sent and found in a cache, sent and put into one; and what came back."""
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
_PROBLEMS: dict[str, Trouble] = {
    "rate_limit": "rate-limited",
    "overloaded": "overloaded",
    "server_error": "overloaded",
    "authentication_failed": "authentication",
    "oauth_org_not_allowed": "authentication",
    "billing_error": "account",
}
"""The `error` of a message that claude wrote in the model's place."""
_OWN_WORDS = re.compile(
    r"API Error|Claude (?:AI )?usage limit|You['’](?:ve|re) |[\w-]+(?: [\w-]+)? limit reached|Credit balance"
    r"|Invalid API key|Failed to authenticate|Not logged in|Please run /login|OAuth token|Your org"
)
"""How claude's own messages begin, where an older one says nothing else of the reason."""
_OLD_LIMIT = re.compile(r"Claude (?:AI )?usage limit reached\s*\|\s*\d{10,13}")
"""The whole last message of an older claude at its limit, which counted as success."""
_LOGIN = "run `claude` once and log in, or set ANTHROPIC_API_KEY"
_ROOT_REFUSED = "cannot be used with root"
_AS_ROOT = (
    "claude refuses --permissions full to root. Run beatctl as another user, use --permissions workspace, "
    "or set IS_SANDBOX=1 where this machine is a throwaway container"
)


class Claude:
    def command_line(self, agent: AgentSpec, run: Run) -> Prompted:
        text, whole = argument(run)
        argv = [*agent.argv, "-p", text, "--output-format", "stream-json", "--verbose"]
        if agent.permissions == "full":
            argv.append("--dangerously-skip-permissions")
        else:
            argv += ["--permission-mode", "acceptEdits"]
            argv += allowing(rules(agent.allowed_commands))
        if agent.model:
            argv += ["--model", agent.model]
        if run.root:
            argv += ["--add-dir", str(run.root)]
        if run.session:
            argv += ["--resume", run.session]
        return Prompted(argv=[*argv, *agent.args], stdin=None if whole else str(run.prompt_file))

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
        session = model = version = said = problem = None
        reset: float | None = None
        result: Event | None = None
        events_seen = False
        for event in events(ended.stdout):
            match event.get("type"):
                case "system" if event.get("subtype") == "init":
                    session, model = string(event, "session_id"), string(event, "model")
                    version = string(event, "claude_code_version")
                case "assistant":
                    said = _text(event) or said
                    problem = string(event, "error")  # a healthy message: what went before has passed
                case "rate_limit_event" if string(event, "rate_limit_info", "status") == "rejected":
                    reset = told_reset(number(event, "rate_limit_info", "resetsAt"))
                    problem = "rate_limit"
                case "result":
                    result = event
                    said = string(event, "result") or said
                case _:
                    continue
            events_seen = True
        told_last = result or {}
        usage = _usage(told_last)
        limited = _OLD_LIMIT.fullmatch(string(told_last, "result") or "")
        well = ended.well and told_last.get("is_error") is False
        outcome = AgentOutcome(
            ok=well and not limited and not _unknown_command(told_last),
            kind="done",
            summary=paragraph(said or ""),
            session_id=string(told_last, "session_id") or session,
            model=model,
            version=version,
            cost_usd=number(told_last, "total_cost_usd"),
            tokens=sum(used.input_tokens + used.output_tokens for used in usage) if usage else None,
            usage=usage,
        )
        if outcome.ok:
            outcome.summary = not_allowed(outcome.summary, _denied(told_last))
            return outcome
        outcome.kind, outcome.error = _problem(ended, result, said, "rate_limit" if limited else problem)
        if not events_seen and outcome.kind == "failed" and (plain := plain_trouble(ended)):
            outcome.kind, outcome.error = told("claude", plain.kind, plain.said, _LOGIN)
            outcome.reset_at = plain.reset_at
        elif outcome.kind == "rate-limited":
            outcome.reset_at = reset if reset is not None else ended.reset_in(said or "")
        return outcome


def _problem(ended: Ended, result: Event | None, said: str | None, problem: str | None) -> tuple[Kind, str]:
    words = " ".join(last_lines(ended.stderr, 2))[-500:]
    if result is None and ended.exit_code in NOT_STARTED:
        return "missing", f"claude could not be started: {words or ended.how}"
    said = paragraph(said or "", 300)
    if what := _trouble(result or {}, said, problem):
        return told("claude", what, said or words or ended.how, _LOGIN)
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
    if details and no_session(details):
        return "failed", f"claude has no such session any more: {details}"
    return "failed", f"{why or 'claude failed'}: {details}" if details else why or f"claude failed and {ended.how}"


def _trouble(result: Event, said: str, problem: str | None) -> Trouble | None:
    """By the events alone where they tell; the text of a failed result is claude's own only where nothing else does."""
    status = count(result, "api_error_status")
    if result.get("is_error") is False and problem != "rate_limit":
        return None
    if status is not None:
        return trouble(said, status)
    if problem is not None:
        return _PROBLEMS.get(problem)
    own = result.get("is_error") is True and result.get("subtype") == "success"
    return trouble(said) if own and _OWN_WORDS.match(said) else None


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


def _usage(result: Event) -> list[Usage]:
    """Of every model the run used; an older claude tells the main one's only."""
    models = result.get("modelUsage")
    if isinstance(models, dict) and models:
        return [_used(used, _OF_MODEL, str(name)) for name, used in models.items() if isinstance(used, dict)]
    used = result.get("usage")
    return [_used(used, _OF_RUN, None)] if isinstance(used, dict) else []


def _used(told: Event, keys: tuple[str, ...], model: str | None) -> Usage:
    sent, cached, written, made = (count(told, key) or 0 for key in keys)
    return Usage(model=model, input_tokens=sent + cached + written, cached_tokens=cached, output_tokens=made)


def _denied(result: Event) -> list[str]:
    denials = result.get("permission_denials")
    found: list[str] = []
    for denial in denials if isinstance(denials, list) else []:
        if isinstance(denial, dict):
            what = string(denial, "tool_input", "command") or string(denial, "tool_input", "file_path")
            found.append(what or string(denial, "tool_name") or "?")
    return found
