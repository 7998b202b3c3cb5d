"""Which agent runs, as plain data that travels through the workflow's history."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from beatctl.activities.agents.definition import AgentDefinition

AgentKind = Literal["claude", "codex", "gemini", "opencode", "configured", "command"]
Permissions = Literal["workspace", "full"]


class AgentSpec(BaseModel):
    """An agent program as `start` resolved it."""

    kind: AgentKind
    name: str
    """What people see: `claude`, a configured agent's name, or the base name of a command's program."""
    argv: list[str]
    """`command`, `configured`: the words, `{prompt}` and `{prompt_file}` not yet replaced; others: the program's
    absolute path alone."""
    version: str | None = None
    program: str | None = None
    """Which file the program was when it told its version, see program.py."""
    model: str | None = None
    default_model: str | None = None
    """Where `model` is not given: the one in the agent's own settings, as far as those tell."""
    permissions: Permissions = "workspace"
    args: list[str] = []
    """Further arguments, the user's own: put before the prompt, after beatctl's."""
    allowed_commands: list[str] = []
    """Commands an agent with `workspace` permissions may run: the evaluator and the check."""
    environment: dict[str, str] = {}
    """Variables of its runs, from the user's configuration; no secrets."""
    definition: AgentDefinition | None = None
    """`configured`: how to run and read it."""
