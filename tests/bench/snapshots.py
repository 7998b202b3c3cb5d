"""A snapshot and a restore in a large repository, one file changed, against what git needs to look at it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from beatctl.activities.home import Home
from beatctl.activities.workspace import Workspace
from tests.bench.figures import heading, line, median, timed

ROUNDS = 7
FOLDERS = 500


def measure(home: Path, folder: Path, files: int) -> None:
    heading(f"a repository of {files:,} files, one changed")
    folder.mkdir()
    for number in range(files):
        below = folder / f"d{number % FOLDERS}"
        below.mkdir(exist_ok=True)
        (below / f"f{number}.txt").write_text(f"{number}\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run(["git", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    subject = folder / "d0" / "f0.txt"

    start = time.perf_counter()
    workspace = Workspace.open(Home(home).create().loop("bench"), folder)
    opened = time.perf_counter() - start
    captured: list[float] = []
    restored: list[float] = []
    for number in range(1, ROUNDS + 1):
        subject.write_text(f"round {number}\n")
        start = time.perf_counter()
        capture = workspace.capture(str(number), "one file changed")
        captured.append(time.perf_counter() - start)
        assert capture.paths == ["d0/f0.txt"], capture
        start = time.perf_counter()
        changed = workspace.restore(workspace.baseline, keep=None)
        restored.append(time.perf_counter() - start)
        assert changed == ["d0/f0.txt"], changed
        assert subject.read_text() == "0\n"
    look = ["git", "status", "--porcelain"]
    status = timed(lambda: subprocess.run(look, cwd=folder, check=True, stdout=subprocess.DEVNULL), ROUNDS)
    workspace.close()
    line("git status", f"{status:.3f} s")
    line("snapshot", f"{median(captured):.3f} s", f"{median(captured) / status:.2f} times that; 2 or less is the aim")
    line("restore", f"{median(restored):.3f} s", f"{median(restored) / status:.2f} times that; 2 or less is the aim")
    line("the baseline, once", f"{opened:.3f} s", f"{opened / status:.1f} times that")
