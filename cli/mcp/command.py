"""`mcp`: the command. What it needs is imported when it runs: the SDK takes most of a second."""

from __future__ import annotations

import gc
import signal
import sys

from beatctl.cli.output import say


def mcp() -> int:
    """Let agents start and steer loops, by MCP.

    Speaks the Model Context Protocol on stdin and stdout: an agent program starts this itself, once beatctl init --mcp
    has written it down there. Loops go on when the agent program ends.
    """
    gc.disable()  # codex gives a server one second: nothing that is imported is ever garbage
    from beatctl.cli.mcp.server import serve

    gc.freeze()
    gc.enable()
    if sys.stdin.isatty():
        say("This speaks MCP: an agent program starts it. To add it there: beatctl init --mcp claude. Ctrl-C ends it.")
    # A read of stdin that has begun can't be called back: Python's own way would wait for its line.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    serve()
    return 0
