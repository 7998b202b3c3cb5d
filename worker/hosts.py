"""What a home is called on a Temporal server: a loop's files are on one host, and their queue is that host's.

Standard library only."""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from beatctl.activities.home import Home
from beatctl.worker.run_folder import RunFolder, is_alive, read_json, write_json

VARIABLE = "BEATCTL_HOST"
LONGEST = 63
_QUEUE = "beatctl@"
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class Host:
    """What a home is called on a Temporal server."""

    name: str
    home: str
    """What tells it from another home of the same name."""

    @property
    def queue(self) -> str:
        return queue_of(self.name)

    def identity(self, pid: int) -> str:
        """How its worker calls itself to the server."""
        return f"{pid}@{self.name}#{self.home}"


def queue_of(name: str) -> str:
    """The task queue of the host called so."""
    return _QUEUE + name


def host_of(queue: str) -> str:
    """The host whose task queue this is."""
    return queue.removeprefix(_QUEUE)


def home_of(identity: str) -> str | None:
    """Which home a worker that calls itself so belongs to; None where it is none of ours."""
    return identity.rpartition("#")[2] if "#" in identity else None


def is_name(text: str) -> bool:
    """Whether a host may be called so: letters, digits, dots and dashes."""
    return len(text) <= LONGEST and _NAME.fullmatch(text) is not None


def known(home: Home) -> str | None:
    """The host's name, where it has one by now. Writes nothing."""
    kept = read_json(_place(home))
    name = kept.get("name")
    return host_of(str(name)) if name and _still_holds(kept) else None


def this_host(home: Home) -> Host:
    """This home's name, which it gets now where it has none.

    Named after the machine, once: a laptop that gets another name in another network keeps its loops. A home that was
    copied to another machine gets a name of its own, unless it was given one: then it is the volume that has moved.
    """
    kept = read_json(_place(home))
    if kept.get("name") and _still_holds(kept):
        name, given = host_of(str(kept["name"])), bool(kept.get("given"))
    else:
        digest = hashlib.sha256(str(home.root.resolve()).encode()).hexdigest()[:6]
        name, given = f"{socket.gethostname()}-{digest}", False
    same = kept.get("home") if kept.get("machine") == _machine() else None
    host = Host(name, str(same or secrets.token_hex(4)))
    if host.queue != kept.get("name") or host.home != kept.get("home"):
        _keep(home, host, given)
    return host


def give_name(home: Home, name: str) -> None:
    """Call this home's host so from now on. Only where nothing of it runs or waits."""
    _keep(home, Host(name, this_host(home).home), given=True)


def task_queue(home: Home) -> str:
    """The queue of this host and home: the loops' files are here, and so must be their worker."""
    return this_host(home).queue


def runs(home: Home) -> bool:
    """Whether a supervisor or a worker of this home lives: it has the name that was there when it began."""
    return any(folder.is_held() or worker_pid(folder) for folder in RunFolder.all(home.root))


def worker_pid(folder: RunFolder) -> int | None:
    """The worker that takes work for this connection, supervised or not; None where none lives."""
    found = read_json(folder.worker)
    return int(found["pid"]) if is_alive(found.get("pid"), found.get("start")) else None


def worker_by_hand(folder: RunFolder) -> int | None:
    """The same, where no supervisor started it: not one whose supervisor was killed."""
    pid = worker_pid(folder)
    return None if pid == read_json(folder.state).get("worker_pid") else pid


def _still_holds(kept: dict[str, object]) -> bool:
    return bool(kept.get("given")) or kept.get("machine") == _machine()


def _keep(home: Home, host: Host, given: bool) -> None:
    place = _place(home)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_json(place, {"name": host.queue, "machine": _machine(), "given": given, "home": host.home})


def _place(home: Home) -> Path:
    return home.root / "run" / "queue.json"


def _machine() -> str:
    try:
        return Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
