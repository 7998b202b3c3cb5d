"""Long output on a terminal goes through a pager, as git's does: GIT_PAGER, core.pager, PAGER, else less."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Annotated

import typer

from beatctl.cli.output import out_bytes

NoPager = Annotated[bool, typer.Option("--no-pager", help="Print it all at once.")]


def paged(content: bytes, *, plain: bool = False) -> None:
    """Content on stdout; on a terminal, unless `plain`, through the user's pager."""
    command = "" if plain else _pager()
    if not content or not command or not _through(command, content):
        out_bytes(content)


def _pager() -> str:
    """The pager's command line for a shell; empty where none is wanted."""
    try:
        if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
            return ""
    except ValueError:  # closed
        return ""
    found = os.environ.get("GIT_PAGER")
    if found is None:
        found = _configured()
    if found is None:
        found = os.environ.get("PAGER", "less")
    return "" if found.strip() in ("", "cat") else found


def _configured() -> str | None:
    import subprocess

    try:
        done = subprocess.run(["git", "config", "core.pager"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _through(command: str, content: bytes) -> bool:
    """Show content in the pager. False where there is no such program."""
    import signal
    import subprocess

    environ = {"LESS": "FRX", "LV": "-c", **os.environ}
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pager's
    try:
        process = subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, env=environ, restore_signals=True)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(content)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        return process.wait() not in (126, 127)
    except OSError:
        return False
    finally:
        signal.signal(signal.SIGINT, before)
