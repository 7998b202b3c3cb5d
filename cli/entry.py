"""The command's first step: see that nothing of the user's repository gets imported, then run, then end with a code.

Imports next to nothing itself: a repository may have its own `cli/`, `worker/` or `typer.py`, and PYTHONPATH may make
Python take those for ours.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

_LEADS_ASTRAY = ("PYTHONPATH", "PYTHONHOME")


def restarted_argv() -> list[str] | None:
    """The command line that runs this same command with those variables ignored; None where nothing leads astray.

    The variables stay in the environment: the loop's own children may need them.
    """
    if sys.flags.ignore_environment or not any(os.environ.get(name) for name in _LEADS_ASTRAY):
        return None
    from beatctl.worker.isolation import python_module

    return python_module("beatctl.cli.entry", *sys.argv[1:])


def main() -> None:
    """`beatctl …`. Never returns, never shows a traceback."""
    argv = restarted_argv()
    if argv is not None:
        os.execv(argv[0], argv)
    if sys.platform == "win32":
        sys.exit("beatctl runs on Linux, macOS and WSL: on Windows, install it inside WSL.")
    for name in ("stdin", "stdout", "stderr"):  # closed by the caller: writing there is no error
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
    shell = os.environ.pop("_BEATCTL_COMPLETE", None)
    if shell:
        from beatctl.cli.completing import answer

        sys.exit(answer(shell, sys.argv[1:]))
    try:
        code = _run()
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 1
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own, while it cleans up, shows a traceback
    if "temporalio" in sys.modules:
        from beatctl.worker.leaving import leave

        leave(code)
    _let_go_of_lost_streams()
    sys.exit(code)


def _let_go_of_lost_streams() -> None:
    """What could not be written to a terminal that vanished is still in the buffer: Python, which tries once more as it
    ends, would make an exit code of its own of that (120)."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _run() -> int:
    try:
        from beatctl.cli.app import run

        return run(sys.argv[1:])
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        from beatctl.cli.crash import told

        return told(error)


if __name__ == "__main__":
    main()
