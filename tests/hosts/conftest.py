"""Hosts of one Temporal server: homes of their own on this machine, each with the real command."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from beatctl.cli.app import run
from beatctl.worker import embedded_server
from beatctl.worker.run_folder import RunFolder, read_json
from tests.loops.conftest import repository
from tests.support import Beatctl, Done, clean_environment, processes_of, remove_tree, wait_until

__all__ = ["hosts", "repository"]


@dataclass
class Hosts:
    """A server that is nobody's own, and the homes that use it."""

    folder: Path
    address: str
    program: str
    homes: dict[str, Beatctl]

    def __getitem__(self, name: str) -> Beatctl:
        """The home whose host is called so; made when it is first asked for."""
        if name not in self.homes:
            environ = clean_environment(self.folder / name, self.program)
            self.homes[name] = Beatctl({**environ, "TEMPORAL_ADDRESS": self.address, "BEATCTL_HOST": name})
        return self.homes[name]

    def typed(self, name: str, *words: str, expect: int = 0) -> Done:
        """Run `beatctl WORDS` as on this host, in this process: to start Python anew for each would take longer than
        all the rest. Nothing of beatctl's is replaced."""
        environ, before = self[name].environ, dict(os.environ)
        stdout, stderr = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
        os.environ.clear()
        os.environ.update(environ)
        try:
            with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr), contextlib.chdir("/"):
                code = run(list(words))
        finally:
            os.environ.clear()
            os.environ.update(before)
        stdout.flush()
        done = Done(code, stdout.buffer.getvalue().decode(), stderr.getvalue())
        assert done.exit_code == expect, f"beatctl {' '.join(words)}: {done}"
        return done

    def up(self, name: str) -> Beatctl:
        """The home, with its worker taking work."""
        if not RunFolder(self[name].home, f"{self.address}/default").is_held():
            self[name]("up", "-d", cwd=self.folder, expect=0)
        return self[name]

    def kill(self, name: str) -> None:
        """End all of a host that is beatctl's, supervisor first so that nobody brings the worker back."""
        folder = RunFolder(self[name].home, f"{self.address}/default")
        state = folder.read_state()
        for pid in (state["pid"], state["worker_pid"]):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not folder.is_held(), "the supervisor's end")

    def worker_pid(self, name: str) -> int:
        return int(read_json(RunFolder(self[name].home, f"{self.address}/default").worker)["pid"])

    def kill_all(self, name: str) -> None:
        """End every process of a host at once, agents too, as a power cut does."""
        home = self[name].home
        wait_until(lambda: not _killed(home), "the end of every process")


def _killed(home: Path) -> dict[int, str]:
    found = processes_of(home)
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return found


@pytest.fixture(scope="session")
def hosts(server_program: str | None) -> Iterator[Hosts]:
    if server_program is None:
        pytest.skip("no Temporal server program on this machine")
    folder = Path(tempfile.mkdtemp(prefix="bt-")).resolve()
    port, ui_port = next(pair for pair in embedded_server.candidates(folder) if embedded_server.are_free(*pair))
    line = embedded_server.command_line(Path(server_program), folder / "server.db", port, ui_port)
    environ = embedded_server.environment(os.environ)
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(line, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    found = Hosts(folder, f"{embedded_server.ADDRESS}:{port}", server_program, {})
    try:
        wait_until(lambda: embedded_server.answers(port), "the server")
        yield found
    finally:
        for home in found.homes.values():
            home.close()
        server.terminate()
        server.wait(30)
        remove_tree(folder)
