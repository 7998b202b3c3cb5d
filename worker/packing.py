"""Compresses what old iterations printed, in the background of the worker: a thread of low priority that never waits
for anything and that nothing waits for."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from pathlib import Path

from beatctl.activities.home import Home, LoopFolder
from beatctl.activities.ledger import Ledger
from beatctl.activities.packed import is_left_behind, pack

log = logging.getLogger("beatctl.worker")

NEWEST = 5
"""Iterations of a loop that goes on which stay as they are."""
_EVERY_S = 30.0
_PAUSE_S = 0.02
_NICE = 15
_KINDS = (".stdout", ".stderr", ".prompt.md")


class Packer:
    """Looks through the loops of a home now and then."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._ledger = Ledger(home.ledger)
        self._stopping = threading.Event()
        self._seen: dict[str, tuple[str, int]] = {}
        """How each loop stood when it was last looked at."""

    def start(self) -> None:
        threading.Thread(target=self._run, name="packing", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        if hasattr(os, "setpriority") and os.path.exists("/proc/self/task"):  # elsewhere it would be the whole worker
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while not self._stopping.is_set():
            try:
                self.look()
            except Exception:  # whatever it is: loops go on without
                log.warning("old outputs could not be compressed", exc_info=True)
            self._stopping.wait(_EVERY_S)

    def look(self) -> None:
        """Compress what has become old since the last look."""
        for loop, state, last in self._ledger.standings():
            if self._stopping.is_set():
                return
            if self._seen.get(loop) != (state, last):
                self._loop(self._home.loop(loop), last, ended=state == "finished")
                self._seen[loop] = (state, last)

    def _loop(self, folder: LoopFolder, last: int, *, ended: bool) -> None:
        """A loop whose last row has the number `last`."""
        try:
            names = [name for name in os.listdir(folder.runs) if name.isdigit()]
        except FileNotFoundError:
            return  # nothing has run, or gc has freed it
        done = _read(folder.runs / ".packed")
        old = sorted(number for number in map(int, names) if number > done and (ended or number <= last - NEWEST))
        for number in old:
            if self._stopping.wait(_PAUSE_S):
                break
            pack_iteration(folder.iteration(number))
            done = min(number, last)
        if old:
            with contextlib.suppress(FileNotFoundError):
                (folder.runs / ".packed").write_text(f"{done}\n", encoding="ascii")


def pack_iteration(folder: Path) -> None:
    """Compress what the runs of an iteration that is over were asked and printed."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        if name.endswith(_KINDS):
            pack(folder / name)
        elif is_left_behind(name):
            (folder / name).unlink(missing_ok=True)


def _read(file: Path) -> int:
    """Up to which iteration all is done."""
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return -1
