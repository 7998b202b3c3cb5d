"""How a process that has used the Temporal SDK ends. Standard library only."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End this process with `code`, without Python's own clean-up.

    The SDK's threads may still be letting go of Python when it cleans up, and then one run in three ends with SIGABRT
    or SIGSEGV instead of its exit code (temporalio/sdk-python issue 300). What has to happen at the end still does:
    atexit functions run, output is flushed.
    """
    atexit._run_exitfuncs()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # the reader has gone, or it is closed
            code = code or 1
    os._exit(code)
