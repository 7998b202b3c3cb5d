"""An error that nobody foresaw, kept whole in a file: commands, worker and supervisor alike. Standard library only."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from beatctl import __version__

KEPT = 20
"""Files in one folder; older ones go, since a worker that fails at once is started again and again."""


def write(error: BaseException, logs: Path) -> Path:
    """Write a file in `logs`, else in the temporary folder. Raises OSError where neither can be written."""
    text = "\n".join(
        [
            f"beatctl {__version__}, Python {sys.version}, {platform.platform()}",
            f"command: {sys.argv!r}",
            "",
            *traceback.format_exception(error),
        ]
    )
    name = f"crash-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}.txt"
    for folder in (logs, Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        except OSError:
            continue
        if folder == logs:
            _forget_old(logs)
        return folder / name
    raise OSError("neither beatctl's home nor the temporary folder can be written")


def _forget_old(logs: Path) -> None:
    with contextlib.suppress(OSError):
        for old in sorted(logs.glob("crash-*.txt"))[:-KEPT]:
            old.unlink()


def guarded(main: Callable[[], int], logs: Callable[[], Path], name: str) -> int:
    """Run a process of ours; what it raises becomes a file and a line that says where."""
    try:
        return main()
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        try:
            place = f"The details are in {write(error, logs())}"
        except OSError as unwritable:
            place = f"The details could not be kept: {unwritable}."
        with contextlib.suppress(OSError, ValueError):
            print(f"beatctl's {name} failed ({what}). {place}", file=sys.stderr, flush=True)  # noqa: T201
        return 1
