"""The shim: owns one child from its start to its end, with no worker needed.

Forked from the spawner, for one try, by the path of its journal. Its promises, in the order they are kept:

1. It holds a lock on the journal while it lives; whoever finds the lock taken leaves at once.
2. It notes its start there before it spawns, and leaves where one is noted: a try is spawned once at most, ever.
3. The result is noted, as the last line, only when every process of the try is gone.

TERM, HUP, INT and QUIT are ignored: a worker's or a service's stop is no cancel. The file `cancel` is; SIGUSR1 only
makes it look sooner. Standard library only: it runs as `python -I -S`, where nothing else can be imported.
"""

from __future__ import annotations

import errno
import json
import os
import resource  # os.wait4 would import it in every shim anew
import select
import signal
import sys
import time

from . import faults, kernel, lock, tree
from .launch import NotStarted, launch

TYPE_CHECKING = False  # not typing's: that module is a tenth of a shim's memory
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Tell = Callable[[dict[str, Any]], None]

MARKER = "BEATCTL_TRY"
"""The child's environment carries the try's id under this name, and so does what it starts."""
_LOOK_S = 0.25
_SLOW_LOOK_S = 1.0
"""How often the cancel file and the size of the output are looked at: at first, and when the run has gone on for long,
since there may be hundreds."""
_FAREWELL_S = 0.1
"""How long what outlives the main child may go on by itself: a `tee` that still writes the last lines."""
_DAEMON_GRACE_S = 1.0
_WORTH_A_SYNC_S = 1.0
"""The result of a shorter run need not outlive a power cut: nothing else of its second does, and it is run again."""
_RETRY_WRITE_S = 600.0
"""How long to wait for room on a full disk before an hour's result is given up."""


def origin() -> dict[str, Any]:
    """Where its shims come from, asked once by the spawner: part of what each notes of its start."""
    spawner = tree.read(os.getpid())
    return {
        "spawner_pid": os.getpid(),
        "spawner_start": spawner.start if spawner else "",
        "boot_id": tree.boot_id(),
        "host": os.uname().nodename,
    }


def leave_the_spawner() -> None:
    """Have a session of its own, and heed no signal that is meant for worker or service."""
    # USR1 until its handler is there: a cancel may come at once, and its default would end the shim.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    os.setsid()


def run(journal: str, come_from: dict[str, Any], tell: Tell) -> None:
    """Run the try with that journal. `tell` is called once: `started`, `taken` (by another shim), or `error`."""
    held = None
    try:
        held = lock.take(journal)
        if held is None:
            tell({"taken": True})
            return
        spec = _command(held)
        if spec is None:
            os.close(held)
            tell({"taken": True})
            return
        environment = _environment(spec)
        faults.point("shim:before-started")
        me = tree.read(os.getpid())
        _append(held, {"shim_pid": os.getpid(), "shim_start": me.start if me else "", **come_from, "at": time.time()})
    except (OSError, ValueError, KeyError, TypeError) as problem:
        if held is not None:
            os.close(held)  # before the answer: who has it finds the lock free
        tell(_why_not(journal, problem))
        return
    faults.point("shim:after-started")
    tell({"started": True})
    shim = _Shim(journal, spec, held)
    try:
        shim.run(environment)
    except BaseException:
        # Should never happen. What is left of the try is ended, and the try reads as lost.
        shim.kill_all()
        import traceback  # here: it is large, and the shim is to be small

        with open(shim.path("shim-error.txt"), "w") as file:
            traceback.print_exc(file=file)
        raise


def _command(held: int) -> dict[str, Any] | None:
    """The journal's command, None where a start is noted already. A line that was cut off is removed."""
    # By this descriptor: closing another of the same file would free the lock.
    found = os.pread(held, os.fstat(held).st_size, 0)
    whole = found[: found.rfind(b"\n") + 1]
    if len(whole) < len(found):
        os.ftruncate(held, len(whole))
    first, _, more = whole.partition(b"\n")
    return None if more else dict(json.loads(first))


def _why_not(journal: str, problem: Exception) -> dict[str, Any]:
    if isinstance(problem, OSError):
        return {"error": f"{problem.filename or journal}: {problem.strerror}", "errno": problem.errno}
    return {"error": f"its specification or environment cannot be read ({problem!r})"}


def _environment(spec: dict[str, Any]) -> dict[str, str]:
    environment = dict(os.environ)
    if spec["environment_file"] is not None:
        environment = _load(spec["environment_file"])
    return {**environment, **spec["extra_environment"], MARKER: spec["id"]}


def _load(path: str) -> Any:
    with open(path, "rb", buffering=0) as file:
        return json.loads(file.read())


def _append(journal: int, line: dict[str, Any]) -> None:
    """Add a whole line, or raise OSError and add nothing: the disk may be full."""
    data, before = json.dumps(line).encode() + b"\n", os.fstat(journal).st_size
    written = 0
    try:
        written = os.write(journal, data)
    finally:
        if written < len(data):
            os.ftruncate(journal, before)
    if written < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Shim:
    def __init__(self, journal_path: str, spec: dict[str, Any], journal: int) -> None:
        self.begin = journal_path.removesuffix("jsonl")
        """What the names of the try's files begin with."""
        self.spec = spec
        self.journal = journal
        self.child = 0
        self.status: int | None = None
        """The main child's wait status, once it has ended."""
        self.ended = 0.0
        self.cpu_s = 0.0
        self.max_rss = 0
        self.recorded: set[tuple[int, str]] = set()
        self.adopts = kernel.adopt_orphans()
        self.wake, wake_write = os.pipe()
        for end in (self.wake, wake_write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, _noticed)

    def path(self, name: str) -> str:
        return self.begin + name

    def run(self, environment: dict[str, str]) -> None:
        started_at, clock = time.time(), time.monotonic()
        ended_by, error, exit_code, number = "exit", None, None, None
        left_behind: list[str] = []
        stubborn: list[tree.Process] = []
        if os.path.exists(self.path("cancel")):
            ended_by = "cancel"
        else:
            try:
                spec = self.spec
                self.child = launch(
                    spec["argv"], spec["cwd"], environment, spec["stdin"], self.path("stdout"), self.path("stderr")
                )
            except NotStarted as problem:
                ended_by, error, exit_code = "not-started", problem.text, problem.exit_code
        self.ended = time.monotonic()
        if self.child:
            faults.point("shim:after-spawn")
            self.record_child()
            ended_by = self.watch(clock)
            if ended_by == "exit":
                left_behind, stubborn = self.end_what_is_left()
            else:
                stubborn = self.end(self.spec["grace_s"])
            code = os.waitstatus_to_exitcode(self.status) if self.status is not None else None
            exit_code, number = (None, -code) if code is not None and code < 0 else (code, None)
        faults.point("shim:before-result")
        self.write_result(
            {
                "exit_code": exit_code,
                "signal": number,
                "ended_by": ended_by,
                "error": error,
                "started_at": started_at,
                # Not the wall clock again: it may have been set in between.
                "ended_at": started_at + (self.ended - clock),
                "left_behind": left_behind,
                "not_ended": tree.names(stubborn),
                "cpu_s": self.cpu_s,
                "max_rss": self.max_rss,
            }
        )
        faults.point("shim:after-result")

    def watch(self, clock: float) -> str:
        """Wait until the main child ends, or has to be ended: says by what."""
        deadline = clock + self.spec["timeout_s"] if self.spec["timeout_s"] else None
        record_at, looked_at = clock + _LOOK_S, clock
        while True:
            self.reap()
            if self.status is not None:
                return "exit"
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                return "timeout"
            if os.path.exists(self.path("cancel")):
                return "cancel"
            look_s = min(max((now - clock) * 0.05, _LOOK_S), _SLOW_LOOK_S)
            if now - looked_at >= look_s:
                looked_at = now
                if self.output_size() > self.spec["output_limit"]:
                    return "output-limit"
            if now >= record_at:
                self.record_strays()
                record_at = now + min(max((now - clock) * 0.05, _LOOK_S), 10.0)
            self.pause(look_s if deadline is None else min(look_s, deadline - now))

    def pause(self, seconds: float) -> None:
        """Sleep, but no longer than until a child ends or SIGUSR1 comes."""
        if select.select([self.wake], [], [], max(seconds, 0.0))[0]:
            os.read(self.wake, 4096)

    def reap(self) -> bool:
        """Take the results of children that ended, adopted orphans too. False when no child is left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self.cpu_s += usage.ru_utime + usage.ru_stime
            self.max_rss = max(self.max_rss, _bytes(usage))
            if pid == self.child:
                self.status, self.ended = status, time.monotonic()

    def remaining(self) -> list[tree.Process]:
        """The try's processes that still live. Empty means none at all.

        With orphans coming back here, having no child is proof; a look through /proc alone could miss one that was
        just being forked.
        """
        while self.reap():
            if found := tree.descendants([os.getpid()], tree.everything()):
                return found
            self.pause(0.001)
        if self.adopts:
            return []
        return [process for process in tree.everything() if process.group == self.child and process.state != "Z"]

    def end(self, grace_s: float) -> list[tree.Process]:
        """TERM to all, the grace, then KILL until none remains. Returns what could not be ended."""
        tree.ask_to_end(self.remaining())
        self.wait_until_gone(grace_s)
        return self.kill_all()

    def kill_all(self) -> list[tree.Process]:
        return tree.kill(self.remaining, self.pause)

    def wait_until_gone(self, seconds: float) -> None:
        deadline, delay = time.monotonic() + seconds, 0.001
        while self.remaining() and (left := deadline - time.monotonic()) > 0:
            self.pause(min(delay, left))
            delay = min(delay * 2, 0.1)

    def end_what_is_left(self) -> tuple[list[str], list[tree.Process]]:
        """After the main child's own end: daemons and background jobs. Returns their names, and what stayed."""
        self.wait_until_gone(_FAREWELL_S)
        left = tree.names(self.remaining())
        return left, self.end(_DAEMON_GRACE_S) if left else []

    def output_size(self) -> int:
        return _size(self.path("stdout")) + _size(self.path("stderr"))

    def record_child(self) -> None:
        child = tree.read(self.child)
        if child is not None:
            self.note([child])

    def record_strays(self) -> None:
        """Note processes that left the child's session: were this shim killed, they could not be told from others."""
        strays = [
            process
            for process in tree.below(os.getpid())
            if process.session != self.child and (process.pid, process.start) not in self.recorded
        ]
        if strays:
            self.note(strays)

    def note(self, processes: list[tree.Process]) -> None:
        try:
            _append(self.journal, {"seen": [[process.pid, process.start, process.session] for process in processes]})
        except OSError:
            return  # a full disk; tried again with the next look
        self.recorded.update((process.pid, process.start) for process in processes)

    def write_result(self, result: dict[str, Any]) -> None:
        """The journal's last line. A full disk is waited for: the result may have cost dollars."""
        deadline = time.monotonic() + _RETRY_WRITE_S
        while True:
            try:
                _append(self.journal, {"result": result})
                if result["ended_at"] - result["started_at"] >= _WORTH_A_SYNC_S:
                    os.fsync(self.journal)
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)


def _noticed(_number: int, _frame: object) -> None:
    """Something happened: the wake-up pipe tells the loop."""


def _bytes(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # the child removed it
        return 0
