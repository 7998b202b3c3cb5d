"""Starting, watching and ending whole loops on this host for a workflow, by the real `beatctl start` and `cancel`.

The loop's id is fixed before its command runs, and the ledger tells whether that has come to anything: so a try that
follows another starts no second loop.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from temporalio import activity
from temporalio.exceptions import ApplicationError

from beatctl.activities.beating import beating
from beatctl.activities.being_started import CUT_SHORT, WORKER_GONE, has_begun
from beatctl.activities.command import one_at_a_time, pause_for, run
from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Status
from beatctl.activities.workspace.files import locked, remove_tree, write_whole

_LOOK_S = 0.5
_REFUSALS = (2, 3)
"""Exit codes of `start`: what was typed can't be done; what it needs is not there."""


class Launch(BaseModel):
    """A loop to start on the host that this is for."""

    loop: str = ""
    """The id that it shall have. Empty for a schedule's loops, which are counted: `nightly-3`."""
    schedule: str | None = None
    """The schedule that it comes from."""
    arguments: list[str]
    """Of `start`, as typed; one that is a key of `files` becomes the path of that text."""
    directory: str | None = None
    """Where to start it, on the host."""
    files: dict[str, str] = {}
    """Texts that the arguments name; they are written to a private folder first."""


def taken_words(loop: str) -> str:
    """What `start` says of an id that it was given and can't have."""
    return f"The loop id {loop} is taken."


class Launching:
    """The activities of one host for whole loops."""

    def __init__(
        self, home: Home, command: Sequence[str], environment: Callable[[str | None], Mapping[str, str]]
    ) -> None:
        """`command`: this installation's `beatctl`. `environment(schedule)`: what its commands get on this host."""
        self._home = home
        self._ledger = Ledger(home.ledger)
        self._command = list(command)
        self._environment = environment

    def all(self) -> list[Callable[..., Any]]:
        return [self.start_loop, self.wait_for_end, self.end_loop, self.end_others, self.forget_launch]

    @activity.defn
    async def start_loop(self, given: Launch) -> str:
        """Start the loop, once however often this is tried. Returns its id.

        What `start` refuses is an ApplicationError of type `Refused`, non-retryable: its message is what `start` said,
        its details are `{"exit_code": 2}` or 3.
        """
        folder = self._folder()
        least = 1
        async with beating(), one_at_a_time(folder) as lock:
            while True:
                loop = given.loop or await asyncio.to_thread(self._numbered, folder, given.schedule or "loop", least)
                if await self._has(loop):
                    return loop
                said = await run(
                    [*self._command, *await asyncio.to_thread(_start_line, folder, given)],
                    folder,
                    {
                        **self._environment(given.schedule),
                        "BEATCTL_LOOP_ID": loop,
                        "BEATCTL_LOOP_SCHEDULE": given.schedule or "",
                        "BEATCTL_RUN_BY_WORKER": "1",
                    },
                    lock,
                )
                if said.exit_code == 0:
                    return loop
                if taken_words(loop) in said.stderr and not given.loop:
                    least = _number(loop) + 1  # by another home, on a server that both use
                    continue
                refused = said.exit_code in _REFUSALS and WORKER_GONE not in said.stderr
                raise ApplicationError(
                    said.stderr.strip() or f"beatctl start ended with exit code {said.exit_code} and said nothing.",
                    {"exit_code": said.exit_code},
                    type="Refused" if refused else "Failed",
                    non_retryable=refused,
                )

    @activity.defn
    async def wait_for_end(self, loop: str) -> Status:
        """The loop's last status, once it has ended."""
        async with beating():
            while True:
                status = await asyncio.to_thread(self._ledger.status, loop)
                if status is None:
                    raise ApplicationError(f"The ledger has no loop {loop} any more.", non_retryable=True)
                if status.state == "finished":
                    return status
                await pause_for(_LOOK_S)

    @activity.defn
    async def end_loop(self, loop: str) -> Status:
        """End the loop as `beatctl cancel` does. Returns its last status, once it has ended."""
        async with beating(), one_at_a_time(self._folder()) as lock:
            return await self._end(loop, lock)

    @activity.defn
    async def end_others(self, schedule: str) -> None:
        """End every loop that the schedule has started, those too that it is just starting."""
        mine = self._folder()
        async with beating(), one_at_a_time(mine) as lock:
            for other in await asyncio.to_thread(lambda: sorted(self._home.launches.glob("*/loop"))):
                if other.parent != mine and re.fullmatch(rf"{re.escape(schedule)}-\d+", other.read_text()):
                    async with one_at_a_time(other.parent):  # its command has ended
                        await asyncio.to_thread(remove_tree, bytes(other.parent))
            for status in await asyncio.to_thread(self._ledger.unfinished):
                if status.schedule == schedule:
                    await self._end(status.id, lock)

    async def _end(self, loop: str, lock: int) -> Status:
        status = await asyncio.to_thread(self._ledger.status, loop)
        if status is None:
            raise ApplicationError(f"The ledger has no loop {loop}.", non_retryable=True)
        if status.state == "finished":
            return status
        line = [*self._command, "cancel", loop, "--json"]
        said = await run(line, self._folder(), {**self._environment(None), "BEATCTL_RUN_BY_WORKER": "1"}, lock)
        status = await asyncio.to_thread(self._ledger.status, loop)
        if status is None or status.state != "finished":
            raise ApplicationError(f"beatctl cancel {loop} ended with {said.exit_code}: {said.stderr.strip()}")
        return status

    @activity.defn
    async def forget_launch(self) -> None:
        """Remove what was kept for a further try of this workflow's `start_loop`."""
        await asyncio.to_thread(remove_tree, bytes(self._folder()))

    def _folder(self) -> Path:
        return self._home.launches / str(activity.info().workflow_run_id)

    async def _has(self, loop: str) -> bool:
        """Whether an earlier try has started the loop. One whose start was cut short is forgotten, to be started anew:
        the worker tells within seconds which that is (worker/lost_loops.py)."""
        while (status := await asyncio.to_thread(self._ledger.status, loop)) is not None:
            if status.detail == CUT_SHORT:
                await asyncio.to_thread(self._ledger.remove_loop, loop)
            elif has_begun(self._home.loop(loop), status):
                return True
            else:
                await pause_for(_LOOK_S)
        return False

    def _numbered(self, folder: Path, name: str, least: int) -> str:
        """The next id of this name, noted before anything is started with it."""
        noted = folder / "loop"
        with locked(self._home.launches / ".lock"):
            if noted.exists() and _number(found := noted.read_text()) >= least:
                return found
            known = [loop for loop, _, _ in self._ledger.standings()]
            known += [place.read_text() for place in self._home.launches.glob("*/loop")]
            numbers = [_number(loop) for loop in known if re.fullmatch(rf"{re.escape(name)}-\d+", loop)]
            loop = f"{name}-{max([least, *(number + 1 for number in numbers)])}"
            write_whole(noted, loop.encode(), lasting=True)
            return loop


def _number(loop: str) -> int:
    return int(loop.rpartition("-")[2])


def _start_line(folder: Path, given: Launch) -> list[str]:
    """`start` with its arguments, the texts that they name written to files."""
    paths: dict[str, str] = {}
    for number, (name, text) in enumerate(given.files.items(), 1):
        path = folder / "files" / str(number) / Path(name).name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, text.encode())
        paths[name] = str(path)
    place = [] if given.directory is None else ["-C", given.directory]
    return ["start", "-d", "--json", *place, *(paths.get(word, word) for word in given.arguments)]
