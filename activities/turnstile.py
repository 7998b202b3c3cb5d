"""A turnstile: so many may run on this host at once, the others wait in line. For one event loop."""

from __future__ import annotations

import asyncio
import bisect
import time
from dataclasses import dataclass, field

_REJOIN_S = 30.0
"""Who leaves the line to decide anew and is back within this time has its place in it still."""
_AWAY_S = 15.0
"""For so long the line waits for one whose attempt ended under it (a missed heartbeat): the next is on its way."""


@dataclass(order=True)
class Waiter:
    """One in line. `turn` becomes True with its turn, False where it was sent back to decide anew."""

    since: float
    """Unix seconds: who came first goes first, also after a worker's end."""
    number: int
    who: str = field(compare=False)
    as_of: int | None = field(compare=False)
    turn: asyncio.Future[bool] = field(compare=False)
    is_away: bool = field(default=False, compare=False)


class Turnstile:
    """Places by name of a loop. A loop that is inside enters again at once: what it runs next belongs together."""

    def __init__(self, places: int, one: str, many: str, flag: str) -> None:
        """`places` 0: no limit. `one`, `many` and `flag` are for people: agent, agents, --max-concurrent-agents."""
        self._places = places
        self._names = one, many, flag
        self._inside: dict[str, int] = {}
        """How many runs of each loop; 0: its place is kept until its next."""
        self._kept: dict[str, asyncio.TimerHandle] = {}
        self._line: list[Waiter] = []
        self._sent_back: dict[str, tuple[float, float]] = {}
        self._count = 0

    def enter(self, who: str) -> None:
        """Take a place without asking: it runs already."""
        self._inside[who] = self._inside.get(who, 0) + 1
        kept = self._kept.pop(who, None)
        if kept is not None:
            kept.cancel()

    def entered(self, who: str) -> bool:
        """Take a place if one is free and nobody waits for it."""
        free = not self._line and self._is_free()
        if free or who in self._inside:
            self.enter(who)
            return True
        return False

    def join(self, who: str, since: float | None, as_of: int | None) -> Waiter:
        """Stand in line: at its end, or where one who came at `since` belongs. See `heard` for `as_of`."""
        before, left_at = self._sent_back.pop(who, (0.0, 0.0))
        if time.monotonic() - left_at < _REJOIN_S and before:
            since = before
        for earlier in [one for one in self._line if one.who == who and one.is_away]:
            self._line.remove(earlier)
            since = earlier.since
        self._count += 1
        turn = asyncio.get_running_loop().create_future()
        waiter = Waiter(time.time() if since is None else since, self._count, who, as_of, turn)
        bisect.insort(self._line, waiter)
        self._call()
        return waiter

    def quit(self, waiter: Waiter) -> None:
        """Go away without having run: out of the line, or with the turn that has just come."""
        if waiter in self._line:
            self._line.remove(waiter)
        elif waiter.turn.done() and waiter.turn.result():
            self.leave(waiter.who)

    def step_out(self, waiter: Waiter) -> None:
        """Go away without wanting to: the place in line is kept for a moment."""
        if waiter not in self._line:
            self.quit(waiter)
            return
        waiter.is_away = True
        asyncio.get_running_loop().call_later(_AWAY_S, self._not_back, waiter)

    def _not_back(self, waiter: Waiter) -> None:
        if waiter in self._line:
            self._line.remove(waiter)
            self._call()

    def leave(self, who: str, keep_s: float = 0.0) -> None:
        """Its run is over. For `keep_s` seconds, or until `give_up`, the place is kept for its next run."""
        self._inside[who] -= 1
        if self._inside[who] > 0:
            return
        if keep_s:
            self._kept[who] = asyncio.get_running_loop().call_later(keep_s, self.give_up, who)
        else:
            self.give_up(who)

    def give_up(self, who: str) -> None:
        """The place that is kept for its next run is free."""
        if self._inside.get(who) == 0:
            del self._inside[who]
            kept = self._kept.pop(who, None)
            if kept is not None:
                kept.cancel()
            self._call()

    def heard(self, who: str, version: int) -> None:
        """A loop's status is now `version`: whoever waits on the word of an older one is to decide anew."""
        for waiter in [one for one in self._line if one.who == who and one.as_of is not None and one.as_of < version]:
            self.send_back(waiter)

    def send_back(self, waiter: Waiter) -> None:
        """Out of the line, to decide anew; its place is kept for a while."""
        if waiter in self._line:
            self._line.remove(waiter)
            self._sent_back[waiter.who] = waiter.since, time.monotonic()
            waiter.turn.set_result(False)
            self._call()

    def words(self) -> str:
        """Why one waits, for a person."""
        one, many, flag = self._names
        inside = len(self._inside)
        if self._places == 1 and inside == 1:
            return f"waiting for loop {next(iter(self._inside))}'s {one} ({flag} 1)"
        runs = f"{one} runs" if inside == 1 else f"{many} run"
        return f"waiting for its turn: {inside} {runs} here ({flag} {self._places})"

    def _is_free(self) -> bool:
        return not self._places or len(self._inside) < self._places

    def _call(self) -> None:
        while self._line and self._is_free() and not self._line[0].is_away:
            waiter = self._line.pop(0)
            self.enter(waiter.who)
            waiter.turn.set_result(True)
