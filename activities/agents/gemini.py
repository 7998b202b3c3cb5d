"""Gemini CLI (`gemini`), driven with its stream of JSON events."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from beatctl.activities.agents.adapter import Run, Told, argument
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
from beatctl.activities.agents.output import Event, count, events, last_lines, lines_with, string
from beatctl.activities.agents.plain import plain_trouble
from beatctl.activities.agents.shell_line import simple_commands
from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.agents.troubles import no_session, told, trouble
from beatctl.activities.agents.words import newest_first, on, running, sentence

_EXITS = {status % 256: status for status in (401, 403, 429, 500, 502, 503, 504, 529)} | {41: 401}
"""Gemini exits with the HTTP status modulo 256, or with 41 when no way to log in is configured."""
# What an agent pipes an evaluator's output through.
_FILTERS = ("tail", "head", "grep", "wc", "cat", "ls")
_QUOTA = re.compile(
    r"^(?:Error when talking to Gemini API.* |\S* ?)(?:Terminal|Retryable)QuotaError: ?(.*)|^\s*reason: '(\w+)'"
)
_LOGIN = "run `gemini` once and log in, or set GEMINI_API_KEY"
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
    def command_line(self, agent: AgentSpec, run: Run) -> Prompted:
        text, whole = argument(run)
        argv = [*agent.argv, "-p", text, "-o", "stream-json", "--skip-trust"]
        if agent.permissions == "full":
            argv += ["--approval-mode", "yolo"]
        else:
            argv += ["--approval-mode", "auto_edit"]
            if agent.allowed_commands:
                argv += [f"--allowed-tools=run_shell_command({start})" for start in starts(agent.allowed_commands)]
        if agent.model:
            argv += ["-m", agent.model]
        if run.root:
            argv.append(f"--include-directories={run.root}")
        if run.session:
            argv += ["-r", run.session]
        return Prompted(argv=[*argv, *agent.args], stdin=None if whole else str(run.prompt_file))

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
        events_seen = False
        for event in events(ended.stdout):
            events_seen = events_seen or isinstance(event.get("type"), str)
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
        terminal = result or {}
        outcome = AgentOutcome(
            ok=ended.well and terminal.get("status") == "success",
            kind="done",
            summary=paragraph("".join(said)),
            session_id=session,
            model=model,
            tokens=count(terminal, "stats", "total_tokens"),
            usage=_usage(terminal),
        )
        if outcome.ok:
            outcome.summary = not_allowed(outcome.summary, denied)
            return outcome
        outcome.kind, outcome.error = _problem(ended, result, events_seen)
        if not events_seen and outcome.kind == "failed" and (plain := plain_trouble(ended)):
            outcome.kind, outcome.error = told("gemini", plain.kind, plain.said, _LOGIN)
            outcome.reset_at = plain.reset_at
        elif outcome.kind == "rate-limited":
            outcome.reset_at = _reset(ended, result)
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


def _problem(ended: Ended, result: Event | None, events_seen: bool) -> tuple[Kind, str]:
    words = " ".join(last_lines(ended.stderr, 2, _NOISE))[-500:]
    if result is None and ended.exit_code in NOT_STARTED:
        return "missing", f"gemini could not be started: {words or ended.how}"
    if result and result.get("status") == "success":
        return "failed", f"gemini {ended.how} after saying that it was done" + (f": {words}" if words else "")
    error = string(result or {}, "error", "message")
    quota, reason = _quota(ended)
    said = paragraph(_words(error or quota or words), 500)
    # What it prints beside its events quotes the commands it ran; its own errors have a name.
    own = f"{error or ('' if events_seen else words)} {quota} {reason}"
    status = _EXITS.get(ended.exit_code) if ended.exit_code is not None else None
    if what := trouble(own, status) or ("rate-limited" if quota and result is None else None):
        return told("gemini", what, said or ended.how, _LOGIN)
    if no_session(own):
        return "failed", f"gemini has no such session any more: {said}"
    if result is None:
        return "failed", f"gemini {ended.how} without a result" + (f": {words}" if words else "")
    return "failed", f"gemini failed: {said}" if said else f"gemini failed and {ended.how}"


def _quota(ended: Ended) -> tuple[str, str]:
    """What its last error of a quota says on standard error, and the reason it gives; empty where there is none."""
    said = reason = ""
    for line in lines_with(ended.stderr, (b"quotaerror: ", b"reason: '")):
        if found := _QUOTA.search(line):
            said, reason = (said, found[2] if said else "") if found[2] else (found[1], "")
    return said, reason


def _reset(ended: Ended, result: Event | None) -> float | None:
    """From the error where that tells it, else from what standard error has of it."""
    at = ended.reset_in(string(result or {}, "error", "message") or "")
    if at is None:
        told_of = lines_with(ended.stderr, (b"retrydelay", b"retry in", b"reset after", b"retry after"))
        # Limits of seconds that it waits for itself are not the one that ended it.
        at = ended.reset_in("\n".join(line for line in told_of if not line.startswith("Attempt ")))
    return at


def _words(error: str) -> str:
    """The message in `[API Error: {"error": {"message": …}}]`; else the text as it is."""
    start, end = error.find("{"), error.rfind("}")
    try:
        inner = json.loads(error[start : end + 1]) if start >= 0 else None
    except ValueError:
        return error
    return (string(inner, "error", "message") if isinstance(inner, dict) else None) or error
