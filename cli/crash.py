"""An error that nobody foresaw: kept in a file, told in a line."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
import traceback
from pathlib import Path

from beatctl.cli.output import say, visible


def told(error: Exception) -> int:
    """Write what happened to HOME/logs/crash-….txt, say where, and return the exit code."""
    what = visible(f"{type(error).__name__}: {error}")
    try:
        place = str(_written(error))
    except OSError as unwritable:
        place = f"nowhere ({unwritable})"
    say(f"beatctl itself failed ({what[:200]}). Running loops go on. The details are in {place}")
    return 1


def _written(error: Exception) -> Path:
    from beatctl import __version__
    from beatctl.activities.home import Home

    text = "\n".join(
        [
            f"beatctl {__version__}, Python {sys.version}, {platform.platform()}",
            f"command: {sys.argv[1:]!r}",
            "",
            *traceback.format_exception(error),
        ]
    )
    name = f"crash-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}.txt"
    for folder in (Home.locate().logs, Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError:
            continue
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        return folder / name
    raise OSError("neither beatctl's home nor the temporary folder can be written")
