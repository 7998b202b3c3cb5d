"""Many loops at once: started through what `start` itself calls, without a process for each."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from beatctl.cli import service
from beatctl.cli.loops import Loops
from beatctl.cli.preparing import checked_root, resolved_agent
from beatctl.cli.start_options import Typed, choose
from beatctl.cli.starting import start_loop


def start_all(environ: Mapping[str, str], folders: Sequence[Path], typed: Typed) -> list[str]:
    """Start the same loop in each folder, a few at a time. Their ids, in the folders' order."""
    loops = Loops(environ)
    chosen = choose(typed)
    with contextlib.redirect_stderr(io.StringIO()):
        running = service.ensure(loops, environ)

    def start(folder: Path) -> str:
        root = checked_root(folder.resolve())
        agent = resolved_agent(chosen, folder, environ)
        return start_loop(loops, chosen, agent, folder.resolve(), root, running, allow_large=False).id

    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(start, folders))
