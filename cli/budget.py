"""Limits on cost and tokens, where an agent does not tell what it uses. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from beatctl.cli.problems import Usage

if TYPE_CHECKING:
    from beatctl.activities.agents.adapter import Told
    from beatctl.activities.agents.spec import AgentSpec

_BUDGETS: dict[Told, tuple[str, str, str]] = {
    "cost": ("max_cost_usd", "--max-cost", "what a run costs"),
    "tokens": ("max_tokens", "--max-tokens", "how many tokens a run uses"),
}


def cannot_tell(limits: Mapping[str, Any], agents: Sequence[AgentSpec]) -> list[str]:
    """A sentence for each limit that does not count some agent's runs."""
    sentences = []
    for what, (key, flag, words) in _BUDGETS.items():
        silent = []
        for agent in agents if limits.get(key) else ():
            told = _told(agent)
            if what in told:
                continue
            if what == "cost" and "tokens" in told:
                sentences.append(_without_price(agent, flag))
            else:
                silent.append(agent.name)
        if silent:
            verb = "does" if len(silent) == 1 else "do"
            sentences.append(
                f"{' and '.join(silent)} {verb} not tell {words}: {flag} does not count it. "
                "Bound the loop by --max-iterations or --for."
            )
    return sentences


def _without_price(agent: AgentSpec, flag: str) -> str:
    """Of an agent that tells tokens alone, where what they cost can't be told for sure."""
    model = agent.model or agent.default_model
    if model is None:
        return (
            f"{agent.name} tells tokens only, and its model is not known yet: {flag} counts it only where a run tells "
            "a model that has a price. Name one with --model, or bound the loop by --max-iterations or --for."
        )
    return (
        f"{agent.name} tells tokens only, and its model {model} has no price: {flag} does not count it. Write the "
        "price into prices.toml beside your config.toml, or bound the loop by --max-iterations or --for."
    )


def _told(agent: AgentSpec) -> frozenset[Told]:
    """Raises Usage where the user's prices can't be read."""
    from beatctl.activities.agents import tells
    from beatctl.activities.agents.prices import BadPrices

    try:
        return tells(agent)
    except BadPrices as wrong:
        raise Usage(str(wrong)) from None


def still_bounded(limits: dict[str, Any], agent: AgentSpec, default: int) -> dict[str, Any]:
    """The limits of a loop whose iterations only a budget bounds: where its agent does not tell what that counts, the
    default number of iterations holds after all."""
    budgets = [what for what, (key, _, _) in _BUDGETS.items() if limits.get(key)]
    bounded = limits.get("for_s") or not budgets or any(what in _told(agent) for what in budgets)
    return limits if bounded else {**limits, "max_iterations": default}
