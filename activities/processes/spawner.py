"""The spawner: a small process that forks a shim per request, since forking a worker would cost far more.

`python -I -S -X utf8 spawner.py FD`: lines of JSON on the socket FD. A request, `{"id": 7, "journal": …}` with the path
of a try's journal, is answered by the shim itself, `{"id": 7, "started": true}` (or `taken`, or `error`), and when the
shim has ended, by the spawner, `{"id": 7, "ended": true}`. The spawner ends with its socket; shims go on. One thread,
standard library only.

One shim is always forked ahead and waits for its try: a fork, and the pages that Python copies after it, take
milliseconds that nobody has to wait for.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _import_siblings() -> None:
    """Make the modules beside this file importable, without the package's own imports (pydantic is not to be had)."""
    package = type(sys)("beatctl_processes")
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules[package.__name__] = package


if __name__ == "__main__":
    _import_siblings()
    __package__ = "beatctl_processes"

from . import faults, kernel, shim, tree  # noqa: E402


class Spawner:
    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self.socket = descriptor
        self.come_from = shim.origin()
        self.shims: dict[int, int] = {}
        """Request ids by shim pid."""
        self.spare: tuple[int, int] | None = None
        """The shim that was forked ahead, and the pipe on which it waits for its request."""
        self.wake, self.wake_write = os.pipe()
        for end in (self.wake, self.wake_write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whatever the worker was started with
        # A killed shim's orphans come here then, where they can be told from everything else on the machine.
        self.adopts = kernel.adopt_orphans()

    def serve(self) -> None:
        received = b""
        while True:
            ready = select.select([self.socket, self.wake], [], [])[0]
            if self.wake in ready:
                os.read(self.wake, 4096)
                self.reap()
            if self.socket in ready:
                data = os.read(self.socket, 65536)
                if not data:
                    return
                *lines, received = (received + data).split(b"\n")
                for line in lines:
                    self.give(json.loads(line)["id"], line)
                if self.spare is None:
                    with contextlib.suppress(OSError):  # then the next request says so
                        self.spare = self.fork()

    def give(self, request: int, line: bytes) -> None:
        """Hand a request to a shim."""
        try:
            pid, pipe = self.spare or self.fork()
        except OSError as problem:
            self.tell({"id": request, "error": f"No process could be started: {problem.strerror}."})
            return
        self.spare = None
        self.shims[pid] = request
        with contextlib.suppress(BrokenPipeError):  # it was killed meanwhile, which is told when it is reaped
            os.write(pipe, line)
        os.close(pipe)
        faults.point("spawner:after-fork")

    def fork(self) -> tuple[int, int]:
        """A shim that waits for its request, and the pipe to send it on. Raises OSError."""
        request, pipe = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(request)
            os.close(pipe)
            raise
        if pid == 0:
            os.close(pipe)
            self.become_shim(request)
        os.close(request)
        return pid, pipe

    def become_shim(self, pipe: int) -> None:
        def tell(answer: dict[str, Any]) -> None:
            # A worker that died meanwhile is no reason to stop.
            with contextlib.suppress(OSError):
                self.tell({"id": request["id"], **answer})
            os.close(self.socket)

        code = 1
        try:
            signal.set_wakeup_fd(-1)
            os.close(self.wake)
            os.close(self.wake_write)
            os.dup2(os.open(os.devnull, os.O_RDWR), 2)
            shim.leave_the_spawner()
            received = b""
            while part := os.read(pipe, 65536):
                received += part
            os.close(pipe)
            if received:  # else the spawner ended, and nothing is asked of this one any more
                request = json.loads(received)
                shim.run(request["journal"], self.come_from, tell)
            code = 0
        finally:
            os._exit(code)

    def tell(self, answer: dict[str, Any]) -> None:
        os.write(self.socket, json.dumps(answer).encode() + b"\n")

    def reap(self) -> None:
        while ended := _ended_child():
            pid, in_order = ended
            if self.spare is not None and pid == self.spare[0]:
                os.close(self.spare[1])
                self.spare = None
            # A killed shim's orphans are ended before its own number is let go: who waits for the shim to vanish finds
            # them gone too. An orphan's own end may have sent its children here.
            if pid not in self.shims or not in_order:
                self.end_orphans()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
            request = self.shims.pop(pid, None)
            if request is not None:
                self.tell({"id": request, "ended": True})

    def end_orphans(self) -> None:
        if self.adopts:
            tree.kill(self.orphans, time.sleep, patience_s=5.0)

    def orphans(self) -> list[tree.Process]:
        everything = tree.everything()
        shims = {*self.shims, self.spare[0]} if self.spare else self.shims.keys()
        mine = [process for process in everything if process.parent == os.getpid() and process.pid not in shims]
        for process in mine:
            if process.state == "Z":
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)
        alive = [process for process in mine if process.state != "Z"]
        return [*alive, *tree.descendants([process.pid for process in alive], everything)]


def _ended_child() -> tuple[int, bool] | None:
    """A child that has ended, and whether it did so in order. Left to be reaped, where the system can."""
    try:
        if hasattr(os, "waitid"):
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return (found.si_pid, found.si_status == 0) if found else None
        pid, status = os.waitpid(-1, os.WNOHANG)
        return (pid, status == 0) if pid else None
    except ChildProcessError:
        return None


def main() -> None:
    faults.arm()
    spawner = Spawner(int(sys.argv[1]))
    # What exists now is never collected, so shims share these pages instead of copying them.
    gc.disable()
    gc.freeze()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the worker is gone
        spawner.serve()


if __name__ == "__main__":
    main()
