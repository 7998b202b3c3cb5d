"""Receivers on loopback, and loops that tell them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.loops.conftest import loops, own_loops, repository
from tests.support import wait_until

__all__ = ["loops", "own_loops", "receiver", "repository"]


class Receiver:
    """A webhook's server: keeps what it is sent, and answers as it is told."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        """Every request's JSON, answered well or not."""
        self.answer = 200
        self.held = threading.Event()
        """Set: requests are answered; cleared, they wait for it."""
        self.held.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(json.loads(body) | {"path": self.path})
                receiver.held.wait(60)
                self.send_response(receiver.answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def url(self, path: str = "hook") -> str:
        return f"json://{self.place}/{path}"

    def events(self, loop: str) -> list[str]:
        return [got["event"] for got in self.got if got.get("loop") == loop]

    def the(self, loop: str, event: str) -> dict[str, Any]:
        """The loop's first message of this event, once it is there."""
        return wait_until(
            lambda: next((got for got in self.got if (got.get("loop"), got["event"]) == (loop, event)), None),
            f"the message of {event}",
        )

    def close(self) -> None:
        self.held.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()
