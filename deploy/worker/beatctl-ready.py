#!/opt/beatctl/bin/python -I
"""Whether this container's worker takes work: exit 0, else 1 and why. For health checks and readiness probes.

It reads what the supervisor tells on disk and asks no server: it has to be cheap. It is no reason to end a container:
the supervisor itself starts a worker that ended or hangs, and a container's end would end its agents.
"""

import os
import sys
from pathlib import Path

from beatctl.worker.run_folder import RunFolder


def main() -> int:
    states = [folder.read_state() for folder in RunFolder.all(Path(os.environ["BEATCTL_HOME"]))]
    living = [state for state in states if state]
    if not living:
        why = "nothing runs"
    elif not all(state.get("ready") for state in living):
        why = next((state["error"] for state in living if state.get("error")), None) or "not ready yet"
    elif any(state.get("crash_loops") for state in living):
        why = "it ends again and again: beatctl doctor"
    else:
        return 0
    print(why, file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main())
