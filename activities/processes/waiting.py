"""Waiting for a try, ending it, and ending what a lost one left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from typing import Any

from . import tree
from .attempts import Lost, RunResult, Try
from .shim import MARKER

_PATIENT_AFTER_S = 3.0
_LONG_LOOK_S = 30.0
_PATIENCE_S = 60.0
"""Beyond the grace: a shim that has not ended its tree by then is taken for broken."""


async def wait(try_: Try) -> RunResult:
    """The try's result, once it is there. Raises Lost when its shim died without one.

    Looks again after a twentieth of the time waited so far, 1 ms to 250 ms: little is lost on a quick evaluator. After
    some seconds the end of the shim is waited for, where the system tells it: a hundred agents that take an hour cost
    nothing.
    """
    begun = time.monotonic()
    while (state := try_.state()) == "running":
        waited = time.monotonic() - begun
        if waited < _PATIENT_AFTER_S or not await _end_of_shim(try_):
            await asyncio.sleep(min(max(waited * 0.05, 0.001), 0.25))
    if state == "done":
        return try_.result()
    raise Lost(f"{try_.journal} was never started" if state == "fresh" else f"{try_.journal} lost its shim")


async def _end_of_shim(try_: Try) -> bool:
    """Wait until its shim has ended, or for some seconds. False where that can't be waited for."""
    pid = try_.shim_pid()
    if pid is None or sys.platform != "linux":
        return False
    try:
        handle = os.pidfd_open(pid)
    except OSError:  # it has just ended; or the kernel, or a sandbox, does not have it
        return False
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    try:
        if try_.shim_pid() != pid:  # another process may have got its number before the handle was there
            return False
        loop.add_reader(handle, ended.set)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), _LONG_LOOK_S)
        return True
    finally:
        loop.remove_reader(handle)
        os.close(handle)


async def end(try_: Try) -> RunResult | None:
    """A user's cancel: returns when the tree is gone. None when there is no result: never started, or lost.

    A start that is under way finds the cancel file and spawns nothing.
    """
    os.close(os.open(try_.path("cancel"), os.O_WRONLY | os.O_CREAT, 0o600))
    begun = time.monotonic()
    limit = begun + try_.spec().grace_s + _PATIENCE_S
    nudge_at = begun
    while (state := try_.state()) == "running":
        now = time.monotonic()
        if now >= limit:
            _signal_shim(try_, signal.SIGKILL)
        elif now >= nudge_at:
            # CONT first: a shim that someone stopped has to run to end its tree.
            _signal_shim(try_, signal.SIGCONT)
            _signal_shim(try_, signal.SIGUSR1)
            nudge_at = now + 1.0
        await asyncio.sleep(min(max((now - begun) * 0.05, 0.001), 0.1))
    if state == "done":
        return try_.result()
    if state == "lost":
        await asyncio.to_thread(end_remains, try_)
    return None


def _signal_shim(try_: Try, number: int) -> None:
    """Only a process that holds the lock and is the one that noted the start."""
    pid = try_.shim_pid()
    record = try_.record()
    shim = tree.read(pid) if pid else None
    if shim is not None and record and (shim.pid, shim.start) == (record[0]["shim_pid"], record[0]["shim_start"]):
        tree.send(shim, number)


def end_remains(try_: Try) -> list[str]:
    """After a lost try: kill what is left of it, and return the names. Blocks until it is gone.

    Found by the marker in their environment, by what the shim noted of those that left its session, and by descent
    from either. A running try is left alone.
    """
    if try_.state() == "running":
        return []
    record = try_.record()
    if not record or record[0]["boot_id"] != tree.boot_id():
        return []  # nothing was spawned, or the machine was restarted since
    _wait_for_spawner(record[0])
    found: dict[int, str] = {}

    def look() -> list[tree.Process]:
        remains = _remains(try_, record)
        found.update((process.pid, process.name) for process in remains)
        return remains

    tree.kill(look, time.sleep)
    return sorted(set(found.values()))


def _remains(try_: Try, record: list[dict[str, Any]]) -> list[tree.Process]:
    marker = f"{MARKER}={try_.identity()}".encode()
    seen = {(pid, start): session for line in record for pid, start, session in line.get("seen", [])}
    sessions = set(seen.values()) - {0}
    everything = tree.everything()
    by_pid = {process.pid: process for process in everything}

    def left(process: tree.Process) -> bool:
        if (process.pid, process.start) in seen or tree.has_marker(process.pid, marker):
            return True
        if process.session not in sessions:
            return False
        # A session's number is not given away while it has members; a leader unknown to us leads another session.
        leader = by_pid.get(process.session)
        return leader is None or (leader.pid, leader.start) in seen

    roots = [process for process in everything if process.state != "Z" and left(process)]
    below = tree.descendants([process.pid for process in roots], everything)
    unique = {process.pid: process for process in (*roots, *below)}
    unique.pop(os.getpid(), None)
    return list(unique.values())


def _wait_for_spawner(first: dict[str, Any]) -> None:
    """A living spawner ends a killed shim's orphans, also those no one else could find, before it lets the shim go."""
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        shim, spawner = tree.read(first["shim_pid"]), tree.read(first["spawner_pid"])
        if shim is None or shim.start != first["shim_start"] or shim.parent != first["spawner_pid"]:
            return
        if spawner is None or spawner.start != first["spawner_start"]:
            return
        time.sleep(0.002)
