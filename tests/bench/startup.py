"""How long a command takes before it does anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.bench.figures import heading, line, timed
from tests.bench.loops import WORDS, make_folder
from tests.support import Beatctl

RUNS = 15


def measure(beatctl: Beatctl, folder: Path) -> None:
    make_folder(folder, in_git=True)
    beatctl("start", "do nothing", *WORDS, "-n", "1", "--json", cwd=folder)

    def run(*words: str) -> float:
        return timed(
            lambda: subprocess.run(words, cwd=folder, env=beatctl.environ, stdout=subprocess.DEVNULL, check=True), RUNS
        )

    bare = run(sys.executable, "-c", "import typer")
    heading("start-up")
    line('python -c "import typer"', f"{1000 * bare:.0f} ms")
    for words, aim in ((("--help",), "1.6 or less is the aim"), (("status",), ""), (("list", "--json"), "")):
        took = run(str(beatctl.program), *words)
        note = f"{took / bare:.2f} times that" + (f"; {aim}" if aim else "")
        line(f"beatctl {' '.join(words)}", f"{1000 * took:.0f} ms", note)
