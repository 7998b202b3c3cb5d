"""Runs the benchmarks and prints what they measured: `python -m tests.bench [--iterations N] [--files N] [PART …]`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from beatctl.worker.server_program import find_or_fetch
from tests.bench import long, loops, many, memory, recovery, snapshots, startup, telemetry
from tests.bench.figures import heading
from tests.support import Beatctl, clean_environment, remove_tree

PARTS = ("loop", "no-git", "long", "commands", "recovery", "startup", "memory", "snapshots", "many", "telemetry")
LONG = 5000


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure beatctl on this machine.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all when left out")
    parser.add_argument("--iterations", type=int, help=f"700 when left out, {LONG} for what is long")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--loops", type=int, default=100, help="how many at once, for the part many")
    given = parser.parse_args()
    parts = given.parts or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")

    program = find_or_fetch(os.environ, print)
    print(f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    folder = Path(tempfile.mkdtemp(prefix="bt-bench-")).resolve()
    beatctl = Beatctl(clean_environment(folder, str(program)))
    os.environ.update(beatctl.environ)  # for what runs in this process
    work: dict[str, Callable[[], None]] = {
        "loop": lambda: loops.measure(beatctl, folder / "in-git", given.iterations or 700, in_git=True),
        "no-git": lambda: loops.measure(beatctl, folder / "no-git", given.iterations or 700, in_git=False),
        "long": lambda: long.measure(beatctl, folder / "long", given.iterations or LONG),
        "commands": lambda: long.measure_commands(beatctl, folder / "commands", given.iterations or LONG),
        "recovery": lambda: recovery.measure(beatctl, folder / "recovery"),
        "startup": lambda: startup.measure(beatctl, folder / "startup"),
        "memory": lambda: memory.measure(beatctl, folder / "memory"),
        "telemetry": lambda: telemetry.measure(beatctl, folder / "telemetry", given.iterations or 200),
        "many": lambda: many.measure(beatctl, folder / "many", given.loops),
        "snapshots": lambda: snapshots.measure(beatctl.home, folder / "files", given.files),
    }
    failed = False
    try:
        for part in (one for one in PARTS if one in parts):
            try:
                work[part]()
            except Exception:
                traceback.print_exc()
                failed = True
    finally:
        heading("cleaning up")
        beatctl.close()
        remove_tree(folder)
    sys.exit(failed)


if __name__ == "__main__":
    main()
