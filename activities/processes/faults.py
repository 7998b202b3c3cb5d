"""Where the crash tests may kill a spawner or a shim: `BEATCTL_FAULT=PLACE` or `PLACE@FILE`.

Places: `spawner:after-fork`, `shim:before-started`, `shim:after-started`, `shim:after-spawn`, `shim:before-result`,
`shim:after-result`. With a file it fires once: the file is created first. Unset, as always outside tests, it does
nothing. The spawner reads it once, when it starts, and keeps it from its children. Standard library only.
"""

from __future__ import annotations

import os
import signal

_place = _once = ""


def arm() -> None:
    """Take the fault from the environment. The spawner's to call: other processes that import this pass it on."""
    global _place, _once
    _place, _, _once = os.environ.pop("BEATCTL_FAULT", "").partition("@")


def point(place: str) -> None:
    """Die here by SIGKILL, if this is the place that was asked for."""
    if place != _place:
        return
    if _once:
        try:
            os.close(os.open(_once, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return
    os.kill(os.getpid(), signal.SIGKILL)
