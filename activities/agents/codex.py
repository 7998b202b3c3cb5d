"""OpenAI Codex (`codex exec`), driven with its stream of JSON events."""

from __future__ import annotations

import re
from pathlib import Path

from beatctl.activities.agents.adapter import Run, Told, argument
from beatctl.activities.agents.outcome import NOT_STARTED, AgentOutcome, Ended, Kind, Prompted, Usage, paragraph
from beatctl.activities.agents.output import Event, count, events, last_lines, string
from beatctl.activities.agents.plain import plain_trouble
from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.agents.troubles import no_session, told, trouble
from beatctl.activities.agents.words import newest_first, on, running, sentence, several

_STATUS = re.compile(r"(?:unexpected status|last status:?) (\d{3})\b")
_LOGIN = "run `codex login`, or set its API key"
_NOISE = re.compile(r"Reading additional input from stdin|WARNING: proceeding")


class Codex:
    def command_line(self, agent: AgentSpec, run: Run) -> Prompted:
        text, whole = argument(run)
        argv = [*agent.argv, "exec", "--json", "--skip-git-repo-check", "-o", str(run.last_message_file)]
        if agent.permissions == "full":
            argv.append("--dangerously-bypass-approvals-and-sandbox")
        else:
            argv += ["-s", "workspace-write"]
            if run.root:
                argv += ["--add-dir", str(run.root)]
        if agent.model:
            argv += ["-m", agent.model]
        argv += agent.args
        if run.session:
            # A subcommand, which takes fewer options than `exec` itself: they stand before it.
            argv += ["resume", run.session]
        # After `--`, or a prompt that is the word `review` would be taken for the subcommand.
        return Prompted(argv=[*argv, "--", text], stdin=None if whole else str(run.prompt_file))

    def saying(self, tail: bytes, directory: str) -> str:
        for event in newest_first(tail):
            match event.get("type"):
                case "item.started" | "item.updated" | "item.completed":
                    words = _doing(event, directory)
                case "error":
                    words = sentence(string(event, "message"))
                case "turn.failed":
                    words = sentence(string(event, "error", "message"))
                case "thread.started":
                    words = "starting"
                case _:
                    continue
            if words:
                return words
        return ""

    def tells(self, agent: AgentSpec) -> frozenset[Told]:
        return frozenset(("tokens",))

    def refusal(self, agent: AgentSpec, environ: dict[str, str]) -> str | None:
        return None

    def read(self, agent: AgentSpec, ended: Ended) -> AgentOutcome:
        session = said = error = None
        usage: Usage | None = None
        terminal: str | None = None
        events_seen = False
        for event in events(ended.stdout):
            kind = event.get("type")
            match kind:
                case "thread.started":
                    session = string(event, "thread_id")
                case "item.completed" if string(event, "item", "type") == "agent_message":
                    said = string(event, "item", "text") or said
                case "turn.completed":
                    terminal = "turn.completed"
                    usage = Usage(
                        input_tokens=count(event, "usage", "input_tokens") or 0,
                        cached_tokens=count(event, "usage", "cached_input_tokens") or 0,
                        output_tokens=count(event, "usage", "output_tokens") or 0,
                    )
                case "turn.failed":
                    terminal = "turn.failed"
                    error = string(event, "error", "message") or error
                case "error":  # not the end: "Reconnecting… 1/5" is one, too
                    error = string(event, "message") or error
            events_seen = events_seen or isinstance(kind, str)
            if isinstance(kind, str) and kind.startswith("item.") and string(event, "item", "type") != "error":
                error = None  # it went on: what went before has passed
        outcome = AgentOutcome(
            ok=ended.well and terminal == "turn.completed",
            kind="done",
            summary=paragraph(said or _last_message(ended.last_message_file)),
            session_id=session,
            tokens=usage.input_tokens + usage.output_tokens if usage else None,
            usage=[usage] if usage else [],
        )
        if outcome.ok:
            return outcome
        outcome.kind, outcome.error = _problem(ended, terminal, error, events_seen)
        if not events_seen and outcome.kind == "failed" and (plain := plain_trouble(ended)):
            outcome.kind, outcome.error = told("codex", plain.kind, plain.said, _LOGIN)
            outcome.reset_at = plain.reset_at
        elif outcome.kind == "rate-limited":
            outcome.reset_at = ended.reset_in(error or "")
        return outcome


def _doing(event: Event, directory: str) -> str:
    item = event.get("item")
    if not isinstance(item, dict):
        return ""
    match item.get("type"):
        case "agent_message" | "reasoning":
            return sentence(string(item, "text"))
        case "command_execution":
            return running(string(item, "command")) or "running a command"
        case "file_change":
            changes = item.get("changes")
            listed = changes if isinstance(changes, list) else []
            paths = [path for change in listed if isinstance(change, dict) and (path := string(change, "path"))]
            return several("editing", paths, directory) or "editing files"
        case "mcp_tool_call":
            return f"using {string(item, 'tool') or 'a tool'} of {string(item, 'server') or 'a server'}"
        case "web_search":
            return on("searching the web for", string(item, "query"))
        case "todo_list":
            return _plan(item)
    return ""  # an item of type `error` is a warning: "Model metadata not found"


def _plan(item: Event) -> str:
    todos = item.get("items")
    for todo in todos if isinstance(todos, list) else []:
        if isinstance(todo, dict) and todo.get("completed") is False:
            return sentence(string(todo, "text"))
    return ""


def _problem(ended: Ended, terminal: str | None, error: str | None, events_seen: bool) -> tuple[Kind, str]:
    words = " ".join(last_lines(ended.stderr, 2, _NOISE))[-500:]
    if terminal is None and error is None and ended.exit_code in NOT_STARTED:
        return "missing", f"codex could not be started: {words or ended.how}"
    if terminal == "turn.completed":
        return "failed", f"codex {ended.how} after saying that it was done" + (f": {words}" if words else "")
    said = paragraph(error or words, 500)
    # What it prints beside its events quotes the commands it ran.
    own = error or ("" if events_seen else words)
    status = _STATUS.search(own)
    if what := trouble(own, int(status[1]) if status else None):
        return told("codex", what, said, _LOGIN)
    if no_session(own):
        return "failed", f"codex has no such session any more: {said}"
    if terminal is None:
        return "failed", f"codex {ended.how} before its turn was done" + (f": {said}" if said else "")
    return "failed", f"codex failed: {said}" if said else f"codex failed and {ended.how}"


def _last_message(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(1 << 16).decode("utf-8", "replace")
    except OSError:
        return ""
