"""The files of a run: of one agent, evaluator or check of one iteration, in that iteration's folder.

A run is named by a path that is no folder itself, `runs/12/agent`. Its files lie beside each other and begin with that
name: `agent.prompt.md`, and of its first try `agent.1.jsonl` (what became of it, see processes/attempts.py),
`agent.1.stdout`, `agent.1.stderr`. Folders and files made by the thousand are what a night's file system feels most.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_JOURNAL = re.compile(r"(.+)\.([1-9][0-9]*)\.jsonl")


def beside(run: Path, end: str) -> Path:
    """A run's file of that name: `runs/12/agent.prompt.md`."""
    return run.with_name(f"{run.name}.{end}")


@dataclass(frozen=True)
class TryFiles:
    """One try of a run; a run has a second one where the first was lost."""

    run: Path
    number: int

    def path(self, end: str) -> Path:
        return beside(self.run, f"{self.number}.{end}")

    @property
    def journal(self) -> Path:
        """Lines of JSON: the command; then, from the shim, its start, what it saw, the result."""
        return self.path("jsonl")

    @property
    def stdout(self) -> Path:
        return self.path("stdout")

    @property
    def stderr(self) -> Path:
        return self.path("stderr")

    @property
    def began(self) -> float:
        """When it was started, in unix seconds; infinite before."""
        lines = self.lines()
        return float(json.loads(lines[1])["at"]) if len(lines) > 1 else float("inf")

    @property
    def over(self) -> bool:
        """Whether the result is there."""
        return is_result(self.lines())

    def lines(self) -> list[bytes]:
        """The journal's whole lines; what was cut off by a crash is no line."""
        try:
            lines = self.journal.read_bytes().split(b"\n")[:-1]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [line for line in lines if line.startswith(b"{") and line.endswith(b"}")]

    def ended(self) -> dict[str, Any] | None:
        """The result as the shim wrote it; None when there is none."""
        lines = self.lines()
        return dict(json.loads(lines[-1])["result"]) if is_result(lines) else None


def is_result(lines: list[bytes]) -> bool:
    """Whether the journal's last line is the result."""
    return bool(lines) and lines[-1].startswith(b'{"result":')


def tries_of(run: Path) -> list[TryFiles]:
    """A run's tries, in order."""
    return sorted((one for one in tries_in(run.parent) if one.run == run), key=lambda one: one.number)


def tries_in(iteration: Path) -> Iterator[TryFiles]:
    """Every try in the folder of an iteration, in no order."""
    try:
        names = os.listdir(iteration)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if found := _JOURNAL.fullmatch(name):
            yield TryFiles(iteration / found[1], int(found[2]))
