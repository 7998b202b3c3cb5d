"""Sends one message, in a process of its own: `python -I -m beatctl.activities.notify.sending`, its task on stdin.

Only here is apprise imported. It blocks, and a name that does not resolve can't be interrupted: a thread would hang,
a process can be ended, and an alarm sees to that. What got through is on record before the process ends, so that a try
after a worker's death repeats at most what was under way.

Input, JSON: `{id, urls, command, directory, environment, message: {title, text, kind, fields}, place}`; `place` is the
loop's folder, null for a message of no loop. Output, JSON: a list of `{target, ok, tries, error}`, none of it secret.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from beatctl.activities.figures import number
from beatctl.activities.notify.addresses import shown, with_fields, without_secrets
from beatctl.activities.notify.record import COMMAND, TRIES, Record, Result

LOG = "notify.log"
VARIABLES = ("EVENT", "LOOP", "GOAL", "STATE", "OUTCOME", "REASON", "BEST", "BASELINE", "TITLE", "TEXT")
"""Of the command's, after BEATCTL_."""

_SEND_S = 20.0
_ANSWER_S = 15.0
_COMMAND_S = 30.0
_ALARM_S = 75
"""The try before, of a worker that was killed, may take its time first."""
_KEPT_OUTPUT = 64 * 1024
_LARGEST_LOG = 1024 * 1024


def main() -> None:
    for each in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(each, _end)
    signal.alarm(_ALARM_S)
    task = json.load(sys.stdin.buffer)
    place = Path(task["place"]) if task["place"] is not None else None
    with _alone(place):
        record = Record(place, task["id"])
        works = {str(number): _address(url, task) for number, url in enumerate(task["urls"])}
        if task["command"] is not None:
            works["command"] = (COMMAND, _COMMAND_S, lambda: _run_command(task, place))
        results = _all_at_once(works, record)
    sys.stdout.write(json.dumps(results))
    sys.stdout.flush()
    os._exit(0)  # threads that still wait for a dead network are no reason to stay


def _end(_number: int, _frame: object) -> None:
    """End at once, with the user's command."""
    for process in _commands:
        _end_command(process)
    os._exit(1)


def _end_command(process: subprocess.Popen[bytes]) -> None:
    """What runs of it, or is left of it in the background."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


_commands: list[subprocess.Popen[bytes]] = []
"""Those that run."""

Work = tuple[str, float, Callable[[], str]]
"""What is shown of a target, its limit in seconds, and what sends: it returns an error's words, or nothing."""


def _all_at_once(works: dict[str, Work], record: Record) -> list[Result]:
    """Each target that has not taken the message yet, in a thread of its own."""
    threads = []
    for key, (target, limit_s, work) in works.items():
        before = record.of(key, target)
        if before["ok"] or before["tries"] >= TRIES:
            continue
        end = time.monotonic() + limit_s
        done: list[str] = []
        thread = threading.Thread(target=_attempt, args=(work, done), daemon=True)
        thread.start()
        threads.append((key, before, end, limit_s, done, thread))
    for key, before, end, limit_s, done, thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
        error = done[0] if done else f"no answer within {limit_s:.0f} s"
        record.note(key, {**before, "ok": not error, "tries": before["tries"] + 1, "error": error})
    return record.close(list(works))


def _attempt(work: Callable[[], str], done: list[str]) -> None:
    try:
        done.append(work())
    except Exception as problem:  # whatever a plugin raises, its words may hold the address
        done.append(type(problem).__name__)


def _address(url: str, task: dict[str, Any]) -> Work:
    return shown(url), _SEND_S, lambda: _send(url, task["message"])


def _send(url: str, message: dict[str, Any]) -> str:
    """Send by apprise; returns what went wrong, without secrets."""
    import apprise

    logging.getLogger("apprise").setLevel(logging.WARNING)  # what is below that quotes addresses
    asset = apprise.AppriseAsset(app_id="beatctl", app_desc="beatctl", app_url="", async_mode=False)
    service = apprise.Apprise.instantiate(with_fields(url, message["fields"]), asset=asset, suppress_exceptions=True)
    if service is None:
        return "apprise does not understand this address"
    # A slow service that is not waited for has the message, and gets it again.
    service.socket_read_timeout = max(service.socket_read_timeout, _ANSWER_S)
    services = apprise.Apprise(services=[service], asset=asset)
    taken = services.notify(
        title=message["title"], body=message["text"], notify_type=message["kind"], body_format=apprise.NotifyFormat.TEXT
    )
    if taken:
        return ""
    said = next((entry.message for entry in taken.logs()), "not taken")
    return without_secrets(said, url)


def _run_command(task: dict[str, Any], place: Path | None) -> str:
    """Run the user's command; returns what went wrong."""
    told = json.dumps(task["message"]["fields"], ensure_ascii=False)
    directory = task["directory"]
    process = subprocess.Popen(
        ["sh", "-c", task["command"]],
        cwd=directory if directory is not None and os.path.isdir(directory) else "/",
        env={**task["environment"], **_variables(task["message"]["fields"])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    _commands.append(process)
    output = bytearray()
    reader = threading.Thread(target=_read, args=(process, output), daemon=True)
    reader.start()
    with contextlib.suppress(BrokenPipeError):  # it need not read
        assert process.stdin is not None
        process.stdin.write(told.encode("utf-8", "replace"))
        process.stdin.close()
    try:
        code = process.wait(_COMMAND_S - 2)
        error = f"exit code {code}" if code else ""
    except subprocess.TimeoutExpired:
        error = f"ended after {_COMMAND_S - 2:.0f} s"
    _end_command(process)
    process.wait()
    _commands.remove(process)
    reader.join(1)
    _log(place, str(task["message"]["fields"].get("event")), error, bytes(output))
    said = output.decode("utf-8", "replace").strip().rpartition("\n")[2][-200:]
    return f"{error}: {said}" if error and said and place is None else error


def _read(process: subprocess.Popen[bytes], output: bytearray) -> None:
    assert process.stdout is not None
    while chunk := os.read(process.stdout.fileno(), 65536):
        output += chunk[: max(0, _KEPT_OUTPUT - len(output))]


def _variables(fields: dict[str, Any]) -> dict[str, str]:
    """What a line of shell needs as BEATCTL_… variables; of a mark the score. None of them is a setting's."""
    found = {}
    for name in VARIABLES:
        value = fields.get(name.lower())
        if isinstance(value, dict):
            value = number(value["score"]) if value["score"] is not None else None
        if value is not None:
            found[f"BEATCTL_{name}"] = str(value).replace("\0", "")
    return found


def _log(place: Path | None, event: str, error: str, output: bytes) -> None:
    if place is None:
        return
    path = place / LOG
    with contextlib.suppress(OSError):
        how = os.O_TRUNC if path.exists() and path.stat().st_size > _LARGEST_LOG else os.O_APPEND
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600)
        with open(handle, "wb") as file:
            now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            file.write(f"-- {now} {event}: {error or 'exit code 0'}\n".encode() + output)
            if output and not output.endswith(b"\n"):
                file.write(b"\n")


@contextlib.contextmanager
def _alone(place: Path | None) -> Iterator[None]:
    """One message of a loop at a time: the process of a killed worker may still be sending this one."""
    with contextlib.ExitStack() as stack:
        if place is not None:
            with contextlib.suppress(OSError):
                handle = os.open(place / "notified.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                stack.callback(os.close, handle)
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    main()
