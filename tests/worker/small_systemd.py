"""A systemd of the tests' own, for machines (and containers) where none runs: `systemctl --user` for one unit.

It reads the unit as systemd does and does what its settings say: ExecStart with the unit's environment and nothing else
but HOME; on stop SIGTERM to the main process alone, if KillMode is `process`, else to every process of the unit.
Usage: small_systemd.py FOLDER systemctl-words…; FOLDER has the pid and a log of what was asked.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path


def settings(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name.strip(), []).append(value.strip())
    return found


def words(value: str) -> list[str]:
    return [word.replace("%%", "%") for word in shlex.split(value)]


def environment(unit: Path) -> dict[str, str]:
    pairs = [pair for value in settings(unit).get("Environment", []) for pair in words(value)]
    return {"HOME": os.environ["HOME"], **dict(pair.split("=", 1) for pair in pairs)}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    direct = [int(word) for word in found.stdout.split()]
    return direct + [below for one in direct for below in children(one)]


def stop(folder: Path, unit: Path) -> None:
    kept = folder / "pid"
    if not kept.exists():
        return
    pid = int(kept.read_text())
    kept.unlink()
    if not is_alive(pid):
        return
    everyone = [] if settings(unit)["KillMode"] == ["process"] else children(pid)
    for one in [pid, *everyone]:
        os.kill(one, signal.SIGTERM)
    end = time.monotonic() + int(settings(unit)["TimeoutStopSec"][0])
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    if is_alive(pid):
        os.kill(pid, signal.SIGKILL)


def start(folder: Path, unit: Path) -> None:
    line = [word.replace("$$", "$") for word in words(settings(unit)["ExecStart"][0])]
    with (folder / "journal").open("ab") as journal:
        process = subprocess.Popen(
            line,
            cwd="/",
            env=environment(unit),
            stdin=subprocess.DEVNULL,
            stdout=journal,
            stderr=journal,
            start_new_session=True,
        )
    (folder / "pid").write_text(str(process.pid))
    process.returncode = 0


def main(folder: Path, asked: list[str]) -> int:
    with (folder / "asked").open("a") as log:
        log.write(" ".join(asked) + "\n")
    unit = Path(os.environ["HOME"], ".config/systemd/user/beatctl.service")
    match asked:
        case ["--user", "restart", "beatctl.service"]:
            stop(folder, unit)
            start(folder, unit)
        case ["--user", "disable", "--now", "beatctl.service"]:
            stop(folder, unit)
        case ["--user", "show-environment" | "daemon-reload"] | ["--user", "enable", "beatctl.service"]:
            pass
        case _:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
