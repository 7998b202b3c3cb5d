"""The Temporal dev server beatctl runs for one home: its command line, ports and environment. Standard library only."""

from __future__ import annotations

import os
import socket
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from beatctl.worker.run_folder import RunFolder, read_json, wait_until, write_json

SEARCH_ATTRIBUTES = (
    *("BeatctlState", "BeatctlOutcome", "BeatctlAgent", "BeatctlFolder", "BeatctlStrategy", "BeatctlHost"),
)
"""All of type Keyword."""

# Measured: an iteration takes 290 ms as the server comes, 40 ms with these.
DYNAMIC_CONFIG = ("history.transferProcessorMaxPollRPS=5000", "system.enableActivityEagerExecution=true")
SQLITE_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL")

ADDRESS = "127.0.0.1"
# Away from 7233, where people run a server of their own, and below the ports systems hand out by themselves.
FIRST_PORT, PORTS, UI_DISTANCE = 17300, 1000, 1000


def command_line(program: Path, database: Path, port: int, ui_port: int) -> list[str]:
    """`temporal server start-dev`, tuned, reachable from this machine only, quiet but for errors."""
    line = [str(program), "server", "start-dev", "--ip", ADDRESS, "--port", str(port), "--ui-port", str(ui_port)]
    line += ["--db-filename", str(database), "--log-level", "error", "--color", "never"]
    for value in DYNAMIC_CONFIG:
        line += ["--dynamic-config-value", value]
    for value in SQLITE_PRAGMAS:
        line += ["--sqlite-pragma", value]
    for name in SEARCH_ATTRIBUTES:
        line += ["--search-attribute", f"{name}=Keyword"]
    return line


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The server's environment: nothing that would point its program at another server, or have it send traces of its
    own where beatctl's go."""
    return {name: value for name, value in environ.items() if not name.startswith(("TEMPORAL_", "OTEL_"))}


def are_free(*ports: int) -> bool:
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((ADDRESS, port))
            except (OSError, OverflowError):
                return False
    return True


def candidates(home: Path) -> Iterator[tuple[int, int]]:
    """Ports of server and Web UI in the order to try them."""
    # Spread by home, so that homes started at the same moment don't race for the same port.
    offset = zlib.crc32(str(home).encode())
    for step in range(PORTS):
        port = FIRST_PORT + (offset + step) % PORTS
        yield port, port + UI_DISTANCE


def choose_ports(folder: RunFolder) -> tuple[int, int]:
    """A free port for the server and one for its Web UI: the last used where they can be had (links stay true)."""
    last = read_json(folder.ports)
    port, ui_port = last.get("port"), last.get("ui_port")
    # A killed server's port is freed by the last of its threads, a moment after the process is gone.
    if isinstance(port, int) and isinstance(ui_port, int) and wait_until(partial(are_free, port, ui_port), 1.0):
        return port, ui_port
    for port, ui_port in candidates(folder.home):
        if are_free(port, ui_port):
            write_json(folder.ports, {"port": port, "ui_port": ui_port})
            return port, ui_port
    raise OSError(f"every port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} on {ADDRESS} is in use")


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((ADDRESS, port)) == 0


# HTTP/2's preface and empty settings: whoever serves gRPC answers with its own settings at once.
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SPEAKS_S = 2.0


def speaks(port: int) -> bool:
    """Whether the server says something: for one that hangs the system still takes connections."""
    try:
        with socket.create_connection((ADDRESS, port), timeout=_SPEAKS_S) as asked:
            asked.sendall(_GREETING)
            return bool(asked.recv(1))
    except OSError:
        return False


def listens(pid: int, port: int) -> bool | None:
    """Whether it is this process that listens on the port; None where the system does not tell."""
    try:
        with open("/proc/net/tcp", encoding="ascii") as table:
            rows = [line.split() for line in table][1:]
    except OSError:
        return None
    inodes = {row[9] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}
    descriptors = Path(f"/proc/{pid}/fd")
    try:
        for descriptor in descriptors.iterdir():
            try:
                if os.readlink(descriptor)[8:-1] in inodes:
                    return True
            except OSError:  # closed since
                continue
    except OSError:
        return False
    return False
