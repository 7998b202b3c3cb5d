"""`python -m tests.chaos [--kills N] [--seed S]`; `--overnight`: a long loop, few kills, then its database deleted."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from beatctl.worker.server_program import find_or_fetch
from tests.bench.figures import line
from tests.chaos.plan import make_overnight_plan, make_plan
from tests.chaos.runs import disturbed_beside_undisturbed, night
from tests.support import remove_tree


def main() -> None:
    parser = argparse.ArgumentParser(prog="make chaos", description="Kill beatctl at random, and count what is lost.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--overnight", action="store_true", help="worker and server killed five times each")
    parser.add_argument("--iterations", type=int, default=700, help="of the overnight loop")
    given = parser.parse_args()
    program = str(find_or_fetch(os.environ, print))
    folder = Path(tempfile.mkdtemp(prefix="bt-chaos-")).resolve()
    started = time.monotonic()
    # As Ctrl-C does: what runs in the background by then is ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def say(text: str) -> None:
        print(f"  {time.monotonic() - started:6.1f} s  {text}", file=sys.stderr, flush=True)

    try:
        if given.overnight:
            plan = make_overnight_plan(given.seed, given.iterations, each=5)
            outcome, shown, told = night(folder, program, given.seed, plan, say)
            outcome.print(compared=False)
            line("iterations in show, database deleted", str(shown))
            line("iterations in report, database deleted", str(told))
            wrong = bool(outcome.failed()) or (shown, told) != (given.iterations, given.iterations)
        else:
            plan = make_plan(given.seed, given.kills)
            outcome = disturbed_beside_undisturbed(folder, program, given.seed, plan, say)
            outcome.print(compared=True)
            wrong = bool(outcome.failed())
        line("load of this machine", f"{os.getloadavg()[0]:.1f}", f"{os.cpu_count()} cores; seed {given.seed}")
    finally:
        remove_tree(folder)
    sys.exit(wrong)


if __name__ == "__main__":
    main()
