"""One try of one run: the files in its folder, and what they say.

`spec.json` is written by the worker before anything else, and locked by the shim while it lives; `started` is there
once something may have been spawned; `stdout` and `stderr` grow; `cancel` is the worker's wish to end it; `result.json`
appears when every process of the try is gone. The state is read from these alone, never decided by a pid.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from . import lock

TryState = Literal["fresh", "running", "done", "lost"]
EndedBy = Literal["exit", "timeout", "cancel", "output-limit", "not-started"]


class CommandSpec(BaseModel):
    """A command to run once. Text that is not UTF-8 travels as Python's surrogate escapes."""

    argv: list[str] = Field(min_length=1)
    """Program and arguments; a program without a slash is looked for along the child's own PATH."""
    cwd: str
    environment_file: str | None = None
    """A JSON object with the whole environment (see `save_environment`); none: the spawner's own."""
    extra_environment: dict[str, str] = {}
    """Set on top of the environment."""
    stdin: str | None = None
    """A file to read; none: nothing to read."""
    timeout_s: float = Field(0.0, ge=0)
    """0 = none. Kept by the shim, also while no worker lives; time the machine sleeps does not count."""
    grace_s: float = Field(5.0, ge=0)
    """From TERM to KILL."""
    output_limit: int = Field(1 << 30, ge=0)
    """Bytes of stdout and stderr together after which the tree is ended: a night must not fill the disk."""


class RunResult(BaseModel):
    """What became of a try, as the shim wrote it."""

    exit_code: int | None
    """None when a signal ended it, or it never ran. A program that is missing gives 127, one that can't run 126."""
    signal: int | None
    ended_by: EndedBy
    """`exit`: by itself, signals from elsewhere included."""
    error: str | None = None
    """Why it could not be started."""
    started_at: float
    ended_at: float
    """The main child's end; unix seconds, like `started_at`."""
    left_behind: list[str] = []
    """Names of processes that outlived the main child and were ended."""
    not_ended: list[str] = []
    """Names of processes that could not be ended: another user's, or held by a device."""
    cpu_s: float = 0.0
    max_rss: int = 0
    """Bytes, of the largest single process."""


class Lost(Exception):
    """The try's shim died and left no result. End its remains, restore the workspace, and run again."""


@dataclass(frozen=True)
class Try:
    folder: Path

    @property
    def stdout(self) -> Path:
        return self.folder / "stdout"

    @property
    def stderr(self) -> Path:
        return self.folder / "stderr"

    @property
    def number(self) -> int:
        return int(self.folder.name.removeprefix("try-"))

    def state(self) -> TryState:
        """`fresh`: nothing was spawned, safe to start. `running`: a shim lives. `done`: `result()` has it. `lost`."""
        # In this order. `started` before the lock: a shim that starts in between must not read as lost. The result
        # after the lock: a shim that ends in between must not either.
        started = (self.folder / "started").exists()
        held = self.shim_pid() is not None
        if _size(self.folder / "result.json"):  # empty after a power cut: as good as none
            return "done"
        if held:
            return "running"
        return "lost" if started else "fresh"

    def result(self) -> RunResult:
        """Raises Lost when there is none."""
        try:
            return RunResult.model_validate(json.loads((self.folder / "result.json").read_bytes()))
        except (FileNotFoundError, ValueError) as problem:
            raise Lost(f"{self.folder} has no result") from problem

    def shim_pid(self) -> int | None:
        """The shim that holds the lock, by the kernel's word; None when there is none."""
        return lock.holder(str(self.folder / "spec.json"))

    def identity(self) -> str:
        """What its processes carry in their environment as BEATCTL_TRY."""
        return str(json.loads((self.folder / "spec.json").read_bytes())["id"])

    def spec(self) -> CommandSpec:
        return CommandSpec.model_validate(json.loads((self.folder / "spec.json").read_bytes()))

    def record(self) -> list[dict[str, Any]]:
        """What the shim noted in `started`: itself first, then processes it saw. Cut-off lines are left out."""
        try:
            lines = (self.folder / "started").read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]


def latest_try(run: Path) -> Try | None:
    """The newest try in a run's folder."""
    numbers = _numbers(run)
    return Try(run / f"try-{max(numbers)}") if numbers else None


def new_try(run: Path, spec: CommandSpec) -> Try:
    """The next try's folder, complete with its specification or not there at all."""
    run.mkdir(parents=True, exist_ok=True, mode=0o700)
    identity = secrets.token_hex(8)
    draft = run / f".new-{identity}"
    draft.mkdir(mode=0o700)
    _write_private(draft / "spec.json", json.dumps({"id": identity, **spec.model_dump()}))
    for name in ("stdout", "stderr"):  # there from the start, for whoever reads along
        _write_private(draft / name, "")
    number = max(_numbers(run), default=0) + 1
    while True:
        folder = run / f"try-{number}"
        try:
            draft.rename(folder)
        except OSError:
            if not folder.exists():
                raise
            number += 1  # another worker was quicker
        else:
            return Try(folder)


def save_environment(path: Path, environ: Mapping[str, str]) -> None:
    """Keep an environment for `CommandSpec.environment_file`: private to the user, whole or not there."""
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    _write_private(draft, json.dumps(dict(environ)))
    draft.rename(path)


def _numbers(run: Path) -> list[int]:
    try:
        names = os.listdir(run)
    except FileNotFoundError:
        return []
    return [int(name[4:]) for name in names if name.startswith("try-") and name[4:].isdigit()]


def _write_private(path: Path, text: str) -> None:
    # ASCII: json escapes what is not, lone surrogates too.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(text)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
