"""Heartbeats of what may take long, so that a killed worker is noticed within seconds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeVar

from temporalio import activity

HEARTBEAT_S = 1.0

T = TypeVar("T")


@dataclass
class Beat:
    """What the heartbeats say."""

    words: str = ""
    """Why nothing runs yet, for whoever looks at the activity in the Web UI."""


@contextlib.asynccontextmanager
async def beating() -> AsyncIterator[Beat]:
    """Heartbeats for as long as the block runs, none for what is over within a second.

    They carry nothing that recovery needs, which is on disk: the server keeps but few of them.
    """
    said = Beat()

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            activity.heartbeat(*([said.words] if said.words else []))

    task = asyncio.create_task(beat())
    try:
        yield said
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def in_thread_to_its_end(work: Callable[[], T]) -> T:
    """The result of work that blocks and must not be left half-way: a cancel is for whoever is given the result."""
    async with beating():
        running = asyncio.ensure_future(asyncio.to_thread(work))
        while True:
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                if running.cancelled():
                    raise
