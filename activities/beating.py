"""Heartbeats of what may take long, so that a killed worker is noticed within seconds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from temporalio import activity

HEARTBEAT_S = 1.0

T = TypeVar("T")


@contextlib.asynccontextmanager
async def beating() -> AsyncIterator[None]:
    """Heartbeats for as long as the block runs, none for what is over within a second.

    They carry no details: all that recovery needs is on disk, and the server keeps but few of them.
    """

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            activity.heartbeat()

    task = asyncio.create_task(beat())
    try:
        yield
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
