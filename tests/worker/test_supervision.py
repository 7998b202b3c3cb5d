"""What is killed comes back, what is started twice is there once, and `down` leaves nothing but the agents."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.activities.processes import CommandSpec, Spawner, Try, new_try
from beatctl.activities.records import Status
from beatctl.worker import local, shutting_down, what_runs
from beatctl.worker.connection import Connection, ServerUnreachable, connect
from beatctl.worker.embedded_server import ADDRESS, listens
from beatctl.worker.hosts import task_queue
from beatctl.worker.run_folder import is_alive, process_start, read_json, write_json
from tests.support import wait_until
from tests.worker.conftest import Machine

START = (
    "import os, sys; from beatctl.worker import local; from beatctl.activities.home import Home\n"
    "found = local.ensure_running(Home.locate(), os.environ, lambda text: print(text, file=sys.stderr))\n"
    "print(found.pid, found.worker_pid, found.server_pid)"
)


def test_two_starts_at_the_same_moment_share_one_server_and_worker(machine: Machine) -> None:
    both = [machine.python(START) for _ in range(2)]
    told = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert told[0][0] == told[1][0]
    found = machine.running()
    assert found
    assert told[0][0].split() == [str(found.pid), str(found.worker_pid), str(found.server_pid)]


def test_a_killed_worker_comes_back_by_itself(machine: Machine) -> None:
    before = machine.ensure()
    assert before.worker_pid
    os.kill(before.worker_pid, signal.SIGKILL)
    after = machine.ready_again(lambda now: now.worker_pid != before.worker_pid)
    assert (after.pid, after.server_pid) == (before.pid, before.server_pid)
    assert "killed (SIGKILL)" in machine.folder.supervisor_log.read_text()


def test_a_killed_server_comes_back_at_the_same_address_with_its_loops(machine: Machine) -> None:
    before = machine.ensure()
    assert before.server_pid

    async def start() -> None:
        client = await connect(before.connection)
        await client.start_workflow("Anything", id="kept", task_queue="nobody")

    async def describe(connection: Connection) -> str:
        client = await connect(connection)
        return str((await client.get_workflow_handle("kept").describe()).status)

    asyncio.run(start())
    os.kill(before.server_pid, signal.SIGKILL)
    after = machine.ready_again(lambda now: now.server_pid != before.server_pid)
    assert after.connection == before.connection
    assert after.worker_pid == before.worker_pid
    assert asyncio.run(describe(after.connection)) == str(1)  # running


def test_when_all_is_killed_the_next_command_brings_it_back_and_nothing_old_stays(machine: Machine) -> None:
    before = machine.ensure()
    old = {pid: process_start(pid) for pid in (before.pid, before.worker_pid, before.server_pid) if pid}
    os.kill(before.pid, signal.SIGKILL)
    wait_until(lambda: not machine.folder.is_held(), "the supervisor's end")
    after = local.bring_back(machine.home, machine.environ, machine.said.append)
    assert after
    assert after.ready
    assert after.connection == before.connection
    assert not [pid for pid, start in old.items() if is_alive(pid, start)]
    assert {after.pid, after.worker_pid, after.server_pid}.isdisjoint(old)


def test_down_ends_everything_and_no_command_brings_it_back_but_start(machine: Machine) -> None:
    before = machine.ensure()
    done = shutting_down.shut_down(machine.home)
    assert done.was_running
    assert not done.waiting + done.agents + done.ended
    assert machine.running() is None
    for pid in (before.pid, before.worker_pid, before.server_pid):
        assert pid
        assert process_start(pid) is None
    assert local.bring_back(machine.home, machine.environ, machine.said.append) is None
    assert not shutting_down.shut_down(machine.home).was_running
    # Links into the Web UI stay true.
    assert machine.ensure().ui_url == before.ui_url


def test_no_command_starts_a_server_where_none_ever_ran(machine: Machine) -> None:
    assert local.bring_back(machine.home, machine.environ, machine.said.append) is None
    assert not machine.home.root.exists()


def a_loop(machine: Machine, name: str, state: str) -> Status:
    status = Status.model_validate(
        {"id": name, "goal": "g", "strategy": "retry", "state": state, "directory": str(machine.home.root)}
    )
    assert Ledger(machine.home.create().ledger).add_loop(status, "{}", 0.0)
    return status


def an_agent(machine: Machine, loop: str) -> Try:
    """A real agent that sleeps, under its shim, whose spawner (and so its worker) has ended."""

    async def start() -> Try:
        run = machine.home.loop(loop).iteration(3) / "agent"
        one = new_try(run, CommandSpec(argv=["sleep", "300"], cwd="/"))
        spawner = Spawner()
        await spawner.start(one)
        await spawner.close()
        return one

    return asyncio.run(start())


def test_down_says_which_loops_wait_and_which_agents_go_on_and_force_ends_them(machine: Machine) -> None:
    a_loop(machine, "k3f9", "running")
    a_loop(machine, "p2aa", "paused")
    a_loop(machine, "z9zz", "finished")
    agent = an_agent(machine, "k3f9")

    gone_on = shutting_down.shut_down(machine.home)
    assert set(gone_on.waiting) == {"k3f9", "p2aa"}
    assert [(one.loop, one.iteration, one.shim_pid) for one in gone_on.agents] == [("k3f9", 3, agent.shim_pid())]
    assert agent.state() == "running"

    forced = shutting_down.shut_down(machine.home, force=True)
    assert [one.loop for one in forced.ended] == ["k3f9"]
    assert not forced.agents
    assert agent.state() == "done"
    assert agent.result().ended_by == "cancel"


def test_a_port_in_use_is_passed_over(machine: Machine) -> None:
    before = machine.ensure()
    shutting_down.shut_down(machine.home)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((ADDRESS, int(before.connection.address.rpartition(":")[2])))
        taken.listen()
        after = machine.ensure()
        assert after.connection.address != before.connection.address
        assert asyncio.run(connect(after.connection))


def test_files_left_by_a_crash_mean_nothing_and_no_bystander_is_ended(machine: Machine) -> None:
    bystander = subprocess.Popen(["sleep", "300"])
    try:
        folder = machine.folder.create()
        folder.lock.touch()
        pids = dict.fromkeys(("pid", "server_pid", "worker_pid"), bystander.pid)
        starts = dict.fromkeys(("pid_start", "server_start", "worker_start"), "1")
        write_json(folder.state, {**pids, **starts, "ready": True, "version": "0", "connection": {}})
        write_json(folder.worker, {"pid": bystander.pid})
        folder.ports.write_text('{"port": 17')
        assert machine.running() is None
        assert machine.ensure().pid != bystander.pid
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_server_that_cannot_start_is_told_in_its_own_words_and_left_alone(machine: Machine) -> None:
    (machine.home.create().root / "temporal.db").mkdir()
    with pytest.raises(local.NotRunning, match=r"Temporal server does not start: .*(directory|database|open)"):
        machine.ensure()
    assert not machine.folder.is_held()
    (machine.home.root / "temporal.db").rmdir()
    assert machine.ensure().ready


def test_a_slow_server_is_waited_for_with_a_word(
    machine: Machine, program: Path, script: Callable[[str, str], Path]
) -> None:
    slow = script("slow", f'case "$*" in *--db-filename*) sleep 3;; esac\nexec "{program}" "$@"')
    machine.environ["BEATCTL_TEMPORAL_CLI"] = str(slow)
    assert machine.ensure().ready
    assert "Starting the Temporal server …" in machine.said


def test_a_worker_of_a_later_version_is_said_and_not_ended(machine: Machine) -> None:
    before = machine.ensure()
    write_json(machine.folder.state, {**read_json(machine.folder.state), "version": "99.0"})
    after = machine.ensure()
    assert after.worker_pid == before.worker_pid
    assert "99.0, newer than this command" in machine.said[-1]


def test_what_an_agent_starts_does_not_count_as_the_agents(machine: Machine) -> None:
    machine.environ["BEATCTL_TRY"] = "outer"
    found = machine.ensure()
    for pid in (found.pid, found.worker_pid, found.server_pid):
        environ = Path(f"/proc/{pid}/environ")
        if environ.exists():
            assert b"BEATCTL_TRY=" not in environ.read_bytes()


def test_up_stays_in_the_foreground_and_ends_with_ctrl_c(machine: Machine) -> None:
    up = machine.python(
        "import os; from beatctl.worker import local; from beatctl.activities.home import Home\n"
        "local.become_supervisor(Home.locate(), os.environ, print)"
    )
    found = machine.ready_again(lambda _: True)
    assert found.pid == up.pid
    again = machine.python(
        "import os; from beatctl.worker import local; from beatctl.activities.home import Home\n"
        "local.become_supervisor(Home.locate(), os.environ, print)"
    )
    assert "Already running" in again.communicate(timeout=60)[1]
    up.send_signal(signal.SIGINT)
    told = up.communicate(timeout=60)[1]
    assert up.returncode == 0
    assert f"Web UI {found.ui_url}" in told
    assert f"worker {found.worker_pid} takes work" in told
    assert machine.running() is None


def test_a_shared_server_gets_a_worker_and_no_server_beside_it(machine: Machine, place: Path) -> None:
    shared = machine.ensure()
    other = Machine(Home(place / "other"), {**machine.environ, "TEMPORAL_ADDRESS": shared.connection.address})
    other.environ["BEATCTL_HOME"] = str(other.home.root)
    try:
        found = other.ensure()
        assert found.server_pid is None
        assert found.worker_pid
        assert found.connection.label == f"{shared.connection.address}/default"
        assert not (other.home.root / "temporal.db").exists()
        # Each its own: the embedded one of that home is another matter.
        assert what_runs.running(other.home, machine.environ) is None
    finally:
        other.close()
    assert machine.running() == shared


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"TEMPORAL_ADDRESS": "127.0.0.1:1"}, "No Temporal server answers at 127.0.0.1:1: Connection refused"),
        ({"TEMPORAL_ADDRESS": "not an address"}, "No Temporal server answers at not an address"),
    ],
)
def test_an_unreachable_server_is_one_line_with_nothing_started(
    machine: Machine, settings: dict[str, str], words: str
) -> None:
    machine.environ |= settings
    with pytest.raises(ServerUnreachable, match=words) as refused:
        machine.ensure()
    assert "\n" not in str(refused.value)
    assert not machine.home.root.exists()


def test_a_namespace_that_is_not_there_is_said_before_anything_starts(machine: Machine, place: Path) -> None:
    shared = machine.ensure()
    settings = {"TEMPORAL_ADDRESS": shared.connection.address, "TEMPORAL_NAMESPACE": "nowhere"}
    with pytest.raises(ServerUnreachable, match="has no namespace 'nowhere'"):
        local.ensure_running(Home(place / "other"), {**machine.environ, **settings}, machine.said.append)
    assert not (place / "other").exists()


def test_the_port_is_known_to_be_our_servers(machine: Machine) -> None:
    found = machine.ensure()
    port = int(found.connection.address.rpartition(":")[2])
    assert found.server_pid
    assert listens(found.server_pid, port) in (True, None)
    assert listens(os.getpid(), port) in (False, None)


def test_files_are_private_and_the_state_is_whole_json(machine: Machine) -> None:
    machine.ensure()
    assert machine.home.root.stat().st_mode & 0o077 == 0
    assert json.loads(machine.folder.state.read_text())["ready"]
    assert wait_until(lambda: machine.folder.worker_log.read_text(), "the worker's log").count("takes work") == 1
    assert task_queue(machine.home) in machine.folder.worker_log.read_text()
