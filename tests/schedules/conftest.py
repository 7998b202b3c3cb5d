"""A folder that loops can be started in, and the Temporal server's client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from temporalio.client import Client

from beatctl.activities.home import Home
from beatctl.worker.data_converter import data_converter
from beatctl.worker.hosts import this_host
from tests.loops.conftest import Loops, Repository
from tests.support import Beatctl

T = TypeVar("T")


class Host(Loops):
    """A home with server and worker, and a repository."""

    @property
    def queue(self) -> str:
        return this_host(Home(self.beatctl.home)).queue

    def with_client(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Do `work` with a client of the server, which is started where it isn't there."""
        self.beatctl("up", "-d", cwd=self.repository.folder, expect=0)
        address = self.do("doctor")["server"]["address"]

        async def reach() -> T:
            return await work(await Client.connect(address, data_converter=data_converter))

        return asyncio.run(reach())


@pytest.fixture
def repository(place: Path, environment: dict[str, str]) -> Repository:
    return Repository(place / "repo", environment)


@pytest.fixture
def host(shared_beatctl: Beatctl, repository: Repository) -> Host:
    """On a server and worker that many tests share."""
    return Host(shared_beatctl, repository)


@pytest.fixture
def own_host(beatctl: Beatctl, repository: Repository) -> Host:
    """On a server and worker of this test's own, which it may kill."""
    return Host(beatctl, repository)
