"""A folder that loops can be started in, and the Temporal server's client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from temporalio.client import Client

from beatctl.activities.home import Home
from beatctl.cli.loops import Loops as Known
from beatctl.cli.schedule.look import as_json_of
from beatctl.cli.schedule.server import see
from beatctl.worker.connection import connect
from beatctl.worker.hosts import this_host
from beatctl.worker.local import ensure_running
from tests.loops.conftest import Loops, Repository, repository
from tests.support import Beatctl

__all__ = ["host", "own_host", "repository"]

T = TypeVar("T")


class Host(Loops):
    """A home with server and worker, and a repository."""

    @property
    def queue(self) -> str:
        return this_host(Home(self.beatctl.home)).queue

    def schedule(self, command: str, *words: str) -> Any:
        """What `beatctl schedule COMMAND --json WORDS` prints."""
        return self.beatctl("schedule", command, "--json", *words, cwd=self.repository.folder, expect=0).json

    def seen(self, schedule: str) -> Any:
        """What `show` prints of a schedule; in this process: a wait would run many commands."""
        found = self.with_client(lambda client: see(client, schedule, runs=10))
        assert found is not None
        return as_json_of(found, Known(self.beatctl.environ))

    def with_client(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Do `work` with a client of the server, which is started where it isn't there."""
        running = ensure_running(Home(self.beatctl.home), self.beatctl.environ, print)

        async def reach() -> T:
            return await work(await connect(running.connection, environ=self.beatctl.environ))

        return asyncio.run(reach())


@pytest.fixture
def host(shared_beatctl: Beatctl, repository: Repository) -> Host:
    """On a server and worker that many tests share."""
    return Host(shared_beatctl, repository)


@pytest.fixture
def own_host(beatctl: Beatctl, repository: Repository) -> Host:
    """On a server and worker of this test's own, which it may kill."""
    return Host(beatctl, repository)
