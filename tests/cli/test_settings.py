"""Which of several places a setting is taken from: what a loop does at night must be what its user meant."""

from __future__ import annotations

import inspect
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from beatctl.cli.app import made
from beatctl.cli.limit_options import TypedLimits
from beatctl.cli.problems import Usage
from beatctl.cli.settings import (
    HOST_KEYS,
    KEYS,
    RESERVED,
    Setting,
    level_of_environment,
    level_of_flags,
    merge,
    misspelt_variables,
    nearest,
    typed_of,
)
from beatctl.cli.start import start
from beatctl.cli.start_options import Typed, choose

LEVELS = ("flag", "environment", "loop file", "repository", "user")
OF_THIS_CALL = {"file", "as_json", "help"}
"""Flags of `start` that say nothing about the loop, and have no key."""


def level(name: str, /, **values: Any) -> dict[str, Setting]:
    return {key: Setting(value, f"{name}:{key}", f"{name}: {key}", name) for key, value in values.items()}


def held(*levels: dict[str, Setting]) -> dict[str, Any]:
    return {name: setting.value for name, setting in merge(levels).items()}


def test_a_flag_of_start_that_no_file_can_set() -> None:
    flags = {name for name in inspect.signature(start).parameters if name not in OF_THIS_CALL}
    names = {"eval_": "eval", "for_": "for", "step": "steps"}
    assert {names.get(name, name) for name in flags} == set(KEYS)
    spelt = {flag.removeprefix("--") for param in made("start").params for flag in param.opts}
    for name in set(KEYS) - {"goal", "steps", "directory"}:
        assert name.replace("_", "-") in spelt, f"the key {name} is spelt unlike its flag"


def test_every_flag_reaches_the_loop_through_the_merge() -> None:
    texts = {name: "3" for name in KEYS if KEYS[name].kind in ("text", "number")}
    given: dict[str, Any] = {"steps": ("a", "b"), "notify": ("ntfy://a",), **texts}
    given |= {name: True for name in KEYS if KEYS[name].kind == "switch"}
    limits = {KEYS[name].field: given[name] for name in KEYS if KEYS[name].is_limit}
    plain = {KEYS[name].field: given[name] for name in KEYS if not KEYS[name].is_limit}
    typed = Typed(**{**plain, "goal": ("3",)}, limits=TypedLimits(**limits))
    assert set(level_of_flags(typed)) == set(KEYS)
    assert typed_of(level_of_flags(typed)) == typed
    assert level_of_flags(Typed()) == {}
    assert typed_of({}) == Typed()


@pytest.mark.parametrize(("strong", "weak"), list(combinations(range(5), 2)))
def test_the_stronger_place_wins_and_each_key_is_settled_alone(strong: int, weak: int) -> None:
    levels: list[dict[str, Setting]] = [{} for _ in LEVELS]
    levels[strong] = level(LEVELS[strong], memory="none", max_iterations="3")
    levels[weak] = level(LEVELS[weak], memory="ledger", cooldown="5s")
    found = merge(levels)
    assert {name: (setting.value, setting.level) for name, setting in found.items()} == {
        "memory": ("none", LEVELS[strong]),
        "max_iterations": ("3", LEVELS[strong]),
        "cooldown": ("5s", LEVELS[weak]),
    }


def test_a_flag_overrides_what_it_contradicts_in_a_file() -> None:
    file = level("loop file", goal="g", eval="size", minimize=True, target="3", plateau="4", cooldown="5s")
    user = level("user", on_fail="revert", plateau="9")
    assert held(level("flag", until="npm test"), file, user) == {
        "goal": "g",
        "until": "npm test",
        "cooldown": "5s",
        "on_fail": "revert",
    }
    assert held(file, user) == {name: setting.value for name, setting in file.items()}
    assert held(level("flag", maximize=True), file)["maximize"] is True
    assert "minimize" not in held(level("flag", maximize=True), file)
    assert "minimize" not in held(level("flag", direction="maximize"), file)
    assert held(level("flag", detach=True), level("loop file", foreground=True)) == {"detach": True}
    assert held(level("flag", dry_run=True), level("loop file", detach=True)) == {"dry_run": True}
    assert held(level("environment", allow_large=False), level("user", allow_large=True)) == {"allow_large": False}


def test_what_contradicts_itself_in_one_place_is_left_for_the_refusal() -> None:
    both = level("loop file", goal="g", until="a", eval="b", minimize=True)
    assert set(held(both)) == {"goal", "until", "eval", "minimize"}
    with pytest.raises(Usage, match="not both"):
        choose(typed_of(merge([both])))
    with pytest.raises(Usage, match="contradict"):
        choose(typed_of(merge([level("loop file", goal="g", eval="b", minimize=True, maximize=True)])))
    with pytest.raises(Usage, match=r"^--target goes with --eval"):
        choose(typed_of(merge([{**level("flag2", goal="g"), **level("flag", target="3")}, level("x", until="a")])))


def test_a_model_is_not_given_to_another_agent_than_it_was_written_for() -> None:
    user = level("user", agent="claude", model="opus")
    assert held(level("flag", agent="codex"), user) == {"agent": "codex"}
    assert held(level("flag", agent="claude"), user) == {"agent": "claude", "model": "opus"}
    assert held(level("flag", agent="codex", model="o9"), user) == {"agent": "codex", "model": "o9"}
    assert held(level("flag", agent="codex"), level("loop file", model="m")) == {"agent": "codex", "model": "m"}
    assert held(level("flag", model="m"), user) == {"agent": "claude", "model": "m"}
    assert held(level("flag", agent="codex"), level("loop file", model="m"), level("user", agent="claude")) == {
        "agent": "codex"
    }


def test_a_duration_typed_lifts_the_default_of_ten_but_no_limit_that_was_written_down() -> None:
    goal: dict[str, Any] = {"goal": ("g",), "until": "true"}
    flags = level_of_flags(Typed(**goal, limits=TypedLimits(for_="8h")))
    assert choose(typed_of(merge([flags]))).limits == {"for_s": 28800, "max_iterations": 0}
    written = choose(typed_of(merge([flags, level("loop file", max_iterations="300")])))
    assert written.limits == {"for_s": 28800, "max_iterations": 300}


def test_a_mistake_names_the_place_it_was_made_in() -> None:
    def said(*levels: dict[str, Setting]) -> str:
        with pytest.raises(Usage) as error:
            choose(typed_of(merge([level("flag", goal="g", until="true"), *levels])))
        return error.value.text

    wrong = Setting("soon", "b.toml:3", "b.toml:3: for", "repository")
    assert said({"for": wrong}).startswith('b.toml:3: for does not understand "soon".')
    assert said(level("user", memory="long")).startswith("user: memory takes ledger, last, session or none")
    assert said(level("user", agent=" ")) == "user: agent is empty."


Values = some.dictionaries(
    some.sampled_from(sorted(name for name, key in KEYS.items() if key.everywhere and key.kind != "switch")),
    some.text(min_size=1, max_size=3),
)


@given(some.lists(Values, max_size=5))
def test_whatever_holds_was_said_by_the_strongest_place_that_said_it(said: list[dict[str, str]]) -> None:
    levels = [level(str(number), **values) for number, values in enumerate(said)]
    found = merge(levels)
    for name, setting in found.items():
        first = next(number for number, values in enumerate(said) if name in values)
        assert (setting.value, setting.level) == (said[first][name], str(first))
    assert {name for values in said for name in values} - set(found) <= {"model"}
    assert merge([found, *levels]) == found
    assert merge([*levels, {}]) == found


def test_variables_follow_one_rule_and_take_no_name_that_means_something_else() -> None:
    names = {key.variable for key in KEYS.values() if key.everywhere}
    assert not names & RESERVED
    environ = dict.fromkeys(names, "1")
    assert {name: setting.source for name, setting in level_of_environment(environ).items()} == {
        name: f"BEATCTL_{name.upper()}" for name, key in KEYS.items() if key.everywhere
    }
    ambient = {"BEATCTL_UNTIL": "rm -rf /", "BEATCTL_GOAL": "x", "BEATCTL_STEP": "2", "BEATCTL_AGENT": ""}
    assert level_of_environment(ambient) == {}
    assert level_of_environment({"BEATCTL_ALLOW_LARGE": "no"})["allow_large"].value is False
    with pytest.raises(Usage, match='BEATCTL_ALLOW_LARGE takes 1 or 0, not "maybe"'):
        level_of_environment({"BEATCTL_ALLOW_LARGE": "maybe"})


def test_every_variable_in_the_code_is_known_as_something_else_than_a_setting() -> None:
    source = Path(start.__code__.co_filename).parents[1]
    texts = [
        path.read_text() for layer in ("cli", "worker", "workflows", "activities") for path in files(source / layer)
    ]
    used = {name for text in texts for name in re.findall(r"(?<![A-Z_])BEATCTL_[A-Z_]+[A-Z]", text)}
    settings = {key.variable for key in (*KEYS.values(), *HOST_KEYS.values())}
    assert used - settings - RESERVED == set()
    assert {"BEATCTL_HOME", "BEATCTL_TRY", "BEATCTL_FAULT"} <= used


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def test_a_misspelt_variable_is_noticed_and_someone_elses_is_not() -> None:
    environ = dict.fromkeys((*RESERVED, "BEATCTL_MAX_ITERATION", "BEATCTL_BADGE", "BEATCTL_FOO", "HOME"), "1")
    assert misspelt_variables(environ) == {"BEATCTL_MAX_ITERATION": "BEATCTL_MAX_ITERATIONS"}


def test_the_word_that_was_meant_is_found_and_none_is_made_up() -> None:
    assert nearest("max_iteration", KEYS) == "max_iterations"
    assert nearest("frobnicate", KEYS) is None
