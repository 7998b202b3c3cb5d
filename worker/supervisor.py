"""The background process that keeps a Temporal dev server and a worker alive: `python -m beatctl.worker.supervisor`.

One for each home and connection. It imports little (no temporalio, no pydantic), since it lives as long as any loop.
Told by SIGTERM or SIGINT it ends the worker, then the server; agents go on under their shims. A start that comes to
nothing three times in a row ends it with the reason in its state; once all was ready it never gives up, but waits ever
longer between its tries (backoff.py), up to a minute. SIGUSR1 says that somebody asks: it tries at once.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import sys
import time
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from beatctl import __version__
from beatctl.worker import backoff, embedded_server, heartbeat
from beatctl.worker.awake import Awake
from beatctl.worker.backoff import CrashLoop
from beatctl.worker.children import Child, rotate
from beatctl.worker.crashes import guarded
from beatctl.worker.isolation import python_module
from beatctl.worker.run_folder import EMBEDDED, RunFolder, end_process, process_start, read_json, write_json

PATIENCE_S = 10.0
"""How long worker and server each may take to end."""
HOPELESS = 3
"""Starts in a row that came to nothing, before anything ever was ready."""
SLOW_S = 120.0
"""A server that hasn't opened its port by then hangs."""


LOGS_S = 60.0
"""Between two looks at how large the logs are."""


class Hopeless(Exception):
    """What was to be kept alive can't be started."""


class Supervisor:
    def __init__(
        self,
        folder: RunFolder,
        connection: dict[str, Any],
        program: Path | None,
        *,
        foreground: bool = False,
        unit: str | None = None,
    ) -> None:
        self.folder = folder
        self.connection = connection
        self.program = program
        self.foreground = foreground
        self.unit = unit
        """The systemd unit that this is."""
        self.embedded = folder.label == EMBEDDED
        self.server = Child("server", folder.server_log)
        self.worker = Child("worker", folder.worker_log)
        self.error: str | None = None
        self.crash_loops: list[CrashLoop] = []
        after_s = heartbeat.hung_after_s(os.environ)
        self.watches = {
            "server": heartbeat.Watch("Temporal server", after_s, self._server_sign),
            "worker": heartbeat.Watch("worker", after_s, partial(heartbeat.last_beat, folder.root)),
        }
        self.awake = Awake(folder.home / "ledger.db", folder.label, os.environ, sys.platform)
        self.started = time.time()
        self.port = 0
        self.stopping = False
        self._names = {"server": "Temporal server", "worker": "worker"}
        self._written: dict[str, Any] = {}
        self._start_time = process_start(os.getpid())
        self._wake_read, self._wake_write = os.pipe()

    # What happens, in order of time.

    def run(self) -> int:
        """Until told to stop. The lock is held by the caller."""
        self._listen_to_signals()
        self._end_what_a_killed_one_left()
        self.write()
        try:
            while not self.stopping:
                self.look()
                self.write()
                self._wait(self._seconds_to_wait())
        except Hopeless as problem:
            self.say(str(problem))
            self.error = str(problem)
        finally:
            self.awake.end()
            # The worker first: what it still has to tell the server, it can.
            self.worker.end(PATIENCE_S)
            self.server.end(PATIENCE_S)
            self.folder.worker.unlink(missing_ok=True)
            heartbeat.forget(self.folder.root)
            self.write()
        self.say("ended")
        return 1 if self.error else 0

    def look(self) -> None:
        """Start what should run and does not; notice what has become ready."""
        if self.embedded:
            self._look_after_server()
        self._look_after_worker()
        self._look_for_crash_loops()
        self.awake.look(works=not self.crash_loops)
        if self.server_is_ready() and self.worker.is_ready():
            self.error = None
        for child in (self.server, self.worker):
            child.rotate()
        rotate(self.folder.supervisor_log)

    def _look_after_server(self) -> None:
        self._note_end(self.server)
        if self.server.pid is None:
            if time.monotonic() >= self.server.wants_start_at:
                self._start_server()
        elif not self.server.is_ready():
            if embedded_server.answers(self.port) and embedded_server.listens(self.server.pid, self.port) is not False:
                self.server.mark_ready()
                self.say(f"Temporal server on {self.connection['address']}, Web UI {self.connection['ui_url']}")
            elif time.monotonic() - self.server.started_at > SLOW_S:
                self.server.signal(signal.SIGKILL)
        else:
            self._end_if_hung(self.server)

    def _start_server(self) -> None:
        try:
            port, ui_port = embedded_server.choose_ports(self.folder)
            self.program = self._existing_program()
            database = self.folder.home / "temporal.db"
            self.server.start(
                embedded_server.command_line(self.program, database, port, ui_port),
                embedded_server.environment(os.environ),
            )
        except OSError as problem:
            self.server.failed_to_start(str(problem))
            self._failed(self.server)
            return
        if self.port != port:
            self.port = port
            self.connection["address"] = f"{embedded_server.ADDRESS}:{port}"
            self.connection["ui_url"] = f"http://{embedded_server.ADDRESS}:{ui_port}"
            self.worker.end(PATIENCE_S)  # it knows the old address

    def _existing_program(self) -> Path:
        if self.program is None or not self.program.exists():  # upgraded or cleaned away since
            from beatctl.worker.server_program import ServerProgramMissing, find_or_fetch

            try:
                return find_or_fetch(os.environ, self.say)
            except ServerProgramMissing as problem:
                raise OSError(str(problem)) from problem
        return self.program

    def _look_after_worker(self) -> None:
        self._note_end(self.worker)
        if self.worker.pid is None:
            if time.monotonic() >= self.worker.wants_start_at and (not self.embedded or self.server.pid is not None):
                settings = json.dumps(self.connection)
                line = python_module("beatctl.worker.main", "--home", str(self.folder.home), "--connection", settings)
                self.folder.worker.unlink(missing_ok=True)
                self.worker.start(line, os.environ)
        elif not self.worker.is_ready() and self.folder.polling_worker(self.worker.pid):
            self.worker.mark_ready()
            self.say(f"worker {self.worker.pid} takes work")
        elif self.worker.is_ready():
            self._end_if_hung(self.worker)

    def _end_if_hung(self, child: Child) -> None:
        if child.pid is not None and self.watches[child.name].finds_hung(child.pid, time.monotonic()):
            self.say(f"{child.name} {child.pid} hangs; another takes its place")
            child.signal(signal.SIGKILL)

    def _server_sign(self, _pid: int) -> float:
        return time.monotonic() if embedded_server.speaks(self.port) else 0.0

    def _note_end(self, child: Child) -> None:
        pid = child.pid
        code = child.has_ended()
        if code is None:
            return
        if child is self.worker and pid is not None:
            heartbeat.forget(self.folder.root, pid)
        self.watches[child.name].forget()
        how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
        child.last_words = child.last_words or f"it {how} and said nothing"
        self.say(f"{child.name} {pid} {how}; starting it again")
        self._failed(child)

    def _failed(self, child: Child) -> None:
        failures = backoff.came_to_nothing(child.ends)
        if failures >= 2:
            line = child.last_words.splitlines()[-1]
            self.error = f"The {self._names[child.name]} does not start: {line} (log: {child.log})"
        if failures >= HOPELESS and not child.ever_ready:
            raise Hopeless(self.error)

    def _look_for_crash_loops(self) -> None:
        found = [child.crash_loop(self._names[child.name]) for child in self._children()]
        before = {loop.what: loop.last for loop in self.crash_loops}
        self.crash_loops = [loop for loop in found if loop is not None]
        for loop in self.crash_loops:
            if before.get(loop.what) != loop.last:
                self.say(backoff.words(loop, time.time()))

    def _children(self) -> tuple[Child, ...]:
        return (self.server, self.worker) if self.embedded else (self.worker,)

    # What others see.

    def server_is_ready(self) -> bool:
        return not self.embedded or self.server.is_ready()

    def write(self) -> None:
        """Tell, when anything changed."""
        state = {
            "pid": os.getpid(),
            "pid_start": self._start_time,
            "started": self.started,
            "version": __version__,
            "foreground": self.foreground,
            "unit": self.unit,
            "connection": dict(self.connection),
            "server_pid": self.server.pid,
            "server_start": self.server.start_time,
            "server_program": str(self.program) if self.program else None,
            "worker_pid": self.worker.pid,
            "worker_start": self.worker.start_time,
            "ui_url": self.connection.get("ui_url"),
            "ready": self.server_is_ready() and self.worker.is_ready(),
            "error": self.error,
            "crash_loops": [loop.as_json() for loop in self.crash_loops],
            "silent": [watch.silence.as_json() for watch in self.watches.values() if watch.silence is not None],
            "awake": self.awake.state(),
        }
        if state != self._written:
            write_json(self.folder.state, state)
            self._written = state

    def say(self, text: str) -> None:
        moment = "" if self.foreground else time.strftime("%Y-%m-%dT%H:%M:%S ")
        print(moment + text, file=sys.stderr, flush=True)  # noqa: T201

    # Waiting.

    def _seconds_to_wait(self) -> float:
        """Once all is ready and well only logs and loops have to be looked at: a child's end comes as a signal."""
        now = time.monotonic()
        waits = [LOGS_S]
        if (until_look := self.awake.seconds_to_wait()) is not None:
            waits.append(until_look)
        for child in self._children():
            if child.pid is None:
                waits.append(max(0.0, child.wants_start_at - now))
            elif not child.is_ready():
                waits.append(0.02 if now - child.started_at < 60 else 0.25)
            elif (every_s := self.watches[child.name].every_s) is not None:
                waits.append(every_s)
            if child.is_ready() and (forgets_at := child.forgets_ends_at()) is not None:
                waits.append(max(0.0, forgets_at - now))
        return min(waits)

    def _wait(self, seconds: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            if selector.select(seconds):
                os.read(self._wake_read, 512)

    def _listen_to_signals(self) -> None:
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        # In the background there is no terminal whose end could concern us. A handler rather than SIG_IGN, which worker
        # and agents would inherit.
        signal.signal(signal.SIGHUP, self._stop if self.foreground else _do_nothing)
        signal.signal(signal.SIGCHLD, _do_nothing)
        signal.signal(signal.SIGUSR1, self._try_now)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def _try_now(self, _number: int, _frame: FrameType | None) -> None:
        for child in self._children():
            child.try_now()

    def _end_what_a_killed_one_left(self) -> None:
        left = read_json(self.folder.state)
        for name in ("worker", "server"):
            end_process(left.get(f"{name}_pid"), left.get(f"{name}_start"))
        heartbeat.forget(self.folder.root)
        self.folder.worker.unlink(missing_ok=True)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Waking up is all that the signal is for."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="beatctl supervisor")
    parser.add_argument("--home", required=True, type=Path)
    parser.add_argument("--connection", required=True, type=json.loads)
    parser.add_argument("--program", type=Path)
    parser.add_argument("--foreground", action="store_true")
    parser.add_argument("--unit")
    given = parser.parse_args(arguments)
    folder = RunFolder(given.home, given.connection["label"]).create()
    rotate(folder.supervisor_log)
    held = folder.hold()
    if held is None:
        if given.foreground:
            print(f"Already running: see {folder.supervisor_log}", file=sys.stderr)  # noqa: T201
        return 0
    try:
        supervisor = Supervisor(folder, given.connection, given.program, foreground=given.foreground, unit=given.unit)
        return supervisor.run()
    finally:
        os.close(held)


def _logs() -> Path:
    return Path(sys.argv[sys.argv.index("--home") + 1]) / "logs"


if __name__ == "__main__":
    sys.exit(guarded(main, _logs, "supervisor"))
