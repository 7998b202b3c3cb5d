"""`logs`: what agent and evaluator printed, from the files their runs write."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beatctl.activities import packed
from beatctl.activities.masking import cut_off, masked_bytes, secrets_of
from beatctl.activities.run_files import TryFiles, tries_in
from beatctl.cli import freed, service
from beatctl.cli.arguments import Json, LoopAndNumber, loop_and_number
from beatctl.cli.loops import Loops
from beatctl.cli.output import out_bytes, out_json, say
from beatctl.cli.problems import DETACHED, Usage

if TYPE_CHECKING:
    from beatctl.activities.records import Status

_TAIL_BYTES = 64 * 1024
_CHUNK = 256 * 1024
_POLL_S = 0.2


@dataclass(frozen=True)
class Output:
    """What one try of one run printed."""

    iteration: int
    files: TryFiles

    @property
    def kind(self) -> str:
        """`agent`, `agent-step2`, `evaluator`, `evaluator-2` (sample), `check`, …"""
        return self.files.run.name

    def title(self) -> str:
        again = f", try {self.files.number}" if self.files.number > 1 else ""
        return f"==> #{self.iteration} {self.kind}{again} <=="


def outputs(folder: Path) -> list[Output]:
    """What an iteration's folder holds, in the order it ran."""
    found = [Output(_number(folder), files) for files in tries_in(folder)]
    return sorted(found, key=lambda run: (run.files.began, run.kind, run.files.number))


def _number(folder: Path) -> int:
    return int(folder.name) if folder.name.isdigit() else -1


def latest(runs: Path) -> Path | None:
    """The folder of the newest iteration that ran anything."""
    try:
        names = [name for name in os.listdir(runs) if name.isdigit()]
    except OSError:
        return None
    return runs / max(names, key=int) if names else None


def tail(file: Path, lines: int) -> str:
    """A file's last lines, unreadable bytes replaced; empty when it isn't there."""
    text = packed.tail(file, _TAIL_BYTES).decode("utf-8", "replace")
    return "\n".join(text.splitlines()[-lines:]) + "\n" if text.strip() else ""


def logs(
    words: LoopAndNumber = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on printing until the loop ends.")] = False,
    as_json: Json = False,
) -> int:
    """Print what agent and evaluator printed.

    In the iteration that runs or ran last, or in number N.
    """
    loop, number = loop_and_number(words)
    loops = Loops()
    status = loops.find(loop)
    service.bring_back_if_gone(loops, status)
    runs = loops.folder(status.id).runs
    folder = runs / str(number) if number is not None else latest(runs)
    if number is not None and folder is not None and not folder.is_dir():
        why = freed.words(loops, status.id, "outputs")
        raise Usage(f"Loop {status.id} has no logs of an iteration {number}. {why}".rstrip())
    if as_json:
        found = outputs(folder) if folder is not None else []
        out_json(
            [
                {"iteration": run.iteration, "run": run.kind, "try": run.files.number}
                | {"stdout": str(packed.place_of(run.files.stdout)), "stderr": str(packed.place_of(run.files.stderr))}
                for run in found
            ]
        )
        return 0
    if not follow:
        if folder is None:
            why = freed.words(loops, status.id, "outputs")
            raise Usage(why or f"Loop {status.id} has run nothing yet.")
        printer = _Printer(secrets_of_loop(loops, status.id))
        printer.print_new(outputs(folder), whole=True)
        return 0
    return _follow(loops, status.id, folder, only=number is not None)


def _follow(loops: Loops, loop: str, folder: Path | None, *, only: bool) -> int:
    """Print what comes until the loop (or, with `only`, that iteration) ends. Ctrl-C ends this, not the loop."""
    printer = _Printer(secrets_of_loop(loops, loop))
    runs = loops.folder(loop).runs
    said = ""
    try:
        while True:
            status = loops.status(loop)  # before the files: what it says is over is in them
            for place in _iterations(runs, folder):
                printer.print_new(outputs(place))
                folder = place
                if only:
                    break
            if status.state == "finished" or (only and folder is not None and status.iteration > _number(folder)):
                if folder is not None:
                    printer.print_new(outputs(folder), whole=True)
                return 0
            before, said = said, _why_nothing_comes(loops, status)
            if said and said != before:
                say(said)
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        return DETACHED


def _why_nothing_comes(loops: Loops, status: Status) -> str:
    """Until somebody does something: a pause, or beatctl is down."""
    if status.state == "paused":
        from beatctl.cli.follow import paused_words

        return paused_words(status)
    return service.down_words(status) if service.is_down(loops, status) else ""


def _iterations(runs: Path, since: Path | None) -> Iterator[Path]:
    newest = latest(runs)
    if newest is None:
        return
    for number in range(_number(since) if since is not None else 0, _number(newest) + 1):
        if (runs / str(number)).is_dir():
            yield runs / str(number)


def secrets_of_loop(loops: Loops, loop: str) -> list[str]:
    """What is not to be shown of a loop: of its environment, and (that is deleted with the loop's end) of this
    shell's."""
    try:
        kept = json.loads(loops.folder(loop).environment.read_bytes())
    except (OSError, ValueError):
        kept = {}
    return secrets_of({**loops.environ, **{f"{name}.": value for name, value in kept.items()}})


class _Printer:
    """Prints files from where it stopped, with a title where another run begins, and `***` for each of `secrets`."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._secrets = [secret.encode("utf-8", "surrogateescape") for secret in secrets]
        self._printed: dict[Path, int] = {}
        self._last: tuple[int, str, int] | None = None

    def print_new(self, found: list[Output], *, whole: bool = False) -> None:
        """What is new in these; `whole`: nothing more comes, so that an end which might begin a secret is shown."""
        for run in found:
            for file in (run.files.stdout, run.files.stderr):
                self._print_file(run, file, whole)

    def _print_file(self, run: Output, file: Path, whole: bool) -> None:
        try:
            stream = packed.opened(file)
        except OSError:
            return
        with stream:
            stream.seek(self._printed.get(file, 0))
            rest = b""
            while read := stream.read(_CHUNK):
                chunk = masked_bytes(rest + read, self._secrets)
                rest = chunk[len(chunk) - cut_off(chunk, self._secrets) :]
                self._print(run, chunk[: len(chunk) - len(rest)])
            if whole:
                self._print(run, rest)
                rest = b""
            self._printed[file] = stream.tell() - len(rest)

    def _print(self, run: Output, chunk: bytes) -> None:
        key = (run.iteration, run.kind, run.files.number)
        if chunk and key != self._last:
            out_bytes(f"{run.title()}\n".encode())
            self._last = key
        if chunk:
            out_bytes(chunk)
