"""A Temporal server that is not beatctl's own: a dev server as it comes, started and ended by the tests."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from beatctl.worker.embedded_server import answers
from tests.support import Beatctl, clean_environment, remove_tree, wait_until


@dataclass(frozen=True)
class Shared:
    """A server, and a profile `prod` that leads to a namespace `work` on it, which is not there yet."""

    address: str
    program: str
    profiles: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def shared_server(server_program: str | None) -> Iterator[Shared]:
    if server_program is None:
        pytest.skip("no Temporal server program on this machine")
    folder = Path(tempfile.mkdtemp(prefix="bt-")).resolve()
    port = free_port()
    line = [server_program, "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*line, "--log-level", "error"], cwd=folder, env={"HOME": str(folder)}, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: answers(port), "the server", 120)
        profiles = folder / "temporal.toml"
        profiles.write_text(f'[profile.prod]\naddress = "127.0.0.1:{port}"\nnamespace = "work"\n')
        yield Shared(f"127.0.0.1:{port}", server_program, profiles)
    finally:
        process.kill()
        process.wait()
        remove_tree(folder)


@pytest.fixture(scope="module")
def away(shared_server: Shared) -> Iterator[Beatctl]:
    """beatctl with a home of its own, for loops on the shared server."""
    folder = Path(tempfile.mkdtemp(prefix="bt-")).resolve()
    environ = clean_environment(folder, shared_server.program)
    command = Beatctl({**environ, "TEMPORAL_CONFIG_FILE": str(shared_server.profiles)})
    yield command
    command.close()
    remove_tree(folder)


def temporal(shared: Shared, *words: str) -> str:
    """What Temporal's own command says of the namespace."""
    line = [shared.program, *words, "--address", shared.address, "-n", "work"]
    environ = {"HOME": str(shared.profiles.parent), "PATH": os.environ["PATH"]}
    return subprocess.run(line, env=environ, capture_output=True, text=True, check=True).stdout
