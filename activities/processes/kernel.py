"""The two promises only Linux can make: orphans come back to the shim, and the child dies with it.

Elsewhere both answer False, and the shim makes do with process groups. Standard library only.
"""

from __future__ import annotations

import ctypes
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

# Found at import: nothing may be loaded between fork and exec.
_prctl = getattr(ctypes.CDLL(None), "prctl", None)


def adopt_orphans() -> bool:
    """From now on every descendant whose parent ends becomes a child of this process."""
    return _prctl is not None and _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def die_with_parent() -> bool:
    """The kernel kills this process when its parent ends. Call in the child, then check that the parent still lives."""
    return _prctl is not None and _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) == 0
