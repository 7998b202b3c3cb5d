"""A loop's specification and limits: what `start` resolved, and what the workflow is given."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.notify.happened import Event
from beatctl.activities.prompt_memory import DEFAULT_BUDGET

Direction = Literal["minimize", "maximize"]


class Limits(BaseModel):
    """What ends or paces a loop. 0 = none, everywhere. `set` changes any of them while the loop runs."""

    max_iterations: int = Field(10, ge=0)
    max_failures: int = Field(3, ge=0)
    """Failures in a row."""
    max_unchanged: int = Field(3, ge=0)
    """Iterations in a row that changed nothing; then the loop pauses."""
    cooldown_s: float = Field(0.0, ge=0)
    agent_timeout_s: float = Field(1800.0, ge=0)
    eval_timeout_s: float = Field(600.0, ge=0)
    for_s: float = Field(0.0, ge=0)
    """Wall-clock time from the loop's start, waits included."""
    max_cost_usd: float = Field(0.0, ge=0)
    """What the agent runs may cost together, checked before each: the one that goes beyond it is the last."""
    max_tokens: int = Field(0, ge=0)
    target: float | None = None
    plateau: int = Field(0, ge=0)
    """Iterations without a keep."""


class LoopSpec(BaseModel):
    """One loop, as it was started. Nothing here changes while it runs, but for the limits it starts with."""

    id: str
    goal: str
    strategy: Literal["retry", "optimize"]
    evaluator: str
    """`--until` or `--eval`: a command line for `sh -c`."""
    direction: Direction | None = None
    """Optimize only."""
    steps: list[str] = []
    """A pipeline's steps; empty where the goal itself is the one step."""
    check: str | None = None
    samples: int = Field(1, ge=1)
    """Retry: passes in a row. Optimize: measurements of a candidate, their median being its score."""
    on_fail: Literal["keep", "revert"] = "keep"
    """Retry: what happens to a failed try's work."""
    memory: Literal["none", "last", "ledger", "session"] = "ledger"
    """What a prompt tells of the past: nothing, the last try, every try; or the agent's own session goes on."""
    memory_budget: int = Field(DEFAULT_BUDGET, ge=1)
    """Tokens of a prompt that what it tells of the past may take."""
    template: str | None = None
    """The user's own prompt template (Jinja2) in place of beatctl's words."""
    agent: AgentSpec
    fallback: AgentSpec | None = None
    """Works while the agent's limit lasts."""
    limits: Limits = Limits()
    directory: str
    """Where the user stood: agent, evaluator and check run there."""
    worktree: str
    """The workspace's root: the repository's top level, or the folder itself."""
    origin: str | None = None
    """Where `worktree` is a linked git worktree of the loop's own: the top level of the folder it was made from."""
    branch: str | None = None
    """The branch of the loop's own worktree; elsewhere the one `apply` makes."""
    repo: str | None = None
    """The URL of the repository that `worktree` is a clone of, made for the loop; its branch is pushed there."""
    ref: str | None = None
    """The branch, tag or commit that was made from."""
    setup: str | None = None
    """Run in the loop's own worktree before the baseline is taken."""
    setup_timeout_s: float = Field(0.0, ge=0)
    allow_large: bool = False
    """Take huge untracked content into snapshots all the same."""
    notify: list[Event] = []
    """What the loop tells of itself; where to is secret, and in its private folder. Empty: nothing."""
    ui_url: str | None = None
    connection: str = "embedded"
    host: str | None = None
    """The host that its files are on."""
    schedule: str | None = None
    """The schedule that started it."""
    limit_margin_s: float = 60.0
    """How long after the reset of an agent's limit it is run again; tests lower it."""
    continue_as_new_events: int = 1000
    """History length from which a run hands over to the next of the chain; tests lower it."""
