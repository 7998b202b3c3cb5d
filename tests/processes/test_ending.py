from __future__ import annotations

import os
import signal
import threading

import pytest

from beatctl.activities.processes import end, tree, wait
from tests.processes.support import Bench, alive, until

# Double fork, new session, cleared environment, TERM ignored, pid told: nothing of it points to the agent any more.
_DAEMON = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve(sys.executable, [sys.executable, "-I", "-S", "-c",
            "import os, signal, time\\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\\n"
            "open('daemon', 'w').write(f'{os.getpid()}\\\\n')\\n"
            "time.sleep(1000)"], {})
    os._exit(0)
os.wait()
while not os.path.exists("daemon") or not open("daemon").read().endswith("\\n"):
    time.sleep(0.01)
"""


async def test_daemon_does_not_outlive_an_agent_that_ended_well(bench: Bench) -> None:
    try_ = await bench.start(bench.python(_DAEMON + "sys.exit(3)"))
    daemon = await bench.pid_in("daemon")
    result = await wait(try_)
    assert not alive(daemon)
    assert (result.exit_code, result.ended_by) == (3, "exit")
    assert len(result.left_behind) == 1
    assert "python" in result.left_behind[0]


async def test_daemon_does_not_outlive_a_cancel(bench: Bench) -> None:
    try_ = await bench.start(bench.python(_DAEMON + "time.sleep(1000)", grace_s=0.1))
    daemon = await bench.pid_in("daemon")
    result = await end(try_)
    assert result is not None
    assert result.ended_by == "cancel"
    assert not alive(daemon)


async def test_daemon_does_not_outlive_a_time_limit(bench: Bench) -> None:
    try_ = await bench.start(bench.python(_DAEMON + "time.sleep(1000)", timeout_s=2.0, grace_s=0.1))
    daemon = await bench.pid_in("daemon")
    assert (await wait(try_)).ended_by == "timeout"
    assert not alive(daemon)


async def test_time_limit_ends_an_agent_that_hangs(bench: Bench) -> None:
    result = await bench.run(bench.new("sleep", "1000", timeout_s=0.3))
    assert (result.ended_by, result.signal, result.exit_code) == ("timeout", 15, None)


async def test_agent_that_will_not_listen_is_killed_after_the_grace(bench: Bench) -> None:
    result = await bench.run(
        bench.new("sh", "-c", "trap '' TERM; while :; do sleep 1; done", timeout_s=0.3, grace_s=0.3)
    )
    assert (result.ended_by, result.signal) == ("timeout", 9)


async def test_agent_can_clean_up_when_it_is_cancelled(bench: Bench) -> None:
    try_ = bench.new("bash", "-c", "trap 'echo tidy; exit 5' TERM; echo ready; while :; do sleep 0.05; done")
    await bench.start(try_)
    await until(lambda: try_.stdout.exists() and try_.stdout.read_text() == "ready\n")
    result = await end(try_)
    assert result is not None
    assert (result.ended_by, result.exit_code) == ("cancel", 5)
    assert try_.stdout.read_text() == "ready\ntidy\n"


async def test_stopped_agent_can_be_cancelled(bench: Bench) -> None:
    try_ = await bench.start(bench.new("sh", "-c", "echo $$ >pid; trap 'exit 4' TERM; kill -STOP $$; sleep 1000"))
    pid = await bench.pid_in("pid")
    await until(lambda: (process := tree.read(pid)) is not None and process.state == "T")
    result = await end(try_)
    assert result is not None
    assert (result.ended_by, result.exit_code) == ("cancel", 4)


async def test_stopped_shim_still_ends_its_tree_on_cancel(bench: Bench) -> None:
    try_ = await bench.start(bench.new("sleep", "1000"))
    shim = try_.shim_pid()
    assert shim
    os.kill(shim, signal.SIGSTOP)
    result = await end(try_)
    assert result is not None
    assert result.ended_by == "cancel"


async def test_cancel_that_comes_before_the_start_spends_nothing(bench: Bench) -> None:
    try_ = bench.new("touch", "ran")
    assert await end(try_) is None
    result = await bench.run(try_)
    assert (result.ended_by, result.exit_code) == ("cancel", None)
    assert not (bench.root / "ran").exists()


async def test_cancel_after_the_end_keeps_the_result(bench: Bench) -> None:
    try_ = bench.new("sh", "-c", "exit 9")
    await bench.run(try_)
    result = await end(try_)
    assert result is not None
    assert (result.ended_by, result.exit_code) == ("exit", 9)


async def test_service_stop_is_no_cancel(bench: Bench) -> None:
    go = bench.root / "go"
    try_ = await bench.start(bench.new("sh", "-c", f"while [ ! -e {go} ]; do sleep 0.02; done; exit 6"))
    shim = try_.shim_pid()
    assert shim
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1):
        os.kill(shim, number)
    go.touch()
    assert (await wait(try_)).exit_code == 6


async def test_agent_that_kills_its_own_group_still_has_a_result(bench: Bench) -> None:
    result = await bench.run(bench.new("sh", "-c", "kill -9 0"))
    assert (result.signal, result.ended_by) == (9, "exit")


async def test_last_lines_of_a_pipe_that_outlives_the_shell_are_not_cut_off(bench: Bench) -> None:
    try_ = bench.new("bash", "-c", "exec > >(sleep 0.03; cat); echo last words")
    result = await bench.run(try_)
    assert try_.stdout.read_text() == "last words\n"
    assert result.left_behind == []


async def test_process_whose_first_thread_ended_is_seen_and_ended(bench: Bench) -> None:
    code = (
        "import ctypes, os, threading, time\n"
        "threading.Thread(target=time.sleep, args=(1000,)).start()\n"
        "open('pid', 'w').write(f'{os.getpid()}\\n')\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    try_ = await bench.start(bench.python(code, grace_s=0.1))
    pid = await bench.pid_in("pid")
    await until(lambda: "\nState:\tZ" in _status(pid))
    assert alive(pid)
    result = await end(try_)
    assert result is not None
    assert result.ended_by == "cancel"


def _status(pid: int) -> str:
    with open(f"/proc/{pid}/status") as file:
        return file.read()


async def test_without_proc_the_same_processes_are_seen(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    try_ = await bench.start(bench.new("sh", "-c", "sleep 1000 & echo $! >pid; wait"))
    pid = await bench.pid_in("pid")
    shim = try_.shim_pid()
    assert shim
    by_proc = tree.descendants([shim], tree.everything())
    monkeypatch.setattr(tree, "_HAS_PROC", False)
    by_ps = tree.descendants([shim], tree.everything())
    assert [(p.pid, p.parent, p.group) for p in by_ps] == [(p.pid, p.parent, p.group) for p in by_proc]
    assert [p.name for p in by_ps] == ["sh", "sleep"]
    assert by_ps[1].pid == pid
    again = tree.read(pid)
    assert again is not None
    assert again.start == by_ps[1].start


def test_signal_never_hits_a_stranger_with_the_same_number() -> None:
    me = tree.read(os.getpid())
    assert me is not None
    me.start = "long ago"
    hit = threading.Event()
    old = signal.signal(signal.SIGUSR2, lambda *_: hit.set())
    try:
        assert tree.send(me, signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, old)
    assert not hit.is_set()
