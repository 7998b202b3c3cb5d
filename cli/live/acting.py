"""What a key asks for, done beside the view: sent by the functions the commands use, told when it did not work."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from beatctl.cli.live.keys import Asked
from beatctl.cli.output import say
from beatctl.cli.problems import Problem

if TYPE_CHECKING:
    from beatctl.cli.follow import Watch
    from beatctl.cli.loops import Loops

_LOOK_S = 0.5


class Acting:
    """A thread that does one thing after the other; another sees to it that the loop's worker is there."""

    def __init__(self, loops: Loops, loop: str, watch: Watch) -> None:
        self.watch = watch
        self._loops = loops
        self._loop = loop
        self._asked: queue.SimpleQueue[Asked] = queue.SimpleQueue()
        self.pending: str | None = None
        """What was asked for and is not in the ledger yet."""
        threading.Thread(target=self._act, daemon=True).start()
        self.leave = keep(lambda: watch.look(loops.status(loop)))

    def ask(self, asked: Asked) -> None:
        self.pending = asked.what
        self._asked.put(asked)

    def _act(self) -> None:
        while True:
            asked = self._asked.get()
            try:
                self._do(asked)
            except Problem as problem:
                say(problem.text)
            except Exception as error:  # a thread's end would only be seen as keys that do nothing
                say(f"{asked.what} failed: {type(error).__name__}: {error}")
            if self._asked.empty():
                self.pending = None

    def _do(self, asked: Asked) -> None:
        status = self._loops.status(self._loop)
        if status.state == "finished":
            return
        from beatctl.cli.act import add_note, ask, until
        from beatctl.cli.cancelling import cancel_loop

        if asked.what == "cancel":
            cancel_loop(self._loops, status)
        elif asked.what == "note":
            add_note(self._loops, status, asked.text)
            say("Noted: every prompt carries it from the next one on.")
        else:
            ask(self._loops, status, asked.what)
            until(self._loops, self._loop, lambda now: now.version != status.version)


def keep(look: Callable[[], None]) -> Callable[[], None]:
    """Call `look`, which may take a while to bring back what is gone, again and again. Returns what ends that."""
    left = threading.Event()

    def work() -> None:
        while not left.wait(_LOOK_S):
            try:
                look()
            except Exception as error:  # the view goes on, and says it itself where the loop is gone
                say(str(error) if isinstance(error, Problem) else f"{type(error).__name__}: {error}")

    threading.Thread(target=work, daemon=True).start()
    return left.set
