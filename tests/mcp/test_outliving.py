"""A loop started by an agent goes on whatever becomes of the agent and of the server it talked to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Status
from tests.loops.conftest import Repository
from tests.support import Beatctl, wait_until


class Session:
    """A server as a client of 2025 starts it, in a process group of its own, and the messages on its pipes."""

    def __init__(self, beatctl: Beatctl, folder: Path) -> None:
        self.process = subprocess.Popen(
            [str(beatctl.program), "mcp"],
            cwd=folder,
            env=beatctl.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        about = {"name": "old client", "version": "1"}
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": about}
        self.send({"id": 0, "method": "initialize", "params": hello})
        assert self.answer()["result"]["serverInfo"]["name"] == "beatctl"
        self.send({"method": "notifications/initialized"})

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """The next message: each line is one."""
        assert self.process.stdout is not None
        message = json.loads(self.process.stdout.readline())
        assert message["jsonrpc"] == "2.0"
        return message

    def result(self) -> Any:
        """The next message that is no word on progress."""
        while "result" not in (message := self.answer()):
            assert message["method"] == "notifications/progress"
        return message["result"]["structuredContent"]

    def leave(self) -> tuple[int, bytes]:
        """Go away in the middle of an answer; the server's exit code, and what it said for people."""
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        self.send({"id": 99, "method": "tools/list"})
        process.stdin.close()
        said = process.stderr.read()
        process.stderr.close()
        return process.wait(60), said

    def call(self, number: int, tool: str, **arguments: Any) -> None:
        params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": number}}
        self.send({"id": number, "method": "tools/call", "params": params})


def test_a_loop_goes_on_when_its_client_leaves_and_when_the_servers_process_group_is_killed(
    beatctl: Beatctl, place: Path
) -> None:
    project = Repository(place / "repo", beatctl.environ)
    go_on = project.folder.parent / "go-on"
    script = project.agent(f"until [ -e {go_on} ]; do sleep 0.05; done; echo 1 > n")
    session = Session(beatctl, project.folder)
    session.call(1, "start_loop", goal="lower n", until="grep -qx 1 n", agent=script)
    loop = session.result()["loop"]["id"]
    # Its wait would last an hour: the server ends all the same, once it was given up and the client has left.
    session.call(2, "wait_for_loop", loop=loop, timeout_s=3600)
    assert session.answer()["method"] == "notifications/progress"
    session.send({"method": "notifications/cancelled", "params": {"requestId": 2}})
    assert session.leave() == (0, b"")

    def status() -> Status:
        found = Ledger(beatctl.home / "ledger.db").status(loop)
        assert found is not None
        return found

    assert status().state == "running"
    other = Session(beatctl, project.folder)
    other.call(1, "wait_for_loop", loop=loop, timeout_s=3600)
    assert "iteration 0" in other.answer()["params"]["message"]
    os.killpg(other.process.pid, signal.SIGKILL)
    assert other.process.stdout is not None
    assert other.process.stderr is not None
    rest = other.process.stdout.read() + other.process.stderr.read()  # nothing that lives on holds its pipes open
    assert b"Traceback" not in rest
    other.process.communicate()
    go_on.touch()
    wait_until(lambda: status().state == "finished", "the loop's end")
    assert (status().outcome, status().iteration) == ("reached", 1)
