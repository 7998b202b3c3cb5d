"""Processes as the system shows them: who descends from whom, and ending them.

Standard library only: the shim uses it. Linux reads /proc; elsewhere `ps` tells the same, but for sessions and
environments, which it cannot show.
"""

from __future__ import annotations

import os
import signal
import sys
import time

TYPE_CHECKING = False  # not typing's: that module is a tenth of a shim's memory
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Process:
    """A process as it was when looked at.

    `session` is 0 where the system does not tell. `state` is one letter as in ps(1): Z is a zombie, T stopped, D held
    by a device. `start` is when it started, as the system words it: with the boot id it makes a pid unmistakable.
    """

    __slots__ = ("group", "name", "parent", "pid", "session", "start", "state")

    def __init__(self, pid: int, parent: int, group: int, session: int, state: str, start: str, name: str) -> None:
        self.pid = pid
        self.parent = parent
        self.group = group
        self.session = session
        self.state = state
        self.start = start
        self.name = name


def read(pid: int) -> Process | None:
    """One process; None when there is none of that number."""
    if not _HAS_PROC:
        return next((process for process in _listed_by_ps() if process.pid == pid), None)
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(descriptor, 4096)
    except OSError:  # ended between open and read
        return None
    finally:
        os.close(descriptor)
    # The name may hold anything, spaces and brackets too: it ends at the last bracket.
    name_from, name_to = text.find(b"("), text.rfind(b")")
    if name_to < 0:
        return None
    fields = text[name_to + 2 :].split()
    state = fields[0].decode()
    if state == "Z" and int(fields[17]) > 1:
        state = "S"  # its first thread has ended; the others run on
    return Process(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        state=state,
        start=fields[19].decode(),
        name=text[name_from + 1 : name_to].decode(errors="replace"),
    )


def everything() -> list[Process]:
    """Every process that can be seen from here."""
    if not _HAS_PROC:
        return _listed_by_ps()
    found = (read(int(entry)) for entry in os.listdir("/proc") if entry.isdigit())
    return [process for process in found if process is not None]


def _listed_by_ps() -> list[Process]:
    import subprocess  # here: never needed where there is /proc

    command = ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat=,lstart=,ucomm="]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env={**os.environ, "LC_ALL": "C"}
    ) as ps:
        listing = ps.communicate()[0].decode(errors="replace")
    processes = []
    for line in listing.splitlines():
        fields = line.split(None, 9)
        if len(fields) < 9 or int(fields[0]) == ps.pid:
            continue
        name = fields[9].strip() if len(fields) > 9 else "?"
        start = " ".join(fields[4:9])
        processes.append(Process(int(fields[0]), int(fields[1]), int(fields[2]), 0, fields[3][0], start, name))
    return processes


def descendants(of: Iterable[int], among: Iterable[Process]) -> list[Process]:
    """Children, their children and so on, zombies left out; parents come before their children."""
    children: dict[int, list[Process]] = {}
    for process in among:
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    seen: set[int] = set()
    waiting = list(of)
    while waiting:
        for child in children.get(waiting.pop(0), []):
            if child.pid not in seen:
                seen.add(child.pid)
                found.append(child)
                waiting.append(child.pid)
    return [process for process in found if process.state != "Z"]


def below(root: int) -> list[Process]:
    """What descends from a process at this moment, zombies left out; parents come before their children.

    The kernel is asked for each one's children, where it tells: a look that costs what there is to see, while
    everything on a busy machine is thousands. It may miss one that forks or ends just then.
    """
    if not _HAS_CHILDREN:
        return descendants([root], everything())
    found: dict[int, Process] = {}
    waiting = [root]
    while waiting:
        for pid in _children(waiting.pop(0)):
            process = read(pid) if pid not in found else None
            if process is not None:
                found[pid] = process
                waiting.append(pid)
    return [process for process in found.values() if process.state != "Z"]


def _children(pid: int) -> list[int]:
    """Those of all its threads."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:
                found += map(int, file.read().split())
    except OSError:
        pass  # it, or that thread, has just ended
    return found


def send(process: Process, number: int) -> bool:
    """Signal exactly that process, never another that got its number since. False when the system refuses it."""
    try:
        if _HAS_PIDFD:
            handle = os.pidfd_open(process.pid)
            try:
                now = read(process.pid)
                if now is not None and now.start == process.start:
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)
        else:
            os.kill(process.pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        return False
    return True


def ask_to_end(processes: Iterable[Process]) -> None:
    """TERM each of them, and let stopped ones go on so that they can take it."""
    for process in processes:
        send(process, signal.SIGTERM)
        send(process, signal.SIGCONT)


def kill(find: Callable[[], list[Process]], pause: Callable[[float], None], patience_s: float = 30.0) -> list[Process]:
    """KILL what `find` gives, and look again, until it gives nothing.

    Returns what could not be ended: processes of another user, and those a device holds for longer than `patience_s`.
    """
    deadline = time.monotonic() + patience_s
    delay = 0.001
    while found := find():
        refused = [process for process in found if not send(process, signal.SIGKILL)]
        if len(refused) == len(found) or time.monotonic() > deadline:
            return found
        pause(delay)
        delay = min(delay * 2, 0.05)
    return []


def names(processes: Iterable[Process]) -> list[str]:
    """Their names, each once, at most fifty."""
    return sorted({process.name for process in processes})[:50]


def has_marker(pid: int, marker: bytes) -> bool:
    """Whether `NAME=value` was in the environment that process was started with. False where it can't be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return marker in file.read().split(b"\0")
    except OSError:
        return False


def boot_id() -> str:
    """Changes with each start of the machine; pids mean nothing across it."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        import subprocess  # here: never needed where there is /proc

        try:
            told = subprocess.run(["sysctl", "-n", "kern.boottime"], capture_output=True, check=False)
        except OSError:
            return ""
        return told.stdout.decode(errors="replace").strip()


_HAS_PROC = os.path.exists("/proc/self/stat")
_HAS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")  # not every kernel is built with it


def _has_pidfd() -> bool:
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # a kernel before 5.3, or a sandbox that forbids it
        return False
    return True


_HAS_PIDFD = _has_pidfd()
