"""What the supervisor decides without the world: when to try again, which words to pass on."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from beatctl.worker import isolation
from beatctl.worker.backoff import delay
from beatctl.worker.children import LOG_LIMIT, LOGS_KEPT, Child, end_of, rotate
from beatctl.worker.embedded_server import ADDRESS, are_free, command_line, environment
from beatctl.worker.run_folder import RunFolder, end_process, is_alive, process_start, write_json


def test_a_log_does_not_grow_for_ever_and_its_last_words_are_found(place: Path) -> None:
    log = place / "log"
    with log.open("ab") as writer:  # as the server and the worker hold theirs, which are never told
        for number in range(LOGS_KEPT + 3):
            writer.write(b"%d" % number * (LOG_LIMIT + 1))
            writer.flush()
            assert rotate(log)
            assert not rotate(log)
        writer.write(b"goes on\n")
    assert log.read_bytes() == b"goes on\n"
    older = [place / f"log.{number}" for number in range(1, LOGS_KEPT + 1)]
    assert sorted(place.glob("log*")) == [log, *older]
    assert [path.read_bytes()[:1] for path in older] == [b"%d" % number for number in (5, 4, 3)]
    log.write_bytes(b"before\n")
    since = log.stat().st_size
    log.write_bytes(b"before\nafter \xff\n")
    assert end_of(log, since) == "after �"
    assert end_of(place / "none", 0) == ""


def test_a_program_that_ends_at_once_is_tried_again_later_and_later(place: Path) -> None:
    child = Child("child", place / "log")
    waits = []
    for _ in range(4):
        child.start(["/bin/sh", "-c", "echo no; exit 3"], os.environ)
        while (code := child.has_ended()) is None:
            pass
        assert code == 3
        waits.append(delay(child.ends))
    assert waits == [0.0, 0.2, 0.4, 0.8]
    assert child.last_words == "no"
    assert child.pid is None


def test_a_child_dies_with_its_supervisor(place: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("elsewhere the next supervisor ends it")
    code = (
        "import os, sys, pathlib; from beatctl.worker.children import Child\n"
        f"child = Child('c', pathlib.Path({str(place / 'log')!r})); child.start(['sleep', '300'], os.environ)\n"
        "print(child.pid, child.start_time, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout
        pid, _, start = supervisor.stdout.readline().strip().partition(" ")
        assert is_alive(int(pid), start)
        supervisor.kill()
        supervisor.wait()
    for _ in range(1000):
        if not is_alive(int(pid), start):
            break
        os.sched_yield()
        process_start(int(pid))
    end_process(int(pid), start, patience=0.0)
    assert not is_alive(int(pid), start)


def test_a_process_of_the_same_number_is_not_taken_for_the_one_that_was_meant(place: Path) -> None:
    bystander = subprocess.Popen(["sleep", "300"])
    try:
        assert is_alive(bystander.pid, process_start(bystander.pid))
        end_process(bystander.pid, "another start")
        end_process(None, None)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
    assert process_start(bystander.pid) is None


def test_the_lock_tells_who_lives_whatever_the_files_say(place: Path) -> None:
    folder = RunFolder(place, "embedded").create()
    assert not folder.is_held()
    held = folder.hold()
    assert held is not None
    assert folder.is_held()
    assert folder.hold() is None
    write_json(folder.state, {"pid": os.getpid(), "pid_start": process_start(os.getpid())})
    assert folder.read_state()
    os.close(held)
    assert not folder.is_held()
    # Who only looks keeps nobody from taking it.
    looking = os.open(folder.lock, os.O_RDWR)
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Timer(0.05, os.close, [looking]).start()
    held = folder.hold()
    assert held is not None
    os.close(held)
    assert folder.read_state() == {}
    folder.state.write_text("[1, 2")
    assert folder.read_state() == {}


def test_each_connection_has_a_folder_of_its_own(place: Path) -> None:
    labels = ["embedded", "host:7233/default", "host_7233/default", "host:7233_default", "../../etc/x"]
    roots = {RunFolder(place, label).root for label in labels}
    assert len(roots) == len(labels)
    assert {root.parent for root in roots} == {place / "run"}
    for label in labels:
        RunFolder(place, label).create()
    assert {folder.root for folder in RunFolder.all(place)} == roots


def test_a_port_in_use_is_seen(place: Path) -> None:
    with socket.socket() as taken:
        taken.bind((ADDRESS, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not are_free(port)
    assert not are_free(99999)


def test_the_server_is_tuned_and_reachable_from_this_machine_only(place: Path) -> None:
    line = " ".join(command_line(Path("/x/temporal"), place / "temporal.db", 17300, 18300))
    assert "--ip 127.0.0.1" in line
    assert "history.transferProcessorMaxPollRPS=5000" in line
    assert "--sqlite-pragma journal_mode=WAL" in line
    # Nothing that would lead the program to another server or configuration.
    assert environment({"TEMPORAL_ADDRESS": "x", "PATH": "/bin"}) == {"PATH": "/bin"}


def test_isolation_hides_the_users_folders_but_not_beatctl(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isolation.isolation_flags() == ["-I"]
    # `pip install --user`: -I would hide beatctl itself.
    users = Path(isolation.__file__).resolve().parents[1]
    monkeypatch.setattr("site.getusersitepackages", lambda: str(users))
    assert isolation.isolation_flags() == ["-E", "-P"]
    assert isolation.python_module("a.b", "c") == [sys.executable, "-E", "-P", "-m", "a.b", "c"]
