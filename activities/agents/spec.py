"""Which agent runs, as plain data that travels through the workflow's history."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

AgentKind = Literal["claude", "codex", "gemini", "command"]
Permissions = Literal["workspace", "full"]


class AgentSpec(BaseModel):
    """An agent program as `start` resolved it."""

    kind: AgentKind
    name: str
    """What people see: `claude`, or the base name of a command's program."""
    argv: list[str]
    """`command`: the user's words, `{prompt}` and `{prompt_file}` not yet replaced; others: the program's absolute path
    alone."""
    version: str | None = None
    model: str | None = None
    permissions: Permissions = "workspace"
    args: list[str] = []
    """Further arguments, the user's own: put before the prompt, after beatctl's."""
    allowed_commands: list[str] = []
    """Commands an agent with `workspace` permissions may run: the evaluator and the check."""
