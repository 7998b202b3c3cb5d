"""The limits that `start`, `resume` and `set` take: from what was typed to fields of Limits. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from beatctl.cli import units

DEFAULT_ITERATIONS = 10
"""As Limits has it, which `start` has no time to import."""
_NAMES = {"goal": "The goal", "steps": "--step", "directory": "-C"}


def flag_of(name: str) -> str:
    """The flag that fills a field of Typed or TypedLimits."""
    return _NAMES.get(name) or f"--{name.rstrip('_').replace('_', '-')}"


@dataclass(frozen=True)
class TypedLimits:
    """The limits as typed; None = not given."""

    max_iterations: str | None = None
    max_failures: str | None = None
    max_unchanged: str | None = None
    cooldown: str | None = None
    agent_timeout: str | None = None
    eval_timeout: str | None = None
    for_: str | None = None
    max_cost: str | None = None
    max_tokens: str | None = None
    target: str | None = None
    plateau: str | None = None

    def given(self) -> bool:
        return any(value is not None for value in vars(self).values())


def starting_limits(typed: TypedLimits, named: Callable[[str], str] = flag_of) -> dict[str, Any]:
    """The limits a loop starts with, as fields of Limits. The ten iterations of the default hold only where no
    duration, cost or token limit is given. Raises BadValue."""
    limits = changed_limits(typed, named)
    bounded = limits.get("for_s") or limits.get("max_cost_usd") or limits.get("max_tokens")
    if bounded and "max_iterations" not in limits:
        limits["max_iterations"] = 0
    return limits


def changed_limits(
    typed: TypedLimits, named: Callable[[str], str] = flag_of, *, iterations: int | None = None
) -> dict[str, Any]:
    """Only the limits that were typed, as fields of Limits. `named` is how messages name one; `-n +N` adds to
    `iterations`. Raises BadValue."""
    limits: dict[str, Any] = {}
    if iterations is not None and asks_for_more(typed):
        more = units.whole((typed.max_iterations or "").strip()[1:], "--max-iterations +N", least=1)
        typed = replace(typed, max_iterations=str(iterations + more))
    for name in ("max_iterations", "max_failures", "max_unchanged", "plateau"):
        text = getattr(typed, name)
        if text is not None:
            limits[name] = units.whole(text, named(name))
    for name, key in (
        ("cooldown", "cooldown_s"),
        ("agent_timeout", "agent_timeout_s"),
        ("eval_timeout", "eval_timeout_s"),
        ("for_", "for_s"),
    ):
        text = getattr(typed, name)
        if text is not None:
            limits[key] = units.duration(text, named(name), bare_milliseconds=name == "cooldown")
    if typed.max_cost is not None:
        limits["max_cost_usd"] = units.money(typed.max_cost, named("max_cost"))
    if typed.max_tokens is not None:
        limits["max_tokens"] = units.tokens(typed.max_tokens, named("max_tokens"))
    if typed.target is not None:
        is_none = typed.target.strip().lower() == "none"
        limits["target"] = None if is_none else units.number(typed.target, named("target"))
    return limits


def asks_for_more(typed: TypedLimits) -> bool:
    """Whether `-n +N` was typed."""
    return (typed.max_iterations or "").strip().startswith("+")


def unbounded_warning(limits: dict[str, Any]) -> str:
    """How to bound a loop with these Limits, where nothing does; else empty."""
    if any(limits.get(key) for key in ("max_iterations", "cooldown_s", "for_s", "max_cost_usd", "max_tokens")):
        return ""
    return (
        "No limit on iterations, time, cost or tokens and no cooldown: this loop spends until it is stopped. "
        "Bound it: beatctl set --for 8h, --max-iterations 100 or --cooldown 1m"
    )
