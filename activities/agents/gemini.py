"""Gemini CLI (`gemini`), driven with its stream of JSON events."""

from __future__ import annotations

import re
from pathlib import Path

from beatctl.activities.agents.adapter import argument
from beatctl.activities.agents.outcome import NOT_STARTED, AgentOutcome, Ended, Kind, Prompted, paragraph
from beatctl.activities.agents.output import Event, count, events, last_lines, string
from beatctl.activities.agents.spec import AgentSpec

# Gemini exits with the HTTP status modulo 256, or with 41 when no way to log in is configured.
_EXIT_LIMIT = 429 % 256
_EXIT_LOGIN = (41, 401 % 256, 403 % 256)
_LIMIT = re.compile(r"QuotaError|RESOURCE_EXHAUSTED|exhausted your|\bquota\b|status: 429")
_LOGIN = re.compile(r"UNAUTHENTICATED|API key not valid|API_KEY_INVALID|PERMISSION_DENIED|[Aa]uth method")


class Gemini:
    def command_line(
        self, agent: AgentSpec, prompt: str, prompt_file: Path, last_message_file: Path, root: Path | None
    ) -> Prompted:
        text, whole = argument(prompt, prompt_file)
        argv = [*agent.argv, "-p", text, "-o", "stream-json", "--skip-trust"]
        if agent.permissions == "full":
            argv += ["--approval-mode", "yolo"]
        else:
            argv += ["--approval-mode", "auto_edit"]
            for command in agent.allowed_commands:
                argv.append(f"--allowed-tools=run_shell_command({command})")
        if agent.model:
            argv += ["-m", agent.model]
        if root:
            argv.append(f"--include-directories={root}")
        return Prompted(argv=argv, stdin=None if whole else str(prompt_file))

    def refusal(self, agent: AgentSpec, environ: dict[str, str]) -> str | None:
        return None

    def read(self, agent: AgentSpec, ended: Ended) -> AgentOutcome:
        session = model = None
        said: list[str] = []
        result: Event | None = None
        for event in events(ended.stdout):
            match event.get("type"):
                case "init":
                    session, model = string(event, "session_id"), string(event, "model")
                case "message" if event.get("role") == "assistant":
                    said.append(string(event, "content") or "")
                case "tool_use":
                    said = []  # what was said before a tool ran is not the last message
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
        )
        if not outcome.ok:
            outcome.kind, outcome.error = _problem(ended, result)
        return outcome


def _problem(ended: Ended, result: Event | None) -> tuple[Kind, str]:
    lines = last_lines(ended.stderr, 200)
    words = " ".join(lines[-2:])[-500:]
    if result is None and ended.exit_code in NOT_STARTED:
        return "missing", f"gemini could not be started: {words or ended.how}"
    if result and result.get("status") == "success":
        return "failed", f"gemini {ended.how} after saying that it was done" + (f": {words}" if words else "")
    said = paragraph(string(result or {}, "error", "message") or words, 500)
    everything = "\n".join([said, *lines])
    if ended.exit_code == _EXIT_LIMIT or _LIMIT.search(everything):
        return "rate-limited", f"gemini's quota is used up: {said}"
    if ended.exit_code in _EXIT_LOGIN or _LOGIN.search(everything):
        return "authentication", f"gemini is not logged in ({said}): run `gemini` once, or set GEMINI_API_KEY"
    if result is None:
        return "failed", f"gemini {ended.how} without a result" + (f": {words}" if words else "")
    return "failed", f"gemini failed: {said}" if said else f"gemini failed and {ended.how}"
