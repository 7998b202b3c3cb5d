"""What tokens cost: the estimate, and where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from beatctl.activities.agents import AgentSpec, prices
from beatctl.activities.agents.outcome import AgentOutcome, Usage
from beatctl.activities.agents.prices import BadPrices, Price, price_of, with_cost
from beatctl.cli.budget import cannot_tell
from tests.agents.test_recordings import read

NOWHERE = {"BEATCTL_CONFIG": "/dev/null"}
USAGE = Usage(input_tokens=1_000_000, cached_tokens=400_000, output_tokens=100_000)


def outcome(*used: Usage, model: str | None = None, cost: float | None = None) -> AgentOutcome:
    return AgentOutcome(ok=True, kind="done", usage=list(used), model=model, cost_usd=cost, tokens=1)


def own(tmp_path: Path, text: str) -> dict[str, str]:
    (tmp_path / "prices.toml").write_text(text)
    return {"BEATCTL_CONFIG": str(tmp_path / "config.toml")}


def test_cached_input_costs_what_a_cache_costs() -> None:
    table = {"m": Price(input=2.0, cached=0.5, output=10.0)}
    told = with_cost(outcome(USAGE), "m", [table])
    assert (told.cost_usd, told.cost_estimated) == (1.2 + 0.2 + 1.0, True)
    assert with_cost(outcome(USAGE), "m", [{"m": Price(input=2.0, output=10.0)}]).cost_usd == 3.0


@pytest.mark.parametrize(
    ("model", "input_price"),
    [
        ("m-1", 1.0),
        ("M-1", 1.0),
        ("openai/m-1", 1.0),
        ("m-1-2026-09-29", 1.0),
        ("m-1-preview", 1.0),
        ("m-1-mini", 2.0),
        ("m-1-max", 3.0),
        ("m-2", None),
        ("n-1", None),
        ("", None),
        (None, None),
    ],
)
def test_a_model_has_the_price_of_its_name_then_of_the_longest_pattern(
    model: str | None, input_price: float | None
) -> None:
    table = {
        "m-1": Price(input=1.0, output=1.0),
        "m-1-mini": Price(input=2.0, output=1.0),
        "m-1-m*": Price(input=3.0, output=1.0),
    }
    found = price_of(model, [table])
    assert (found.input if found else None) == input_price


def test_what_is_not_known_for_sure_is_no_cost() -> None:
    table = {"m": Price(input=1.0, output=1.0)}
    assert with_cost(outcome(USAGE), "other", [table]).cost_usd is None
    assert with_cost(outcome(), "m", [table]).cost_usd is None
    both = outcome(USAGE.model_copy(update={"model": "m"}), USAGE.model_copy(update={"model": "other"}))
    assert with_cost(both, "m", [table]).cost_usd is None
    told = with_cost(outcome(USAGE, cost=0.02), "m", [table])
    assert (told.cost_usd, told.cost_estimated) == (0.02, False)


def test_the_users_prices_come_first_and_a_mistake_in_them_is_named(tmp_path: Path) -> None:
    assert price_of("gpt-5.5", prices.tables(NOWHERE)) == Price(input=5.0, cached=0.5, output=30.0)
    given = own(tmp_path, '[models]\n"gpt-5.*" = { input = 1, output = 2 }\n')
    assert price_of("gpt-5.5", prices.tables(given)) == Price(input=1, output=2)
    for text, words in (
        ('[models]\n"m" = { input = -1, output = 2 }', "models.m.input"),
        ('[models]\n"m" = { input = 1 }', "models.m.output"),
        ("[models", "can't be read"),
    ):
        with pytest.raises(BadPrices, match=words):
            prices.tables(own(tmp_path, text))


def test_recorded_runs_tell_tokens_apart() -> None:
    """Of 200 sent 100 were cached, 40 came back."""
    apart = Usage(input_tokens=200, cached_tokens=100, output_tokens=40)
    assert read("codex-ok").usage == [apart]
    assert read("gemini-ok").usage == [apart.model_copy(update={"model": "scripted"})]
    told = with_cost(read("codex-ok"), "gpt-5.5", prices.tables(NOWHERE))
    assert told.cost_usd == pytest.approx((100 * 5 + 100 * 0.5 + 40 * 30) / 1e6)
    assert with_cost(read("claude-ok"), "claude-sonnet-5", prices.tables(NOWHERE)).cost_estimated is False


def test_start_says_where_max_cost_does_not_count_an_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEATCTL_CONFIG", "/dev/null")
    codex = AgentSpec(kind="codex", name="codex", argv=["/bin/codex"])
    limits = {"max_cost_usd": 5.0, "max_tokens": 10}

    def said(**more: str) -> list[str]:
        return cannot_tell(limits, [codex.model_copy(update=more)])

    assert said(model="gpt-5.5") == []
    assert said(default_model="gpt-5.5") == []
    [words] = said(model="o9")
    assert "its model o9 has no price: --max-cost does not count it. Write the price into prices.toml" in words
    [words] = said()
    assert "its model is not known yet" in words
