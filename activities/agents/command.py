"""Any other program as an agent: the user's words, run without a shell."""

from __future__ import annotations

from beatctl.activities.agents.adapter import Run, Told, argument
from beatctl.activities.agents.claude import Claude
from beatctl.activities.agents.codex import Codex
from beatctl.activities.agents.gemini import Gemini
from beatctl.activities.agents.opencode import OpenCode
from beatctl.activities.agents.outcome import NOT_STARTED, AgentOutcome, Ended, Prompted, paragraph
from beatctl.activities.agents.output import last_lines, said_lines, string
from beatctl.activities.agents.plain import plain_trouble
from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.agents.troubles import told
from beatctl.activities.agents.words import newest_first, sentence

PROMPT, PROMPT_FILE = "{prompt}", "{prompt_file}"


class Command:
    def command_line(self, agent: AgentSpec, run: Run) -> Prompted:
        if not any(PROMPT in word or PROMPT_FILE in word for word in agent.argv):
            return Prompted(argv=list(agent.argv), stdin=str(run.prompt_file))
        text, _ = argument(run)
        # The file's placeholder first: a prompt that has the word {prompt_file} in it stays as it is.
        words = [word.replace(PROMPT_FILE, str(run.prompt_file)) for word in agent.argv]
        return Prompted(argv=[word.replace(PROMPT, text) for word in words])

    def saying(self, tail: bytes, directory: str) -> str:
        """Its last line. A command that prints JSON is read as the agent it may wrap, else for a message in it."""
        lines = said_lines(tail)
        if not lines or not lines[-1].startswith(("{", "[")):
            return lines[-1] if lines else ""
        for adapter in (Claude(), Codex(), Gemini(), OpenCode()):
            if words := adapter.saying(tail, directory):
                return words
        for event in newest_first(tail):
            for key in ("message", "msg", "text", "content"):
                if words := sentence(string(event, key)):
                    return words
        return next((line for line in reversed(lines) if not line.startswith(("{", "["))), "")

    def tells(self, agent: AgentSpec) -> frozenset[Told]:
        return frozenset()

    def refusal(self, agent: AgentSpec, environ: dict[str, str]) -> str | None:
        return None

    def read(self, agent: AgentSpec, ended: Ended) -> AgentOutcome:
        """Exit 0 is success; the last line of standard output is what it has to say. One that failed may have met a
        limit: its whole output is searched for words of one."""
        said = "".join(last_lines(ended.stdout))
        if ended.well:
            return AgentOutcome(ok=True, kind="done", summary=paragraph(said))
        complaint = paragraph(" ".join(last_lines(ended.stderr, 3)), 500)
        # A script's own 127 comes with words of the shell that ran it; a program that never ran prints nothing.
        missing = ended.exit_code in NOT_STARTED and not complaint and not said
        why = complaint or paragraph(said, 500)
        if plain := plain_trouble(ended):
            kind, error = told(agent.name, plain.kind, plain.said, "")
            return AgentOutcome(ok=False, kind=kind, error=error, summary=paragraph(said), reset_at=plain.reset_at)
        return AgentOutcome(
            ok=False,
            kind="missing" if missing else "failed",
            error=f"{agent.name} {ended.how}" + (f": {why}" if why else ""),
            summary=paragraph(said),
        )
