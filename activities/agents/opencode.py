"""opencode (`opencode run`), driven with its stream of JSON events."""

from __future__ import annotations

import json
from collections.abc import Sequence

from beatctl.activities.agents.adapter import Run, Told
from beatctl.activities.agents.opencode_log import last_error
from beatctl.activities.agents.outcome import (
    NOT_STARTED,
    AgentOutcome,
    Ended,
    Kind,
    Prompted,
    Usage,
    not_allowed,
    paragraph,
)
from beatctl.activities.agents.output import Event, count, events, last_lines, number, string
from beatctl.activities.agents.plain import plain_trouble
from beatctl.activities.agents.shell_line import simple_commands
from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.agents.troubles import Trouble, no_session, told, trouble
from beatctl.activities.agents.words import newest_first, on, running, sentence

# What an agent pipes an evaluator's output through.
_FILTERS = ("tail", "head", "grep", "wc", "cat", "ls")
_UNFINISHED = ("tool-calls", "length", "content-filter", "error")
"""Reasons of a step's end after which the work is not done."""
_SEE_LOG = "Unexpected server error"
_DENIED = ("a rule which prevents you", "rejected permission")
_LOGIN = "run `opencode auth login`"
_PATHS = {"edit": "editing", "multiedit": "editing", "write": "writing", "read": "reading", "list": "listing"}
_ASKS = {"grep": "searching for", "glob": "looking for", "websearch": "searching the web for"}


class OpenCode:
    def command_line(self, agent: AgentSpec, run: Run) -> Prompted:
        # Its log on standard error, without which nobody knows why it waits.
        argv = [*agent.argv, "run", "--format", "json", "--print-logs", "--log-level", "ERROR"]
        environment = {}
        if agent.permissions == "full":
            argv.append("--auto")
        else:
            environment["OPENCODE_PERMISSION"] = json.dumps(permission(agent.allowed_commands))
        if agent.model:
            argv += ["-m", agent.model]
        if run.session:
            argv += ["-s", run.session]
        # As an argument a prompt with a space in it would be put into quotes.
        return Prompted(argv=[*argv, *agent.args], stdin=str(run.prompt_file), environment=environment)

    def saying(self, tail: bytes, directory: str) -> str:
        started = False
        for event in newest_first(tail):
            match event.get("type"):
                case "text" | "reasoning":
                    words = sentence(string(event, "part", "text"))
                case "tool_use":
                    words = _using(event, directory)
                case "error":
                    words = sentence(_message(event))
                case "step_start":
                    started, words = True, ""
                case _:
                    continue
            if words:
                return words
        return "starting" if started else ""

    def tells(self, agent: AgentSpec) -> frozenset[Told]:
        return frozenset(("cost", "tokens"))

    def refusal(self, agent: AgentSpec, environ: dict[str, str]) -> str | None:
        return None

    def read(self, agent: AgentSpec, ended: Ended) -> AgentOutcome:
        session = said = reason = None
        cost, tokens = 0.0, 0
        usage: Usage | None = None
        denied: dict[str, None] = {}
        error: Event | None = None
        last_at = 0.0
        for event in events(ended.stdout):
            session = string(event, "sessionID") or session
            last_at = number(event, "timestamp") or last_at
            match event.get("type"):
                case "step_start":
                    reason = error = None  # it went on: what went before has passed
                case "text":
                    said = string(event, "part", "text") or said
                case "tool_use" if any(words in (string(event, "part", "state", "error") or "") for words in _DENIED):
                    denied[_asked(event) or string(event, "part", "tool") or "?"] = None
                case "step_finish":
                    reason = string(event, "part", "reason")
                    tokens += _tokens(event)
                    usage = _added(usage or Usage(), event)
                    cost += number(event, "part", "cost") or 0.0
                case "error":
                    error = event
        outcome = AgentOutcome(
            ok=ended.well and error is None and reason is not None and reason not in _UNFINISHED,
            kind="done",
            summary=paragraph(said or ""),
            session_id=session,
            # A model whose price opencode does not know costs nothing by its account.
            cost_usd=cost or None,
            tokens=tokens if usage else None,
            usage=[usage] if usage else [],
        )
        if outcome.ok:
            outcome.summary = not_allowed(outcome.summary, denied)
            return outcome
        logged = last_error(ended.stderr)
        if error is None and logged is not None and logged.at * 1000 >= last_at:
            # It still waits for this one to pass, or gave up without a word.
            error = {"error": {"data": {"message": logged.said}}}
        elif error is not None and logged is not None and _message(error).startswith(_SEE_LOG):
            error = {"error": {"data": {"message": logged.said}}}
        outcome.kind, outcome.error = _problem(ended, error, reason)
        if session is None and outcome.kind == "failed" and (plain := plain_trouble(ended)):
            outcome.kind, outcome.error = told("opencode", plain.kind, plain.said, _LOGIN)
            outcome.reset_at = plain.reset_at
        elif outcome.kind == "rate-limited":
            outcome.reset_at = _reset(ended, error or {})
        return outcome


def permission(commands: Sequence[str]) -> dict[str, object]:
    """The rules with which opencode edits files and runs these shell commands, in its own shape.

    It asks for each command of a pipeline or list on its own; the last rule that matches counts, and a star at the end
    stands for no argument, too. What is not allowed is denied, since a question that nobody answers ends the run.
    """
    shell = {"*": "deny"}
    for start in dict.fromkeys([*_FILTERS, *(piece for command in commands for piece in simple_commands(command))]):
        shell[f"{start} *"] = "allow"
    return {
        "edit": "allow",
        "bash": shell,
        "read": {"*": "allow", "*.env": "deny", "*.env.*": "deny", "*.env.example": "allow"},
        "external_directory": "deny",
        "doom_loop": "deny",
    }


def _using(event: Event, directory: str) -> str:
    name = string(event, "part", "tool") or "a tool"
    if name in _PATHS:
        where = string(event, "part", "state", "input", "filePath") or string(event, "part", "state", "input", "path")
        return on(_PATHS[name], where, directory) or f"{_PATHS[name]} a file"
    if name in _ASKS:
        pattern = string(event, "part", "state", "input", "pattern") or string(event, "part", "state", "input", "query")
        return on(_ASKS[name], pattern) or f"using {name}"
    match name:
        case "bash":
            return running(string(event, "part", "state", "input", "command")) or "running a command"
        case "webfetch":
            return on("fetching", string(event, "part", "state", "input", "url")) or "fetching a page"
        case "task":
            return on("with a subagent:", string(event, "part", "state", "input", "description")) or "with a subagent"
        case "todowrite":
            return "planning"
    return f"using {name}"


def _asked(event: Event) -> str | None:
    command = string(event, "part", "state", "input", "command")
    return command or string(event, "part", "state", "input", "filePath")


def _tokens(event: Event) -> int:
    """Of one step; an older opencode tells no sum."""
    if (total := count(event, "part", "tokens", "total")) is not None:
        return total
    places = (("input",), ("output",), ("reasoning",), ("cache", "read"), ("cache", "write"))
    return sum(count(event, "part", "tokens", *place) or 0 for place in places)


def _added(usage: Usage, event: Event) -> Usage:
    """With one step more. Its input is what no cache had."""
    cached, written = count(event, "part", "tokens", "cache", "read"), count(event, "part", "tokens", "cache", "write")
    sent = (count(event, "part", "tokens", "input") or 0) + (cached or 0) + (written or 0)
    made = (count(event, "part", "tokens", "output") or 0) + (count(event, "part", "tokens", "reasoning") or 0)
    return Usage(
        input_tokens=usage.input_tokens + sent,
        cached_tokens=usage.cached_tokens + (cached or 0),
        output_tokens=usage.output_tokens + made,
    )


def _problem(ended: Ended, error: Event | None, reason: str | None) -> tuple[Kind, str]:
    words = " ".join(last_lines(ended.stderr, 2))[-500:]
    if error is None and reason is None and ended.exit_code in NOT_STARTED:
        return "missing", f"opencode could not be started: {words or ended.how}"
    if error is None:
        if reason is not None and reason not in _UNFINISHED:
            return "failed", f"opencode {ended.how} after saying that it was done" + (f": {words}" if words else "")
        if no_session(words):
            return "failed", f"opencode has no such session any more: {words}"
        if reason in ("length", "content-filter"):
            return "failed", f"opencode stopped before it was done: the model's answer was cut off ({reason})"
        return "failed", f"opencode {ended.how} before it was done" + (f": {words}" if words else "")
    said = paragraph(_message(error), 500)
    if what := _trouble(error):
        return told("opencode", what, said, _LOGIN)
    if "Model not found" in said or said.startswith(_SEE_LOG):
        said += (
            " Is --model one that `opencode models` lists, as provider/model, and its provider logged in "
            "(`opencode auth login`)?"
        )
    return "failed", f"opencode failed: {said}"


def _trouble(error: Event) -> Trouble | None:
    if string(error, "error", "name") == "ProviderAuthError":
        return "authentication"
    status = count(error, "error", "data", "statusCode")
    return trouble(f"{_message(error)} {string(error, 'error', 'data', 'responseBody') or ''}", status)


def _message(error: Event) -> str:
    found = string(error, "error", "data", "message") or string(error, "error", "message")
    return found or string(error, "error", "name") or "it did not say why"


def _reset(ended: Ended, error: Event) -> float | None:
    """From the answer's own words, else from its header."""
    at = ended.reset_in(f"{_message(error)} {string(error, 'error', 'data', 'responseBody') or ''}")
    after = string(error, "error", "data", "responseHeaders", "retry-after")
    return at if at is not None or not after else ended.reset_in(f"retry-after: {after}")
