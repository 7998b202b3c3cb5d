"""The kinds of agents there are."""

from __future__ import annotations

from beatctl.activities.agents.adapter import Adapter
from beatctl.activities.agents.claude import Claude
from beatctl.activities.agents.codex import Codex
from beatctl.activities.agents.command import Command
from beatctl.activities.agents.configured import Configured
from beatctl.activities.agents.gemini import Gemini
from beatctl.activities.agents.opencode import OpenCode
from beatctl.activities.agents.spec import AgentKind

ADAPTERS: dict[AgentKind, Adapter] = {
    "claude": Claude(),
    "codex": Codex(),
    "gemini": Gemini(),
    "opencode": OpenCode(),
    "configured": Configured(),
    "command": Command(),
}

KNOWN: dict[str, AgentKind] = {"claude": "claude", "codex": "codex", "gemini": "gemini", "opencode": "opencode"}
"""Programs that are known by name, in the order in which the default is looked for."""

INSTALL = {
    "claude": "npm install -g @anthropic-ai/claude-code",
    "codex": "npm install -g @openai/codex",
    "gemini": "npm install -g @google/gemini-cli",
    "opencode": "npm install -g opencode-ai",
}
