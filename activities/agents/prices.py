"""What tokens cost, for agents that tell tokens alone: a table in the package, and the user's own before it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from beatctl.activities.agents.outcome import AgentOutcome, Usage
from beatctl.activities.home import config_file

NAME = "prices.toml"
_DATED = re.compile(r"[-@]20\d\d-?\d\d-?\d\d$|[-:](latest|preview|exp)([-_]\d\d-\d\d(\d\d)?)?$")


class Price(BaseModel):
    """US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid")

    input: float = Field(ge=0, allow_inf_nan=False)
    cached: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Of input that came from a cache; None: as other input."""
    output: float = Field(ge=0, allow_inf_nan=False)

    def of(self, used: Usage) -> float:
        cached = min(used.cached_tokens, used.input_tokens)
        at = self.input if self.cached is None else self.cached
        return ((used.input_tokens - cached) * self.input + cached * at + used.output_tokens * self.output) / 1e6


Table = Mapping[str, Price]
"""Prices by a model's name, or a pattern such as `gpt-5.1*`."""
_TABLE = TypeAdapter(dict[str, Price])


class BadPrices(Exception):
    """The user's file can't be used; the text says why."""


def user_file(environ: Mapping[str, str]) -> Path | None:
    """`prices.toml` beside the user's config.toml; None where there is to be no configuration."""
    config = config_file(environ)
    return config.with_name(NAME) if config is not None else None


def tables(environ: Mapping[str, str]) -> list[Table]:
    """The user's prices, then the package's. Raises BadPrices."""
    place = user_file(environ)
    return [*([_read(place)] if place is not None and place.is_file() else []), _own()]


@cache
def _own() -> Table:
    text = files("beatctl.activities.agents").joinpath(NAME).read_text(encoding="utf-8")
    return _TABLE.validate_python(tomllib.loads(text)["models"])


def _read(place: Path) -> Table:
    try:
        content = tomllib.loads(place.read_text(encoding="utf-8-sig"))
        return _TABLE.validate_python(content.get("models", {}))
    except ValidationError as wrong:
        first = wrong.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadPrices(f"{place}: models.{where}: {first['msg']}.") from None
    except (OSError, ValueError) as wrong:
        raise BadPrices(f"{place} can't be read: {wrong}.") from None


def price_of(model: str | None, known: Sequence[Table]) -> Price | None:
    """A model's price: of the first table that has it, the name itself before the longest pattern that fits.

    `openai/gpt-5.5` is `gpt-5.5`, and so is one with a date after it.
    """
    if not model:
        return None
    whole = model.strip().lower()
    plain = whole.rpartition("/")[2]
    names = list(dict.fromkeys((whole, plain, _DATED.sub("", plain))))
    for table in known:
        for name in names:
            fitting = [pattern for pattern in table if name == pattern.lower() or fnmatchcase(name, pattern.lower())]
            if fitting:
                return table[max(fitting, key=lambda pattern: (pattern.lower() == name, len(pattern)))]
    return None


def with_cost(outcome: AgentOutcome, model: str | None, known: Sequence[Table]) -> AgentOutcome:
    """The outcome with an estimate of what its tokens cost, where the agent told none itself and each model that it
    used has a price. `model`: the one that was asked for."""
    if outcome.cost_usd or not outcome.usage:
        return outcome
    costs = []
    for used in outcome.usage:
        price = price_of(used.model or outcome.model or model, known)
        if price is None:
            return outcome
        costs.append(price.of(used))
    return outcome.model_copy(update={"cost_usd": round(sum(costs), 6), "cost_estimated": True})
