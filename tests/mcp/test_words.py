"""What agents are told, by itself: messages name tools and arguments, texts are bounded, every setting can be given."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Status
from beatctl.cli.app import COMMANDS
from beatctl.cli.follow import Signals
from beatctl.cli.loops import Loops
from beatctl.cli.mcp import words
from beatctl.cli.mcp.acting import SetArguments
from beatctl.cli.mcp.bounds import cut, few, part
from beatctl.cli.mcp.limits import typed_limits
from beatctl.cli.mcp.schemas import tidy
from beatctl.cli.mcp.server import TOOLS
from beatctl.cli.mcp.starting import StartArguments
from beatctl.cli.mcp.tool import Call
from beatctl.cli.mcp.waiting import WaitArguments, wait_for_loop
from beatctl.cli.settings import KEYS

SAID = {
    "Is lower or higher better? Add --minimize or --maximize.": (
        'Is lower or higher better? Add `direction: "minimize"` or `direction: "maximize"`.'
    ),
    "Loop k3f9 is using this folder: beatctl watch k3f9, or add --worktree.": (
        "Loop k3f9 is using this folder: wait_for_loop k3f9, or add `worktree: true`."
    ),
    "there is nothing to pause. To go on with it: beatctl resume k3f9 -n +10": (
        "there is nothing to pause. To go on with it: resume_loop k3f9 `more_iterations` 10"
    ),
    "Go on with it, then note: beatctl resume k3f9 -n +10 -d": (
        "Go on with it, then note: resume_loop k3f9 `more_iterations` 10"
    ),
    "Try --permissions full.": 'Try `permissions: "full"`.',
    "--for needs a unit. -n 3": "`max_duration` needs a unit. `max_iterations` 3",
    "Name another, or none: beatctl resume k3f9 --target none": (
        'Name another, or none: resume_loop k3f9 `target: "none"`'
    ),
    # What an agent can't do with a tool stays what a person types.
    "Go on with: beatctl up -d": "Go on with: beatctl up -d",
    "See: beatctl doctor": "See: beatctl doctor",
    "beatctl undo k3f9 brings it back": "beatctl undo k3f9 brings it back",
    "git restore --staged, npm install -g x": "git restore --staged, npm install -g x",
    "my-agent--model": "my-agent--model",
}


@pytest.mark.parametrize(("said", "told"), SAID.items())
def test_a_message_tells_an_agent_what_to_call_not_what_to_type(said: str, told: str) -> None:
    assert words.in_tool_words(said) == told


def test_every_command_and_flag_that_messages_name_has_its_tool_and_argument() -> None:
    assert set(words._TOOLS) <= set(COMMANDS)
    assert set(words._TOOLS.values()) <= {tool.name for tool in TOOLS}
    arguments = {name for tool in TOOLS for name in tool.takes.model_fields}
    for flag in (*words._SWITCHES, *words._TEXTS):
        assert flag.replace("-", "_") in arguments, flag


def test_whatever_start_takes_an_agent_can_say_too() -> None:
    other = {
        "for": "max_duration",
        "minimize": "direction",
        "maximize": "direction",
        "pipeline": "steps",
        "detach": "the loop is always detached",
        "foreground": "the loop is always detached",
    }
    taken = StartArguments.model_fields
    missing = {name for name in KEYS if name not in taken and other.get(name, "") not in taken} - {
        "detach",
        "foreground",
        *words._ONLY_TYPED,
    }
    assert not missing


def test_numbers_reach_the_loop_as_they_were_given() -> None:
    given = SetArguments(max_cost=0.05, target=-1.25e-7, max_tokens=2_000_000, more_iterations=5, cooldown="30s")
    typed = typed_limits(given)
    assert (typed.max_cost, typed.max_tokens, typed.max_iterations, typed.cooldown) == ("0.05", "2000000", "+5", "30s")
    assert float(typed.target or "") == -1.25e-7
    assert typed_limits(SetArguments(target="none", max_cost=10)).target == "none"
    assert typed_limits(SetArguments(max_cost=10)).max_cost == "10"
    assert typed_limits(SetArguments(max_cost=0)).max_cost == "0"


def test_texts_and_lists_are_cut_with_a_word_on_what_is_missing() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("abcdef", 3, "Ask for more.") == "abc… [3 more characters. Ask for more.]"
    found, sizes = few({"kept": list(range(40)), "name": "x" * 9, "few": [1]}, most=30, text=5)
    assert (found["kept"], sizes) == (list(range(10, 40)), {"kept": 40})
    assert found["name"].startswith("xxxxx… [4 more")
    assert (part("abcdef", 2, 3), part("abcdef", 4, 3), part("abc", 9, 3)) == (("cde", 5), ("ef", None), ("", None))


def test_a_schema_loses_what_says_nothing_and_keeps_an_argument_that_is_called_title() -> None:
    maybe = {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None, "title": "Title"}
    schema = {"title": "T", "type": "object", "properties": {"title": maybe}}
    assert tidy(schema, optional=True) == {"type": "object", "properties": {"title": {"type": "string"}}}
    del maybe["title"]
    assert tidy(schema) == {"type": "object", "properties": {"title": maybe}}


def test_a_wait_ends_at_once_when_its_client_has_given_it_up(place: Path) -> None:
    loops = Loops({"BEATCTL_HOME": str(place / "state")})
    status = Status(id="k3f9", goal="x", strategy="retry", state="waiting", directory=str(place), worktree=str(place))
    loops.check_home()
    Ledger(loops.home.ledger).add_loop(status, "{}", 1.0)
    signals = Signals()
    signals.came = signal.SIGINT
    call = Call(loops, place, lambda *_: None, signals)
    assert wait_for_loop(call, WaitArguments(timeout_s=3600)).happened == "timeout"
