"""Notify: tell of an event wherever the loop's user wants it told. Never a reason for a loop to fail."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Mapping

from pydantic import BaseModel
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from beatctl.activities.beating import beating
from beatctl.activities.home import Home, LoopFolder
from beatctl.activities.notify import record, sending
from beatctl.activities.notify.happened import NotifyInput
from beatctl.activities.notify.targets import Targets, kept
from beatctl.activities.notify.texts import Message, message

log = logging.getLogger("beatctl.notify")

AT_ONCE = 4
"""Processes that send, of all loops of this worker: each takes some 50 MB while it lives."""
_MOST_ATTEMPTS = 8
"""Beyond a target's tries: for a worker that is killed again and again meanwhile."""
_NETWORK = {"http_proxy", "https_proxy", "no_proxy", "all_proxy", "ssl_cert_file", "requests_ca_bundle"}
_ENDS_S = 2.0


class Result(BaseModel):
    """What became of a message at one target."""

    target: str
    """As it may be shown: `slack://…`."""
    ok: bool
    tries: int = 1
    error: str = ""
    """Without secrets."""


class Teller:
    """Sends the messages of this worker's loops."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._room = asyncio.Semaphore(AT_ONCE)
        self._under_way = set[asyncio.Task[list[Result] | None]]()

    async def tell(self, given: NotifyInput) -> None:
        """Tell of the event; raises a retryable error while a target has tries left."""
        folder = self._home.loop(given.loop)
        targets = kept(folder.notify)
        if given.happened is not None and targets is not None:
            async with beating(), self._room:
                results = await self._deliver(targets, message(given.happened), given.id, folder)
            self._settle(given, targets, results)
        if given.last:
            with contextlib.suppress(OSError):
                folder.notify.unlink(missing_ok=True)

    async def _deliver(self, targets: Targets, what: Message, id: str, folder: LoopFolder) -> list[Result] | None:
        """Send it, also where the run of the chain that wanted it has handed over: the next one's try waits for this
        process and finds what it has done. A worker that is leaving ends it."""
        under_way = asyncio.create_task(deliver(targets, what, id, folder))
        self._under_way.add(under_way)
        under_way.add_done_callback(self._under_way.discard)
        try:
            return await asyncio.shield(under_way)
        except asyncio.CancelledError:
            details = activity.cancellation_details()
            if details is None or details.worker_shutdown:
                under_way.cancel()
                await asyncio.wait([under_way])
                raise _again("The worker stops; the next one sends it.") from None
            raise

    def _settle(self, given: NotifyInput, targets: Targets, results: list[Result] | None) -> None:
        attempt = activity.info().attempt
        if results is None:
            if attempt < record.TRIES:
                raise _again("The process that sends has died.")
            log.warning("%s: not notified: the process that sends has died %d times", given.loop, attempt)
            return
        failed = [result for result in results if not result.ok]
        words = [record.problem(result.model_dump()) for result in failed]
        if any(result.tries < record.TRIES for result in failed) and attempt < _MOST_ATTEMPTS:
            raise _again("; ".join(words))
        for text in words:
            log.warning("%s: %s", given.loop, text)


def _again(words: str) -> ApplicationError:
    """For another try. Benign: a service that is away is no mistake of the worker's, for its log."""
    return ApplicationError(words, type="notify", category=ApplicationErrorCategory.BENIGN)


async def deliver(targets: Targets, what: Message, id: str, folder: LoopFolder | None) -> list[Result] | None:
    """Send a message once to each target that has not taken it, in a process of its own; None where that died.

    `folder`: the loop's, where it is noted what got through; None for a message of no loop.
    """
    task = {
        "id": id,
        "urls": targets.urls,
        "command": targets.command,
        "directory": targets.directory,
        "environment": targets.environment,
        "message": what.model_dump(mode="json"),
        "place": str(folder.root) if folder is not None else None,
    }
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", sending.__name__),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # whatever a library writes there may hold an address
            env=_environment(targets.environment),
            cwd="/",
        )
    except OSError:  # the system has no more processes to give
        return None
    try:
        output, _ = await process.communicate(json.dumps(task).encode())
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _ENDS_S)
    if process.returncode != 0:
        return None
    return [Result.model_validate(found) for found in json.loads(output)]


def _environment(told: Mapping[str, str]) -> dict[str, str]:
    """The worker's, with the network settings of the shell that started the loop."""
    return {**os.environ, **{name: value for name, value in told.items() if name.lower() in _NETWORK}}
