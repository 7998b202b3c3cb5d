"""A file lock that can be looked at without being touched, and that no child inherits.

POSIX record locks, not flock(2): a forked child never shares one, the kernel frees it with its process however that
ends, and F_GETLK tells who holds it without taking it, so that a reader never makes a starting shim fail.
Standard library only: the shim uses it.

Beware: closing *any* descriptor of the file in the holding process frees the lock. The holder opens it once.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys

# struct flock: Linux puts type and whence first, the BSDs (macOS) last.
_LAYOUT, _TYPE, _PID = ("hhqqi", 0, 4) if sys.platform.startswith("linux") else ("qqihh", 3, 2)


def take(path: str) -> int | None:
    """Hold the lock of a file that is there until this process ends; what is written goes to its end. None when
    another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        os.close(descriptor)
        return None
    return descriptor


def holder(path: str) -> int | None:
    """The process that holds the lock, None when there is none; 0 when its pid namespace is not seen from here."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        asked = [0, 0, 0, 0, 0]
        asked[_TYPE] = fcntl.F_WRLCK
        answer = struct.unpack(_LAYOUT, fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(_LAYOUT, *asked)))
    finally:
        os.close(descriptor)
    return None if answer[_TYPE] == fcntl.F_UNLCK else int(answer[_PID])
