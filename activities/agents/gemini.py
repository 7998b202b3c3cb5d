"""Gemini CLI (`gemini`), driven with its stream of JSON events."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from beatctl.activities.agents.adapter import Told, argument
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
from beatctl.activities.agents.output import Event, count, events, last_lines, string
from beatctl.activities.agents.shell_line import simple_commands
from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.agents.words import newest_first, on, running, sentence

# Gemini exits with the HTTP status modulo 256, or with 41 when no way to log in is configured.
_EXIT_LIMIT = 429 % 256
_EXIT_LOGIN = (41, 401 % 256, 403 % 256)
# What an agent pipes an evaluator's output through.
_FILTERS = ("tail", "head", "grep", "wc", "cat", "ls")
_LIMIT = re.compile(r"QuotaError|RESOURCE_EXHAUSTED|exhausted your|\bquota\b|status: 429")
_LOGIN = re.compile(r"UNAUTHENTICATED|API key not valid|API_KEY_INVALID|PERMISSION_DENIED|[Aa]uth method")
_NOISE = re.compile(r"Warning: |YOLO mode|Ripgrep is not|\[STARTUP\]|Loaded cached|\(node:|\(Use `node")
_PATHS = {
    "replace": "editing",
    "edit": "editing",
    "write_file": "writing",
    "read_file": "reading",
    "list_directory": "listing",
}
_ASKS = {
    "glob": "looking for",
    "search_file_content": "searching for",
    "grep_search": "searching for",
    "google_web_search": "searching the web for",
}
_DENIED = "denied by policy"


class Gemini:
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
        argv = [*agent.argv, "-p", text, "-o", "stream-json", "--skip-trust"]
        if agent.permissions == "full":
            argv += ["--approval-mode", "yolo"]
        else:
            argv += ["--approval-mode", "auto_edit"]
            if agent.allowed_commands:
                argv += [f"--allowed-tools=run_shell_command({start})" for start in starts(agent.allowed_commands)]
        if agent.model:
            argv += ["-m", agent.model]
        if root:
            argv.append(f"--include-directories={root}")
        if session:
            argv += ["-r", session]
        return Prompted(argv=[*argv, *agent.args], stdin=None if whole else str(prompt_file))

    def saying(self, tail: bytes, directory: str) -> str:
        said: list[str] = []
        for event in newest_first(tail):
            kind = event.get("type")
            if kind == "message" and event.get("role") == "assistant":
                said.append(string(event, "content") or "")  # a message comes in pieces
                continue
            # The newest line: the message is still being written.
            words = sentence("".join(reversed(said)), last=True)
            if words:
                return words
            said = []
            match kind:
                case "tool_use":
                    return _using(event, directory)
                case "error":
                    words = sentence(_words(string(event, "message") or ""))
                case "result" if event.get("status") != "success":
                    words = sentence(_words(string(event, "error", "message") or ""))
                case "init":
                    words = f"starting, model {string(event, 'model') or 'unknown'}"
            if words:
                return words
        return sentence("".join(reversed(said)), last=True)

    def tells(self, agent: AgentSpec) -> frozenset[Told]:
        return frozenset(("tokens",))

    def refusal(self, agent: AgentSpec, environ: dict[str, str]) -> str | None:
        return None

    def read(self, agent: AgentSpec, ended: Ended) -> AgentOutcome:
        session = model = None
        said: list[str] = []
        asked: dict[str | None, str | None] = {}
        denied: dict[str, None] = {}
        result: Event | None = None
        for event in events(ended.stdout):
            match event.get("type"):
                case "init":
                    session, model = string(event, "session_id"), string(event, "model")
                case "message" if event.get("role") == "assistant":
                    said.append(string(event, "content") or "")
                case "tool_use":
                    said = []  # what was said before a tool ran is not the last message
                    what = string(event, "parameters", "command") or string(event, "parameters", "file_path")
                    asked[string(event, "tool_id")] = what or string(event, "tool_name")
                case "tool_result" if _DENIED in (string(event, "output") or string(event, "error", "message") or ""):
                    denied[asked.get(string(event, "tool_id")) or "?"] = None
                case "result":
                    result = event
        told = result or {}
        outcome = AgentOutcome(
            ok=ended.well and told.get("status") == "success",
            kind="done",
            summary=paragraph("".join(said)),
            session_id=session,
            model=model,
            tokens=count(told, "stats", "total_tokens"),
            usage=_usage(told),
        )
        if outcome.ok:
            outcome.summary = not_allowed(outcome.summary, denied)
        else:
            outcome.kind, outcome.error = _problem(ended, result)
        return outcome


def _usage(result: Event) -> list[Usage]:
    """By model: with routing, small ones work beside the one that was asked for."""
    stats = result.get("stats")
    models = stats.get("models") if isinstance(stats, dict) else None
    found = []
    # Without that, of all together: then it is the run's one model.
    for model, used in models.items() if isinstance(models, dict) and models else [(None, stats)]:
        if isinstance(used, dict):
            sent, told = count(used, "input_tokens") or 0, count(used, "output_tokens") or 0
            # What it thought is in the total alone, and costs what output costs.
            output = max(told, (count(used, "total_tokens") or 0) - sent)
            cached = count(used, "cached") or 0
            found.append(Usage(model=model, input_tokens=sent, cached_tokens=cached, output_tokens=output))
    return found


def _using(event: Event, directory: str) -> str:
    name = string(event, "tool_name") or "a tool"
    where = string(event, "parameters", "file_path") or string(event, "parameters", "absolute_path")
    if name in _PATHS:
        found = where or string(event, "parameters", "dir_path") or string(event, "parameters", "path")
        return on(_PATHS[name], found, directory) or f"{_PATHS[name]} a file"
    if name in _ASKS:
        asked = string(event, "parameters", "pattern") or string(event, "parameters", "query")
        return on(_ASKS[name], asked) or f"using {name}"
    if name == "run_shell_command":
        return running(string(event, "parameters", "command")) or "running a command"
    return f"using {name}"


def starts(commands: Sequence[str]) -> list[str]:
    """How the shell commands begin that gemini may run: without any it is given no shell at all.

    Gemini asks for each command of a pipeline on its own, takes a comma for the end of a rule, and never allows `$(…)`.
    """
    found = dict.fromkeys(_FILTERS)
    for command in commands:
        for piece in simple_commands(command):
            head, comma, _ = piece.partition(",")
            start = head.rpartition(" ")[0].strip() if comma else piece
            if start:
                found[start] = None
    return list(found)


def _problem(ended: Ended, result: Event | None) -> tuple[Kind, str]:
    lines = last_lines(ended.stderr, 200, _NOISE)
    words = " ".join(lines[-2:])[-500:]
    if result is None and ended.exit_code in NOT_STARTED:
        return "missing", f"gemini could not be started: {words or ended.how}"
    if result and result.get("status") == "success":
        return "failed", f"gemini {ended.how} after saying that it was done" + (f": {words}" if words else "")
    said = paragraph(_words(string(result or {}, "error", "message") or words), 500)
    everything = "\n".join([said, *lines])
    if ended.exit_code == _EXIT_LIMIT or _LIMIT.search(everything):
        return "rate-limited", f"gemini's quota is used up: {said}"
    if ended.exit_code in _EXIT_LOGIN or _LOGIN.search(everything):
        return "authentication", f"gemini is not logged in ({said}): run `gemini` once, or set GEMINI_API_KEY"
    if result is None:
        return "failed", f"gemini {ended.how} without a result" + (f": {words}" if words else "")
    return "failed", f"gemini failed: {said}" if said else f"gemini failed and {ended.how}"


def _words(error: str) -> str:
    """The message in `[API Error: {"error": {"message": …}}]`; else the text as it is."""
    start, end = error.find("{"), error.rfind("}")
    try:
        inner = json.loads(error[start : end + 1]) if start >= 0 else None
    except ValueError:
        return error
    return (string(inner, "error", "message") if isinstance(inner, dict) else None) or error
