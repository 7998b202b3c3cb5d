"""When an agent's limit is over: pure functions of what the agent told and the time."""

from __future__ import annotations

from typing import Literal

Limit = Literal["rate-limit", "overloaded"]

LONGEST_S = 8 * 86_400.0
"""A reset further ahead is a misreading: the longest windows there are last a week."""
_FIRST_S: dict[Limit, float] = {"rate-limit": 300.0, "overloaded": 15.0}
_WORTH_TELLING_S = 1800.0
_MOST_S: dict[Limit, float] = {"rate-limit": 3600.0, "overloaded": 900.0}


def is_over_at(limit: Limit, reset_at: float | None, now: float, tries: int, margin_s: float) -> float:
    """When to try again, in unix seconds: `margin_s` after the reset that was told, since clocks differ, services are
    late, and some agents leave out the seconds; where none was told, or one that can't be, after a time that doubles
    with each try in a row.

    `tries`: how often in a row this agent has met a limit, this time included.
    """
    # `try again at 5:58 PM`, told at 17:58:10, is a reset in this very minute.
    if reset_at is not None and now < reset_at + margin_s <= now + LONGEST_S + margin_s:
        return reset_at + margin_s
    return now + min(_FIRST_S[limit] * 2.0 ** min(tries - 1, 10), _MOST_S[limit])


def is_worth_telling(tries: int, wait_s: float) -> bool:
    """Whether somebody who is elsewhere is told of a wait: the first in a row, or a long one."""
    return tries == 1 or wait_s >= _WORTH_TELLING_S


def words(agent: str, limit: Limit, error: str) -> str:
    """Why the loop waits, in a sentence."""
    what = "limit is reached" if limit == "rate-limit" else "service is overloaded"
    return error or f"{agent}'s {what}"
