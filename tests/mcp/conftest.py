"""The official client, connected to the real `beatctl mcp`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.from_thread
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.loops.conftest import Repository
from tests.support import Beatctl, remove_tree

Told = Callable[[float, float | None, str], None]


@dataclass
class Agent:
    """An agent's end of a session: calls tools as a client would."""

    portal: anyio.from_thread.BlockingPortal
    client: Client
    repository: Repository
    """The folder the server was started in."""
    wire: Path
    """Everything the server wrote to its standard output."""

    def call(self, tool: str, **arguments: Any) -> Any:
        """The structured result of a call that works; `told` hears of its progress."""
        told: Told | None = arguments.pop("told", None)
        text, result, failed = self._call(tool, arguments, told)
        assert not failed, text
        assert json.loads(text) == result
        return result

    def refused(self, tool: str, **arguments: Any) -> str:
        """What is said of a call that can't be done."""
        text, _, failed = self._call(tool, arguments, None)
        assert failed, text
        return text

    def _call(self, tool: str, arguments: dict[str, Any], told: Told | None) -> tuple[str, Any, bool]:
        async def heard(progress: float, total: float | None, message: str | None) -> None:
            if told is not None:
                told(progress, total, message or "")

        async def call() -> Any:
            return await self.client.call_tool(tool, arguments, progress_callback=heard)

        result = self.portal.call(call)
        return result.content[0].text, result.structured_content, result.is_error


@contextmanager
def connected(beatctl: Beatctl, folder: Path) -> Iterator[Agent]:
    """A session with a server started in a repository made in `folder`."""
    repository = Repository(folder / "project", beatctl.environ)
    wire = folder / "wire"
    line = f'"{beatctl.program}" mcp 2>"{folder}/stderr" | tee "{wire}"'
    server = StdioServerParameters(command="sh", args=["-c", line], env=beatctl.environ, cwd=repository.folder)
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Client(stdio_client(server))) as client,
    ):
        yield Agent(portal, client, repository, wire)


@pytest.fixture(scope="module")
def agent(shared_beatctl: Beatctl) -> Iterator[Agent]:
    """One session for a file's tests."""
    folder = Path(tempfile.mkdtemp(prefix="bt-")).resolve()
    with connected(shared_beatctl, folder) as session:
        yield session
    remove_tree(folder)


@pytest.fixture
def repository(place: Path, agent: Agent) -> Repository:
    """Another repository than the one the server was started in."""
    return Repository(place / "repo", agent.repository.environ)
