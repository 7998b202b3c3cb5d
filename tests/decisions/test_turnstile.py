"""Who waits for a turn has it in the order they came, whatever happens to one of them meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from beatctl.activities import turnstile
from beatctl.activities.turnstile import Turnstile, Waiter


def one_place() -> Turnstile:
    places = Turnstile(1, "agent", "agents", "--max-concurrent-agents")
    places.enter("first")
    return places


def has_turn(waiter: Waiter) -> bool:
    return waiter.turn.done() and waiter.turn.result()


def in_a_loop(work: Callable[[], None]) -> None:
    async def run() -> None:
        work()

    asyncio.run(run())


def test_a_run_whose_heartbeat_was_missed_does_not_lose_its_place_to_who_came_after_it() -> None:
    def work() -> None:
        places = one_place()
        second, third = places.join("second", None, None), places.join("third", None, None)
        places.step_out(second)
        places.leave("first")
        assert not has_turn(third)
        again = places.join("second", None, None)
        assert has_turn(again)
        assert again.since == second.since
        assert not has_turn(third)
        places.leave("second")
        assert has_turn(third)

    in_a_loop(work)


def test_one_that_does_not_come_back_holds_the_others_up_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "_AWAY_S", 0.01)

    async def work() -> None:
        places = one_place()
        second, third = places.join("second", None, None), places.join("third", None, None)
        places.step_out(second)
        places.leave("first")
        assert await asyncio.wait_for(third.turn, 60)

    asyncio.run(work())


def test_one_sent_back_while_away_lets_the_next_go() -> None:
    def work() -> None:
        places = one_place()
        second, third = places.join("second", None, 1), places.join("third", None, 1)
        places.step_out(second)
        places.leave("first")
        places.heard("second", 2)
        assert has_turn(third)

    in_a_loop(work)


def test_a_turn_that_came_just_as_its_run_was_given_up_goes_to_the_next() -> None:
    def work() -> None:
        places = one_place()
        second, third = places.join("second", None, None), places.join("third", None, None)
        places.leave("first")
        assert has_turn(second)
        places.step_out(second)
        assert has_turn(third)

    in_a_loop(work)
