"""The limits as tools take them: what a call holds, as the command line would have typed it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from beatctl.cli.limit_options import TypedLimits
from beatctl.cli.problems import Usage
from beatctl.cli.settings import KEYS

_TIME = "A time with its unit, such as 30s, 5m or 1h30m; 0 is no limit."
_NAMES = {"for": "max_duration"}
"""What tools call a setting, where that is another name than in loop files."""


class LimitArguments(BaseModel):
    """Every limit there is; what is left out keeps its default, or its value."""

    max_iterations: int | None = Field(
        None,
        ge=0,
        description="End after so many iterations; 0 is no limit. Default of a new loop: 10, or no limit where "
        "max_duration, max_cost or max_tokens bounds it.",
    )
    max_duration: str | None = Field(
        None, description=f"Start nothing more after this time, waits included. Default: no limit. {_TIME}"
    )
    max_cost: float | None = Field(
        None, ge=0, description="Start no agent once so many US dollars are spent; 0 is no limit, the default."
    )
    max_tokens: int | None = Field(
        None, ge=0, description="Start no agent once so many tokens are used; 0 is no limit, the default."
    )
    max_failures: int | None = Field(
        None,
        ge=0,
        description="End after so many agent crashes or timeouts in a row; a red test or a worse score is none. "
        "Default 3; 0 is no limit.",
    )
    max_unchanged: int | None = Field(
        None,
        ge=0,
        description="Pause after so many iterations in a row that changed no file. Default 3; 0 is no limit.",
    )
    cooldown: str | None = Field(
        None, description="Wait this long between iterations. Default: not at all. A time with its unit: 30s, 5m."
    )
    agent_timeout: str | None = Field(None, description=f"The limit of one agent run. Default 30m. {_TIME}")
    eval_timeout: str | None = Field(None, description=f"The limit of one evaluator or check run. Default 10m. {_TIME}")
    target: float | Literal["none"] | None = Field(
        None, description='With `eval` only: end when the best score is this good. "none" takes a target away.'
    )
    plateau: int | None = Field(
        None,
        ge=0,
        description="With `eval` only: end after so many iterations without a better score. Default: no limit (0).",
    )


class MoreArguments(LimitArguments):
    """The limits of a loop there is."""

    more_iterations: int | None = Field(
        None, ge=1, description="Allow so many iterations more than now; instead of max_iterations."
    )


def typed_limits(arguments: LimitArguments) -> TypedLimits:
    """The limits as the command line would have them. Raises Usage."""
    found = {key.field: as_typed(arguments, key.name) for key in KEYS.values() if key.is_limit}
    more = arguments.more_iterations if isinstance(arguments, MoreArguments) else None
    if more is not None:
        if found["max_iterations"] is not None:
            raise Usage("`max_iterations` says how many in all, `more_iterations` how many more: give one of them.")
        found["max_iterations"] = f"+{more}"
    return TypedLimits(**found)


def as_typed(arguments: BaseModel, key: str) -> Any:
    """A setting's value as the command line would have it: text for a number, a tuple for a list."""
    value = getattr(arguments, _NAMES.get(key, key), None)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        return format(value, "f").rstrip("0").rstrip(".") if value == round(value, 6) else repr(value)
    if isinstance(value, list):
        return tuple(value)
    return str(value)
