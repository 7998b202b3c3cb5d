"""The flags of `start` and `set`: what will be in force, and the sentence for each contradiction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from beatctl.cli.limit_options import TypedLimits, changed_limits, starting_limits, unbounded_warning
from beatctl.cli.problems import Usage
from beatctl.cli.start_options import Chosen, Typed, choose
from beatctl.workflows.spec import Limits

RETRY = Typed(goal=("fix it",), until="npm test")
OPTIMIZE = Typed(goal=("make it small",), eval="./size", minimize=True)


def refused(typed: Typed) -> str:
    with pytest.raises(Usage) as error:
        choose(typed)
    assert error.value.exit_code == 2
    assert "\n" not in error.value.text
    return error.value.text


def test_the_readmes_three_commands_are_understood() -> None:
    retry = choose(Typed(goal=("fix the failing test in auth.test.ts",), until="npm test"))
    assert (retry.strategy, retry.evaluator, retry.direction) == ("retry", "npm test", None)
    optimize = choose(
        Typed(
            goal=("reduce bundle size of the dashboard module",),
            eval="node scripts/measure-bundle.js",
            direction="minimize",
        )
    )
    assert (optimize.strategy, optimize.direction) == ("optimize", "minimize")
    steps = ("refactor the payment module", "run the integration tests", "measure test coverage")
    pipeline = choose(Typed(pipeline=True, steps=steps, until="node scripts/check-coverage.js --min 90"))
    assert pipeline.steps == list(steps)
    assert all(step in pipeline.goal for step in steps)


def test_defaults_are_the_documented_ones() -> None:
    chosen = choose(RETRY)
    assert (chosen.samples, chosen.on_fail, chosen.memory, chosen.permissions) == (1, "keep", "ledger", None)
    assert chosen.memory_budget == 4000
    assert (chosen.agent, chosen.model, chosen.check, chosen.limits) == (None, None, None, {})


@pytest.mark.parametrize(
    "typed",
    [
        replace(OPTIMIZE, minimize=False, maximize=True),
        replace(OPTIMIZE, minimize=False, direction="maximize"),
        replace(OPTIMIZE, minimize=False, maximize=True, direction="maximize"),
    ],
)
def test_direction_can_be_said_in_either_way(typed: Typed) -> None:
    assert choose(typed).direction == "maximize"


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (replace(OPTIMIZE, minimize=False), "Is lower or higher better? Add --minimize or --maximize."),
        (replace(OPTIMIZE, maximize=True), "contradict"),
        (replace(OPTIMIZE, direction="maximize"), "contradict"),
        (replace(OPTIMIZE, minimize=False, direction="down"), '--direction takes minimize or maximize, not "down".'),
        (replace(OPTIMIZE, until="true"), "--until or --eval, not both"),
        (replace(RETRY, until=None), "How is success told?"),
        (replace(RETRY, goal=()), "What is the goal?"),
        (replace(RETRY, goal=("  \n",)), "The goal is empty."),
        (replace(RETRY, goal=("fix", "it")), 'put it in quotes: "fix it"'),
        (replace(RETRY, until=" "), "--until is empty."),
        (replace(OPTIMIZE, eval=""), "--eval is empty."),
        (replace(RETRY, check=""), "--check is empty."),
        (replace(RETRY, minimize=True), "--minimize goes with --eval"),
        (replace(RETRY, direction="maximize"), "--maximize goes with --eval"),
        (replace(RETRY, limits=TypedLimits(target="3")), "--target goes with --eval"),
        (replace(RETRY, limits=TypedLimits(plateau="3")), "--plateau goes with --eval"),
        (replace(OPTIMIZE, on_fail="revert"), "--on-fail goes with --until"),
        (replace(RETRY, on_fail="explode"), '--on-fail takes keep or revert, not "explode".'),
        (replace(RETRY, memory="elephant"), '--memory takes ledger, last, session or none, not "elephant".'),
        (
            replace(RETRY, memory_budget="0"),
            "--memory-budget 0: a prompt can tell of the past with 250 to 200,000 tokens",
        ),
        (replace(RETRY, memory_budget="much"), "--memory-budget takes a number of tokens such as 4000 or 8k, not"),
        (replace(RETRY, permissions="root"), '--permissions takes workspace or full, not "root".'),
        (replace(RETRY, samples="0"), "--samples must be at least 1"),
        (replace(RETRY, samples="two"), "--samples takes a whole number"),
        (replace(RETRY, agent=" "), "--agent is empty."),
        (replace(RETRY, model=""), "--model is empty."),
        (replace(RETRY, pipeline=True), "2 to 20 steps"),
        (replace(RETRY, steps=("only",)), "2 to 20 steps, this one has one"),
        (replace(RETRY, steps=("more",) * 21), "2 to 20 steps, this one has 21"),
        (replace(RETRY, steps=("one", " ")), "Step 2 is empty."),
        (replace(RETRY, detach=True, foreground=True), "-d returns at once"),
        (replace(RETRY, goal=("fix \udcff",)), "not UTF-8"),
        (replace(RETRY, until="cat \udcff"), "--until holds bytes that are not UTF-8."),
        (replace(RETRY, goal=("x" * 600_000,)), "512 is the most"),
        (replace(RETRY, limits=TypedLimits(max_iterations="-1")), "--max-iterations can't be negative"),
        (replace(RETRY, limits=TypedLimits(for_="8")), "--for 8 needs a unit"),
        (replace(RETRY, limits=TypedLimits(agent_timeout="30")), "--agent-timeout 30 needs a unit"),
        (replace(RETRY, limits=TypedLimits(eval_timeout="x")), "--eval-timeout does not understand"),
        (replace(RETRY, limits=TypedLimits(max_cost="-1")), "--max-cost takes US dollars"),
        (replace(RETRY, limits=TypedLimits(max_cost="5€")), "--max-cost takes US dollars"),
        (replace(RETRY, limits=TypedLimits(max_tokens="2 million")), "--max-tokens takes a number of tokens"),
        (replace(RETRY, limits=TypedLimits(max_tokens="0.5")), "--max-tokens takes a number of tokens"),
        (replace(OPTIMIZE, samples="201"), "--samples 201 is more than 200"),
        (replace(OPTIMIZE, limits=TypedLimits(target="nan")), "--target takes a number"),
    ],
)
def test_each_mistake_has_its_sentence(typed: Typed, words: str) -> None:
    assert words in refused(typed)


def test_two_and_twenty_steps_are_fine() -> None:
    for count in (2, 20):
        assert len(choose(replace(RETRY, goal=(), steps=("do",) * count)).steps) == count


def test_the_ten_iterations_hold_only_where_no_duration_cost_or_token_limit_is_given() -> None:
    assert Limits(**starting_limits(TypedLimits())).max_iterations == 10
    assert Limits(**starting_limits(TypedLimits(for_="8h"))).max_iterations == 0
    assert Limits(**starting_limits(TypedLimits(max_cost="25"))).max_iterations == 0
    assert Limits(**starting_limits(TypedLimits(max_tokens="2M"))).max_iterations == 0
    assert Limits(**starting_limits(TypedLimits(for_="0", max_cost="0"))).max_iterations == 10
    assert Limits(**starting_limits(TypedLimits(for_="8h", max_iterations="5"))).max_iterations == 5


def test_changing_one_limit_changes_no_other() -> None:
    assert changed_limits(TypedLimits(for_="8h")) == {"for_s": 28800}
    everything = TypedLimits("1", "2", "3", "4", "5s", "6s", "7s", "$0.50", "1.5M", "8", "9")
    assert changed_limits(everything) == {
        "max_iterations": 1,
        "max_failures": 2,
        "max_unchanged": 3,
        "cooldown_s": 0.004,
        "agent_timeout_s": 5,
        "eval_timeout_s": 6,
        "for_s": 7,
        "max_cost_usd": 0.5,
        "max_tokens": 1_500_000,
        "target": 8,
        "plateau": 9,
    }
    assert changed_limits(TypedLimits(target="none")) == {"target": None}
    assert not TypedLimits().given()
    assert TypedLimits(plateau="0").given()


@pytest.mark.parametrize(
    ("limits", "warned"),
    [
        ({"max_iterations": 0}, True),
        ({"max_iterations": 0, "plateau": 5}, True),
        ({}, False),
        ({"max_iterations": 0, "cooldown_s": 1}, False),
        ({"max_iterations": 0, "for_s": 60}, False),
    ],
)
def test_a_loop_that_nothing_bounds_is_told_apart(limits: dict[str, Any], warned: bool) -> None:
    assert bool(unbounded_warning(Limits(**limits).model_dump())) is warned


def test_what_was_chosen_fits_the_specification() -> None:
    chosen: Chosen = choose(replace(OPTIMIZE, limits=TypedLimits(target="-1.5", cooldown="250")))
    limits = Limits(**chosen.limits)
    assert (limits.target, limits.cooldown_s) == (-1.5, 0.25)
