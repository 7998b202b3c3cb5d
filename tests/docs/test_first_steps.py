"""The README's first loop works word for word, as a newcomer would type it."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

from tests.support import Beatctl, wait_until

README = Path(__file__).parents[2] / "README.md"


def _blocks() -> list[str]:
    section = README.read_text(encoding="utf-8").partition("## A first loop, step by step\n")[2].partition("\n## ")[0]
    return re.findall(r"^```\n(.*?)^```", section, re.DOTALL | re.MULTILINE)


def test_a_newcomers_first_steps_work_as_they_are_written(beatctl: Beatctl, place: Path) -> None:
    make, start, look, take = _blocks()
    environ = {**beatctl.environ, "PATH": f"{beatctl.program.parent}:{beatctl.environ['PATH']}"}
    folder = place / "haystack"

    def typed(block: str, cwd: Path) -> str:
        done = subprocess.run(["bash", "-e"], input=block, cwd=cwd, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done
        return done.stdout

    typed(make, place)
    attached = subprocess.Popen(
        ["bash", "-c", f"exec {start}"], cwd=folder, env=environ, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: "keep" in beatctl("show", cwd=folder).stdout, "a kept experiment")
        attached.send_signal(signal.SIGINT)
        said = attached.communicate(timeout=30)[1]
    finally:
        attached.kill()
    assert attached.returncode == 130
    loop = re.search(r"Detached\. (\w+) goes on", said)
    assert loop, said

    page = place / "hay.html"
    assert loop[1] in typed(look.replace("/tmp/hay.html", str(page)), folder)
    assert "make hay.txt smaller" in page.read_text(encoding="utf-8")
    wait_until(lambda: beatctl("status", "--json", cwd=folder).json["state"] == "finished", "the loop's end")
    log = typed(take.replace("k3f9", loop[1]), folder)
    kept = [row for row in beatctl("show", "--json", cwd=folder).json if row["verdict"] == "keep"]
    assert len(log.splitlines()) >= len(kept) + 1
    assert log.rstrip().endswith("A haystack")
