from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from beatctl.activities.processes import Lost, StartFailed, Try, end, end_remains, latest_try, new_try, tree, wait
from tests.processes.support import Bench, alive, start_in_a_worker_and_kill_it, until


def _spawned(root: Path) -> int:
    path = root / "spawned"
    return len(path.read_text().splitlines()) if path.exists() else 0


def _fault(bench: Bench, monkeypatch: pytest.MonkeyPatch, place: str, *, once: bool = True) -> Path:
    mark = bench.root / "fired"
    monkeypatch.setenv("BEATCTL_FAULT", f"{place}@{mark}" if once else place)
    return mark


async def test_shim_killed_before_started_is_tried_again_and_spawned_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fired = _fault(bench, monkeypatch, "shim:before-started")
    result = await bench.run(bench.new("sh", "-c", 'echo x >>spawned; [ -z "$BEATCTL_FAULT" ]'))
    assert fired.exists()
    assert result.exit_code == 0
    assert _spawned(bench.root) == 1


async def test_shim_that_never_gets_to_started_leaves_the_try_fresh(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fault(bench, monkeypatch, "shim:before-started", once=False)
    try_ = bench.new("sh", "-c", "echo x >>spawned")
    with pytest.raises(StartFailed):
        await bench.start(try_)
    assert try_.state() == "fresh"
    assert _spawned(bench.root) == 0


@pytest.mark.parametrize(("moment", "spawned"), [("after-started", 0), ("after-spawn", None), ("before-result", 1)])
async def test_shim_killed_after_started_reads_as_lost_and_is_never_spawned_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, moment: str, spawned: int | None
) -> None:
    fired = _fault(bench, monkeypatch, f"shim:{moment}")
    try_ = await bench.start(bench.new("sh", "-c", "echo x >>spawned"))
    await until(fired.exists)
    with pytest.raises(Lost):
        await wait(try_)
    assert try_.state() == "lost"
    await asyncio.to_thread(end_remains, try_)
    before = _spawned(bench.root)
    assert before <= 1
    assert spawned is None or before == spawned
    await bench.start(try_)  # a second worker that comes late
    assert try_.state() == "lost"
    assert _spawned(bench.root) == before
    again = bench.new("sh", "-c", "echo x >>spawned; exit 3")
    assert again.number == 2
    assert (await bench.run(again)).exit_code == 3


async def test_shim_killed_after_its_result_loses_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    fired = _fault(bench, monkeypatch, "shim:after-result")
    result = await bench.run(bench.new("sh", "-c", "exit 7"))
    await until(fired.exists)
    assert result.exit_code == 7


async def test_spawner_killed_between_fork_and_started_starts_the_run_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fired = _fault(bench, monkeypatch, "spawner:after-fork")
    result = await bench.run(bench.new("sh", "-c", "echo x >>spawned; exit 4"))
    assert fired.exists()
    assert result.exit_code == 4
    assert _spawned(bench.root) == 1


async def test_killed_spawner_takes_no_agent_with_it_and_is_replaced(bench: Bench) -> None:
    go = bench.root / "go"
    try_ = await bench.start(bench.new("sh", "-c", f"while [ ! -e {go} ]; do sleep 0.02; done; exit 8"))
    pid = bench.spawners[0].pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    assert (await bench.run(bench.new("true", run="other"))).exit_code == 0
    assert bench.spawners[0].pid not in (None, pid)
    assert try_.state() == "running"
    go.touch()
    assert (await wait(try_)).exit_code == 8


async def test_shim_killed_while_it_waits_for_work_costs_no_run(bench: Bench) -> None:
    for number in range(5):
        assert (await bench.run(bench.new("sh", "-c", "echo x >>spawned; exit 5", run=str(number)))).exit_code == 5
        await until(lambda: len(_spare(bench)) == 1)
        os.kill(_spare(bench)[0], signal.SIGKILL)
    assert _spawned(bench.root) == 5


@pytest.mark.parametrize("how", ["closed", "killed"])
async def test_no_shim_waits_for_work_after_its_spawner(bench: Bench, how: str) -> None:
    assert (await bench.run(bench.new("true"))).exit_code == 0
    await until(lambda: len(_spare(bench)) == 1)
    spare, spawner = _spare(bench)[0], bench.spawners[0].pid
    assert spawner
    if how == "killed":
        os.kill(spawner, signal.SIGKILL)
    else:
        await bench.spawners[0].close()
    await until(lambda: not alive(spare))


def _spare(bench: Bench) -> list[int]:
    """The shims that have no run yet."""
    busy = {try_.shim_pid() for try_ in bench.tries}
    found = [process for process in tree.everything() if process.parent == bench.spawners[0].pid]
    return [process.pid for process in found if process.state != "Z" and process.pid not in busy]


async def test_stopping_the_worker_takes_no_agent_with_it(bench: Bench) -> None:
    go = bench.root / "go"
    try_ = await bench.start(bench.new("sh", "-c", f"while [ ! -e {go} ]; do sleep 0.02; done; exit 8"))
    spawner = bench.spawners[0].pid
    assert spawner
    await bench.spawners[0].close()
    assert not alive(spawner)
    go.touch()
    assert (await wait(try_)).exit_code == 8


async def test_worker_killed_with_its_agent_running_is_told_exit_7(bench: Bench) -> None:
    go = bench.root / "go"
    try_ = bench.new("sh", "-c", f"while [ ! -e {go} ]; do sleep 0.02; done; exit 7")
    await asyncio.to_thread(start_in_a_worker_and_kill_it, try_)
    spawner = try_.record()[0]["spawner_pid"]
    await until(lambda: not alive(spawner))  # it ends by itself
    assert try_.state() == "running"
    adopted = latest_try(bench.runs / "run")
    assert adopted == try_
    await bench.start(try_)  # adopting is no second start
    go.touch()
    assert (await wait(try_)).exit_code == 7


async def test_time_limit_holds_with_no_worker_alive(bench: Bench) -> None:
    try_ = bench.new("sleep", "1000", timeout_s=0.5)
    await asyncio.to_thread(start_in_a_worker_and_kill_it, try_)
    assert (await wait(try_)).ended_by == "timeout"


_STRAY = (
    "import os, sys, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    os.execve('/bin/sh', ['/bin/sh', '-c', 'echo $$ >stray; exec sleep 1000'], {'PATH': os.environ['PATH']})\n"
    "while not os.path.exists('stray') or not open('stray').read().endswith('\\n'):\n"
    "    time.sleep(0.01)\n"
)


async def test_agent_that_kills_its_shim_is_lost_and_leaves_nothing(bench: Bench) -> None:
    try_ = await bench.start(bench.python(_STRAY + "os.kill(os.getppid(), 9)\ntime.sleep(1000)"))
    stray = await bench.pid_in("stray")
    with pytest.raises(Lost):
        await wait(try_)
    await asyncio.to_thread(end_remains, try_)
    assert not alive(stray)


async def test_cancel_of_a_try_whose_shim_died_ends_what_is_left(bench: Bench) -> None:
    try_ = await bench.start(bench.python(_STRAY + "time.sleep(1000)"))
    stray = await bench.pid_in("stray")
    shim = try_.shim_pid()
    assert shim
    os.kill(shim, signal.SIGKILL)
    assert await end(try_) is None
    assert not alive(stray)


async def test_with_spawner_and_shim_both_killed_a_stray_is_still_found(bench: Bench) -> None:
    try_ = await bench.start(bench.python(_STRAY + "time.sleep(1000)"))
    stray = await bench.pid_in("stray")
    await until(lambda: any(stray in (seen[0] for seen in line.get("seen", [])) for line in try_.record()))
    shim, spawner = try_.shim_pid(), bench.spawners[0].pid
    assert shim
    assert spawner
    os.kill(spawner, signal.SIGKILL)
    await until(lambda: not alive(spawner))
    os.kill(shim, signal.SIGKILL)
    await until(lambda: try_.state() == "lost")
    assert alive(stray)
    assert await asyncio.to_thread(end_remains, try_) == ["sleep"]
    assert not alive(stray)


async def test_with_spawner_and_shim_both_killed_the_marker_finds_what_was_never_noted(bench: Bench) -> None:
    try_ = await bench.start(bench.new("sh", "-c", "setsid sleep 1000 & echo $! >pid; wait"))
    await bench.pid_in("pid")
    shim, spawner = try_.shim_pid(), bench.spawners[0].pid
    assert shim
    assert spawner
    below = tree.descendants([shim], tree.everything())
    os.kill(spawner, signal.SIGKILL)
    os.kill(shim, signal.SIGKILL)
    await until(lambda: try_.state() == "lost")
    await asyncio.to_thread(end_remains, try_)
    assert not any(alive(process.pid) for process in below)


def test_strangers_survive_the_end_of_remains(bench: Bench) -> None:
    """A record from before a reboot, or of numbers given away since, must not hit anyone else."""
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as stranger:
        try_ = bench.new("true")
        me = tree.read(stranger.pid)
        assert me is not None
        about = {"shim_pid": stranger.pid, "shim_start": "1", "spawner_pid": 1, "spawner_start": "1", "host": "h"}
        for boot, start in ((tree.boot_id(), "12"), ("of another boot", me.start)):
            lines = [{**about, "boot_id": boot}, {"seen": [[stranger.pid, start, stranger.pid]]}]
            written = [json.loads(try_.lines()[0]), *lines]
            try_.journal.write_text("".join(json.dumps(line) + "\n" for line in written))
            assert try_.state() == "lost"
            assert end_remains(try_) == []
        assert stranger.poll() is None
        stranger.kill()


async def test_two_workers_that_start_the_same_try_spawn_it_once(bench: Bench) -> None:
    one, other = bench.spawner(), bench.spawner()
    for number in range(20):
        try_ = bench.new("sh", "-c", "echo x >>spawned; exit 5", run=str(number))
        await asyncio.gather(*(spawner.start(try_) for spawner in (one, other, one)))
        assert (await wait(try_)).exit_code == 5
        assert _spawned(bench.root) == number + 1


async def test_shims_killed_at_any_moment_leave_a_state_that_is_read_rightly(bench: Bench) -> None:
    chance = random.Random(7)
    for number in range(30):
        name = f"spawned-{number}"
        try_ = bench.new("sh", "-c", f"echo x >>{name}; exit 5", run=str(number))
        starting = asyncio.create_task(bench.start(try_))
        for _ in range(chance.randrange(60)):
            await asyncio.sleep(0)
        while not starting.done() and try_.shim_pid() is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        for _ in range(chance.randrange(100)):
            await asyncio.sleep(0)
        if shim := try_.shim_pid():
            with contextlib.suppress(ProcessLookupError):  # it has ended since
                os.kill(shim, signal.SIGKILL)
        await starting
        try:
            assert (await wait(try_)).exit_code == 5
            runs = 1
        except Lost:
            await asyncio.to_thread(end_remains, try_)
            runs = -1
        there = (bench.root / name).read_text().count("x") if (bench.root / name).exists() else 0
        assert there == runs or (runs == -1 and there <= 1)


async def test_full_disk_does_not_cost_the_result_of_an_hour(bench: Bench) -> None:
    go = bench.root / "go"
    try_ = await bench.start(bench.new("sh", "-c", f"while [ ! -e {go} ]; do sleep 0.02; done; exit 7"))
    await until(lambda: len(try_.record()) > 1)
    shim = try_.shim_pid()
    assert shim
    limit = resource.prlimit(shim, resource.RLIMIT_FSIZE)
    resource.prlimit(shim, resource.RLIMIT_FSIZE, (0, limit[1]))  # every write fails, as on a full disk
    go.touch()
    await until(lambda: not tree.descendants([shim], tree.everything()))
    assert try_.state() == "running"
    resource.prlimit(shim, resource.RLIMIT_FSIZE, limit)
    assert (await wait(try_)).exit_code == 7


async def test_agent_that_removes_its_own_output_still_has_a_result(bench: Bench) -> None:
    try_ = bench.new("sh", "-c", "rm $(readlink /proc/$$/fd/1) $(readlink /proc/$$/fd/2); sleep 0.6; exit 7")
    assert (await bench.run(try_)).exit_code == 7
    assert not try_.stdout.exists()


async def test_result_cut_off_by_a_power_failure_reads_as_lost(bench: Bench) -> None:
    try_ = bench.new("true")
    await bench.run(try_)
    await until(lambda: try_.shim_pid() is None)
    os.truncate(try_.journal, try_.journal.stat().st_size - 2)
    assert try_.state() == "lost"


async def test_note_cut_off_by_a_kill_is_read_as_far_as_it_goes(bench: Bench) -> None:
    try_ = bench.new("true")
    await bench.run(try_)
    with try_.journal.open("a") as journal:
        journal.write('{"seen": [[1, "2"')
    assert [sorted(line)[0] for line in try_.record()] == ["at", "seen"]
    assert try_.state() == "done"


async def test_line_cut_off_after_the_command_does_not_spoil_the_result(bench: Bench) -> None:
    try_ = bench.new("sh", "-c", "exit 7")
    with try_.journal.open("a") as journal:  # by a shim that was killed while the disk was full
        journal.write('{"shim_pid": 1')
    assert (await bench.run(try_)).exit_code == 7


def test_try_is_there_with_its_specification_or_not_at_all(bench: Bench) -> None:
    assert latest_try(bench.runs / "none") is None
    first = bench.new("true")
    (bench.runs / "run.2.jsonl").write_text('{"id": ')  # by a worker that died while it wrote it
    assert latest_try(bench.runs / "run") == first
    for number in range(3, 12):
        assert new_try(bench.runs / "run", first.spec()).number == number
    newest = latest_try(bench.runs / "run")
    assert isinstance(newest, Try)
    assert newest.number == 11


async def test_folder_that_was_removed_is_an_error_and_no_hang(bench: Bench) -> None:
    try_ = bench.new("true")
    bench.tries.clear()
    gone = Try(try_.run, 9)
    with pytest.raises(StartFailed, match=r"run\.9"):
        await bench.start(gone)
    assert gone.state() == "fresh"
