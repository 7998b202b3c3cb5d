"""The project whose loop is in the documents' pictures: a dashboard's bundle, and a scripted agent that shrinks it.

`make(folder)` writes a git repository with `agent.py`, `scripts/measure-bundle.sh` and modules of some size. Run as a
program it is that agent: each iteration has an idea, some good, some bad, one that breaks the build.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

MODULES = (
    "charts",
    "dates",
    "export",
    "filters",
    "format",
    "grid",
    "icons",
    "legend",
    "maps",
    "menu",
    "range",
    "table",
)
START = (
    "start",
    "reduce bundle size of the dashboard module",
    *("--eval", "sh scripts/measure-bundle.sh", "--direction", "minimize"),
    *("--agent", f"{sys.executable} agent.py", "--max-iterations", "60", "--for", "8h"),
)
MEASURE = """\
#!/bin/sh
# The bundle: every module, and it must still build.
if grep -l BROKEN src/*.js >/dev/null; then echo "build failed: Cannot find module './fmt'" >&2; exit 1; fi
cat src/*.js | wc -c
"""
# What it says, on which module, and what becomes of that module's size.
IDEAS: tuple[tuple[str, str, float], ...] = (
    ("replace moment with date-fns in src/dates.js", "dates", 0.34),
    ("inline the icon font as one sprite", "icons", 1.12),
    ("drop the XML export nothing calls", "export", 0.41),
    ("memoize bar heights in the charts", "charts", 1.04),
    ("lazy-load the chart legend", "legend", 1.02),
    ("share one formatter for every currency", "format", 0.72),
    ("split fmt out of format.js", "format", 0.0),
    ("tree-shake lodash out of the grid", "grid", 0.55),
    ("move the map tiles' table to a worker", "maps", 1.07),
    ("remove the polyfill for Array.flat", "table", 0.81),
    ("write the range picker without classes", "range", 1.0),
    ("simplify the map outlines to two decimals", "maps", 0.63),
    ("drop unused icons", "icons", 0.70),
    ("merge the menu's three templates", "menu", 0.88),
    ("cache the filters in a Map", "filters", 1.03),
    ("use Intl.DateTimeFormat for every date", "dates", 0.78),
)


def make(folder: Path) -> None:
    """Write the project as a git repository with one commit."""
    for below in ("src", "scripts"):
        (folder / below).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(MODULES):
        line = f"export const {name} = (row, column) => row.{name} ?? column.{name};\n"
        (folder / "src" / f"{name}.js").write_text(line * (180 + 97 * (number * 5 % 12)))
    (folder / "scripts" / "measure-bundle.sh").write_text(MEASURE)
    (folder / "agent.py").write_bytes(Path(__file__).read_bytes())
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "The dashboard"]):
        subprocess.run(["git", *words], cwd=folder, check=True)


def work(iteration: int) -> None:
    """Be the agent of one iteration, in the project's folder."""
    pause = float(os.environ.get("PICTURE_PAUSE_S", "0"))
    words, module, factor = IDEAS[iteration % len(IDEAS)]
    if iteration >= len(IDEAS) and factor < 1.0:  # little is left to gain, and most of it fails
        factor = 1.0 - (1.0 - factor) / 4.0 if iteration % 3 == 0 else 1.01
    print(f"reading src/{module}.js", flush=True)
    time.sleep(pause / 3)
    print(words, flush=True)
    time.sleep(pause * 2 / 3)
    file = Path("src", f"{module}.js")
    lines = file.read_text().splitlines(keepends=True)
    wanted = round(len(lines) * factor)
    if factor == 0.0:
        file.write_text("import './fmt'; // BROKEN\n")
    elif factor == 1.0:
        file.write_text(file.read_text().replace("row, column", "item, column").replace("row.", "item."))
    else:
        file.write_text("".join((lines * 2)[:wanted]))
    print(words)


if __name__ == "__main__":
    work(int(os.environ["BEATCTL_ITERATION"]) - 1)
