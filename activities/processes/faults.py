"""Where the crash tests may kill a worker, a spawner or a shim: `BEATCTL_FAULT=PLACE@FILE,PLACE@FILE,…`.

Places: `spawner:after-fork`, `shim:before-started`, `shim:after-started`, `shim:after-spawn`, `shim:before-result`,
`shim:after-result`; in the worker `conclude:before-ledger`, and by an activity's name `before:NAME` and `after:NAME`
(done, but not told), and `child:before-new` before a run's try is made. `PLACE=STOP` stops the process there instead,
as a hung one is, until it gets SIGCONT. A place fires while there is no such file, and creates it first; without a
file it fires each time. Unset, as always outside tests, it does nothing. The worker hands it on to its spawner, which
keeps it from its children. Standard library only.
"""

from __future__ import annotations

import os
import signal

_places: dict[str, tuple[str, signal.Signals]] = {}
"""Each place, the file that says that it has fired (empty: it fires each time), and how."""


def arm(*, hand_on: bool = False) -> bool:
    """Take the faults from the environment, and leave them there for a child with `hand_on`. Whether there are any.

    Each process's own to call: others that import this pass them on.
    """
    words = os.environ.get("BEATCTL_FAULT", "")
    if not hand_on:
        os.environ.pop("BEATCTL_FAULT", None)
    for word in words.split(",") if words else ():
        place, _, once = word.partition("@")
        place, _, how = place.partition("=")
        _places[place] = once, signal.Signals[f"SIG{how or 'KILL'}"]
    return bool(_places)


def point(place: str) -> None:
    """Die (or stop) here, if this is a place that was asked for."""
    if place not in _places:
        return
    once, how = _places[place]
    if once:
        try:
            os.close(os.open(once, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return
    os.kill(os.getpid(), how)
