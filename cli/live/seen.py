"""What there is to see of a loop: its status, its course, what runs. Reads only the ledger and the loop's folder."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from beatctl.activities.doing import Doing, told
from beatctl.activities.run_files import TryFiles, tries_of
from beatctl.cli.logs import secrets_of_loop

if TYPE_CHECKING:
    from beatctl.activities.agents.spec import AgentKind
    from beatctl.activities.records import Row, Status
    from beatctl.cli.loops import Loops

MOST_ROWS = 200
"""The latest experiments that are kept to be shown: more than a terminal is high."""


@dataclass(frozen=True)
class Running:
    """A child that runs, as its activity noted it."""

    iteration: int
    name: str
    """Its run: `agent`, `agent-step2`, `evaluator`, `evaluator-2`, `best`, `check`."""
    what: str
    since: float
    """Unix seconds."""
    files: TryFiles
    """Of its latest try."""

    @property
    def over(self) -> bool:
        return self.files.over

    @property
    def is_agent(self) -> bool:
        return self.name.startswith("agent")

    @property
    def step(self) -> int:
        """Of a pipeline."""
        digits = self.name.partition("-step")[2].partition("-")[0]
        return int(digits) if digits.isdigit() else 1


@dataclass(frozen=True)
class Seen:
    """Everything a frame shows of a loop."""

    status: Status
    bests: Sequence[float] = ()
    """The score to beat after each row."""
    latest: Sequence[Row] = ()
    """Rows, newest first."""
    scores: Mapping[int, float | None] | None = None
    """By iteration: what the latest rows are compared with."""
    running: Running | None = None
    ran: Running | None = None
    """What ran last, where nothing runs now."""
    at_work: int = 0
    """The iteration whose run is, was last, or is in line."""
    words: str = ""
    """What the running child says."""
    steps: Sequence[str] = ()
    """A pipeline's."""
    samples: int = 1
    here: bool = True
    """The person stands in the loop's folder."""


def running(now: Path) -> Running | None:
    """What runs, from the note in the loop's folder; None between two runs."""
    child = noted(now)
    return child if child is not None and not child.over else None


def noted(now: Path) -> Running | None:
    """What runs or ran last; None where the next run waits for its turn."""
    return _run(told(now))


def _run(doing: Doing | None) -> Running | None:
    if doing is None or doing.waiting:
        return None
    run = Path(doing.run)
    files = next(reversed(tries_of(run)), TryFiles(run, 1))
    return Running(doing.iteration, run.name, doing.what, doing.since, files)


class Words:
    """What the running child says, read anew only when it has printed more."""

    def __init__(self, kinds: dict[str, AgentKind], directory: str, secrets: Sequence[str] = ()) -> None:
        self._kinds = kinds
        self._secrets = secrets
        self._directory = directory
        self._of: tuple[TryFiles, tuple[int, int]] | None = None
        self._words = ""

    def of(self, child: Running | None) -> str:
        if child is None:
            self._of, self._words = None, ""
            return ""
        files = child.files.stdout, child.files.stderr
        key = child.files, (_size(files[0]), _size(files[1]))
        if key != self._of:
            words = self._read(child, *files)
            # Its output may end with a line too long to look behind: then it still does what it did.
            kept = self._words if self._of and self._of[0] == child.files else ""
            self._of, self._words = key, words or kept
        return self._words

    def _read(self, child: Running, stdout: Path, stderr: Path) -> str:
        from beatctl.activities import agents, masking

        name = child.what.partition(" step ")[0]
        kind = self._kinds.get(name, "command") if child.is_agent else "command"
        return masking.masked(agents.saying(kind, stdout, stderr, self._directory), self._secrets)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


class Watched:
    """One loop, looked at again and again; rows are read once."""

    def __init__(self, loops: Loops, loop: str, here: Path) -> None:
        self._loops = loops
        self._loop = loop
        self._here = here
        self._last = -1
        self._scores: dict[int, float | None] = {}
        self._bests: list[float] = []
        self._latest: deque[Row] = deque(maxlen=MOST_ROWS)
        spec = _spec(loops, loop)
        self._steps = [str(step) for step in spec.get("steps") or ()]
        self._samples = int(spec.get("samples") or 1)
        self._words = Words(_kinds(spec), str(spec.get("directory") or ""), secrets_of_loop(loops, loop))

    def look(self) -> Seen:
        """Raises Usage when the loop is gone."""
        status = self._loops.status(self._loop)
        self._read_rows()
        note = told(self._loops.folder(self._loop).now) if status.state != "finished" else None
        child = _run(note)
        over = child is not None and child.over
        root = Path(status.worktree or status.directory)
        return Seen(
            status=status,
            bests=self._bests,
            latest=self._latest,
            scores=self._scores,
            running=None if over else child,
            ran=child if over else None,
            at_work=note.iteration if note is not None else 0,
            words=self._words.of(None if over else child),
            steps=self._steps,
            samples=self._samples,
            here=root == self._here or root in self._here.parents,
        )

    def _read_rows(self) -> None:
        course = self._loops.ledger.course(self._loop, after=self._last)
        if not course:
            return
        for iteration, verdict, score in course:
            self._scores[iteration] = score
            if verdict in ("baseline", "keep") and score is not None:
                self._bests.append(score)
            elif self._bests:
                self._bests.append(self._bests[-1])
        newest = course[-1][0]
        new = self._loops.ledger.rows(self._loop, after=self._last, newest_first=True, limit=MOST_ROWS)
        self._latest.extendleft(row for row in reversed(new) if row.iteration <= newest)
        self._last = newest


def _spec(loops: Loops, loop: str) -> dict[str, Any]:
    try:
        found = json.loads(loops.ledger.spec(loop) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _kinds(spec: dict[str, Any]) -> dict[str, AgentKind]:
    """Of the loop's agents, by name."""
    from beatctl.activities.agents.spec import AgentKind

    found = [agent for agent in (spec.get("agent"), spec.get("fallback")) if isinstance(agent, dict)]
    return {str(agent.get("name")): agent["kind"] for agent in found if agent.get("kind") in get_args(AgentKind)}
