"""Limits on cost and tokens, where an agent does not tell what it uses. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beatctl.activities.agents.adapter import Told
    from beatctl.activities.agents.spec import AgentSpec

_BUDGETS: dict[Told, tuple[str, str, str]] = {
    "cost": ("max_cost_usd", "--max-cost", "what a run costs"),
    "tokens": ("max_tokens", "--max-tokens", "how many tokens a run uses"),
}


def cannot_tell(limits: Mapping[str, Any], agents: Sequence[AgentSpec]) -> list[str]:
    """A sentence for each limit that does not count some agent's runs."""
    from beatctl.activities.agents import tells

    sentences = []
    for what, (key, flag, words) in _BUDGETS.items():
        silent = [agent.name for agent in agents if limits.get(key) and what not in tells(agent)]
        if silent:
            verb = "does" if len(silent) == 1 else "do"
            sentences.append(
                f"{' and '.join(silent)} {verb} not tell {words}: {flag} does not count it. "
                "Bound the loop by --max-iterations or --for."
            )
    return sentences


def still_bounded(limits: dict[str, Any], agent: AgentSpec, default: int) -> dict[str, Any]:
    """The limits of a loop whose iterations only a budget bounds: where its agent does not tell what that counts, the
    default number of iterations holds after all."""
    from beatctl.activities.agents import tells

    budgets = [what for what, (key, _, _) in _BUDGETS.items() if limits.get(key)]
    bounded = limits.get("for_s") or not budgets or any(what in tells(agent) for what in budgets)
    return limits if bounded else {**limits, "max_iterations": default}
