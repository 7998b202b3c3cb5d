"""A language model that follows a script, on a loopback port: what claude, codex, gemini and opencode talk to in tests.

It speaks Anthropic Messages, OpenAI Responses and Chat Completions, and Gemini generateContent. A script says for each
run of an agent what the model asks it to do, one thing a turn, and with which sentence it ends. The agent really does
it.

    python -m tests.agents.scripted_llm --outcome ok --command 'echo hello > made.txt'

prints the port it listens on, and serves until it is ended.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, cast

from tests.agents import dialects, refusals
from tests.agents.dialects import Action, Json, Shell

Outcome = Literal["ok", "loop", "429", "401", "529", "500", "hang"]

DEFAULT_COMMAND = "echo hello > made-by-agent.txt"
LAST_WORDS = "Done: ran the command."


@dataclass(frozen=True)
class Limit:
    """A rate limit that begins with a run, and after some seconds is really over."""

    run: int
    """The first of an agent's runs is 1."""
    lasts_s: int


@dataclass
class Script:
    """What the model does."""

    outcome: Outcome = "ok"
    """`loop`: asks for the first thing again and again; a number: answers with that HTTP error; `hang`: never answers.
    May be set anew while the model serves."""
    command: str = DEFAULT_COMMAND
    """What the one turn of every run asks for, where `runs` is empty."""
    last_words: str | Callable[[Sequence[str]], str] = LAST_WORDS
    """How a run ends; made of the results of what was asked for in it."""
    reset_at: int = 0
    """Unix seconds at which a 429 ends; 0: an hour from now."""
    runs: Sequence[Sequence[Action]] = ()
    """What is asked for in each run that comes to its end; the last entry holds for all after it."""
    limit: Limit | None = None
    prompts: list[Json] = field(default_factory=list)
    """Each request's body, for tests to look at."""
    refused: list[float] = field(default_factory=list)
    """When requests were answered with an HTTP error: unix seconds."""
    ended_runs: int = 0
    turns: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    ended: threading.Event = field(default_factory=threading.Event)

    def next(self, results: Sequence[str]) -> Action | str:
        """What to ask for once these results are there, or the last words. A run is over when those are said."""
        runs = self.runs or [[Shell(self.command)]]
        actions = runs[min(self.ended_runs, len(runs) - 1)]
        if self.outcome == "loop":
            return actions[0]
        if len(results) < len(actions):
            return actions[len(results)]
        self.ended_runs += 1
        return self.last_words if isinstance(self.last_words, str) else self.last_words(results)

    def refusal(self) -> int | None:
        """The HTTP error to answer with now."""
        if self.outcome.isdigit():
            return int(self.outcome)
        if self.limit is None or self.ended_runs + 1 < self.limit.run:
            return None
        if not self.reset_at:
            self.reset_at = math.ceil(time.time() + self.limit.lasts_s)
        return 429 if time.time() < self.reset_at else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def log_message(self, format: str, *args: object) -> None:
        """Silence: what a test needs to know is in `Script.prompts`."""

    def _send(
        self, code: int, body: bytes, kind: str = "application/json", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(code)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self._send(200, b"", "text/plain")

    def do_GET(self) -> None:
        self._send(404, b'{"error":{"message":"not here"}}')

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            body = cast(Json, json.loads(raw))
        except ValueError:
            body = {}
        path = self.path.partition("?")[0].rstrip("/")
        self.script.prompts.append(body)
        if self.script.outcome == "hang":
            self.script.ended.wait()
            return
        if code := self.script.refusal():
            self.script.refused.append(time.time())
            error, headers = refusals.refusal(code, path, self.script.reset_at, lasts=self.script.limit is None)
            self._send(code, json.dumps(error).encode(), headers=headers)
            return
        if path.endswith(("count_tokens", "countTokens")):
            self._send(200, b'{"input_tokens": 10, "totalTokens": 10}')
            return
        speak = dialects.of(path)
        if speak is None:
            self._send(404, b'{"error":{"message":"no such route"}}')
            return
        answer = speak(self.script.next, next(self.script.turns), body)
        if "enerateContent" in path and "stream" in path:
            answer = [cast(Json, answer)]
        if isinstance(answer, list):
            self._send(200, b"".join(map(_event, answer)), "text/event-stream")
        else:
            self._send(200, json.dumps(answer).encode())


def _event(data: Json) -> bytes:
    name = f"event: {data['type']}\n" if "type" in data else ""
    return f"{name}data: {json.dumps(data)}\n\n".encode()


@contextmanager
def serve(script: Script) -> Iterator[str]:
    """The model, listening; yields its address, `http://127.0.0.1:PORT`."""
    handler = type("Handler", (_Handler,), {"script": script})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        script.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outcome", default="ok", choices=["ok", "loop", "429", "401", "529", "500", "hang"])
    parser.add_argument("--command", default=DEFAULT_COMMAND, help="the shell command the first turn asks for")
    parser.add_argument("--last-words", default=LAST_WORDS)
    given = parser.parse_args()
    with serve(Script(given.outcome, given.command, given.last_words)) as address:
        print(address.rpartition(":")[2], flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
