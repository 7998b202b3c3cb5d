"""beatctl as a systemd user unit: its command line works, restarts cost no agent, nothing foreign is touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from beatctl.cli.install import up_line
from beatctl.worker import systemd
from beatctl.worker.run_folder import RunFolder
from tests.loops.conftest import Loops
from tests.support import Beatctl, wait_until
from tests.worker import small_systemd

pytestmark = pytest.mark.own_server("the service that keeps the server alive")

ROOT = Path(__file__).resolve().parents[2]


def verified(unit: Path) -> str:
    """What `systemd-analyze verify` has to say of a unit: nothing, where it is well."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here (Debian: apt install systemd)")
    runtime = unit.parent / "runtime"
    runtime.mkdir(exist_ok=True)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
        capture_output=True,
        text=True,
    )
    return done.stderr + done.stdout + ("" if done.returncode == 0 else f"exit {done.returncode}")


def test_the_unit_is_one_that_systemd_accepts_whatever_the_folders_are_called(place: Path) -> None:
    odd = place / "a b%h$x"
    odd.mkdir()
    python = odd / "python"
    python.symlink_to(sys.executable)
    environ = {"PATH": f"{odd}:relative:/usr/bin", "BEATCTL_HOME": f'{odd}/"q\\', "TEMPORAL_API_KEY": "secret"}
    unit = place / "beatctl.service"
    unit.write_text(
        systemd.unit_text(systemd.command_text([str(python), *up_line()[1:]]), systemd.environment_for(environ))
    )
    assert verified(unit) == ""
    # And it reads back as what was meant; a secret is not in it.
    assert systemd.words_of(systemd.values(unit.read_text(), "ExecStart")[0], {}) == [str(python), *up_line()[1:]]
    assert small_systemd.environment(unit)["BEATCTL_HOME"] == f'{odd}/"q\\'
    assert small_systemd.environment(unit)["PATH"] == f"{odd}:/usr/bin"
    assert "secret" not in unit.read_text()
    # The check is one that can fail.
    unit.write_text(unit.read_text().replace("KillMode=process", "KillMode=proces"))
    assert "KillMode" in verified(unit) or "kill mode" in verified(unit).lower()


def test_a_program_whose_path_systemd_refuses_is_started_all_the_same() -> None:
    line = systemd.command_text(["/o'hara/python", "up"])
    assert line == '/usr/bin/env "/o\'hara/python" up'


def test_the_unit_in_deploy_is_the_one_that_is_installed() -> None:
    text = (ROOT / "deploy" / "beatctl.service").read_text()
    head, _, _ = text.partition("\n[Unit]")
    assert text == systemd.unit_text("%h/.local/bin/beatctl up", {}, head)


class Machine:
    """A user's machine with a systemd: what `systemctl` is asked, and the unit."""

    def __init__(self, loops: Loops, place: Path) -> None:
        self.loops, self.beatctl, self.folder = loops, loops.beatctl, place / "systemd"
        self.folder.mkdir()
        programs = place / "programs"
        programs.mkdir()
        stand_in = Path(small_systemd.__file__)
        self.write(programs / "systemctl", f'exec {sys.executable} -I "{stand_in}" "{self.folder}" "$@"')
        self.write(programs / "loginctl", f'echo "loginctl $*" >> "{self.folder}/asked"')
        environ = self.beatctl.environ
        environ["PATH"] = f"{programs}:{environ['PATH']}"
        self.unit = Path(environ["HOME"], ".config/systemd/user/beatctl.service")

    @staticmethod
    def write(path: Path, text: str) -> None:
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    @property
    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()

    def run(self, *words: str, expect: int = 0) -> str:
        done = self.beatctl(*words, cwd=self.loops.repository.folder, expect=expect)
        return done.stdout + done.stderr

    def supervisor(self) -> int:
        return int(RunFolder(self.beatctl.home, "embedded").read_state()["pid"])

    def close(self) -> None:
        """As systemd would at shut-down."""
        if self.unit.exists():
            small_systemd.stop(self.folder, self.unit)


@pytest.fixture
def machine(own_loops: Loops, place: Path) -> object:
    if sys.platform != "linux":
        pytest.skip("systemd is Linux's")
    machine = Machine(own_loops, place)
    yield machine
    machine.close()


def test_installed_restarted_and_removed_the_service_costs_no_agent_run(machine: Machine, place: Path) -> None:
    loops, repo = machine.loops, machine.loops.repository
    log, go = place / "log", place / "go"
    agent = repo.agent(f"echo $i >> {log}; until [ -e {go}$i ]; do sleep 0.1; done; echo $((40 - $i)) > n")
    loop = loops.detached("lower n", "--eval", "cat n", "--minimize", "-a", agent, "-n", "2")
    wait_until(log.exists, "the agent")
    background = machine.supervisor()

    said = machine.run("up", "--install")
    assert f"Wrote {machine.unit}." in said
    assert "Lingering is on" in said
    assert [line.removeprefix("--user ") for line in machine.asked] == [
        "show-environment",
        "daemon-reload",
        "enable beatctl.service",
        "restart beatctl.service",
        "loginctl enable-linger",
    ]
    assert verified(machine.unit) == ""
    # Its very command line runs, with the unit's environment, and has taken over.
    first = machine.supervisor()
    assert first != background
    assert str(first) == (machine.folder / "pid").read_text()
    (place / "go1").touch()
    wait_until(lambda: log.read_text().split() == ["1", "2"], "the second agent, by the unit's worker")

    text = machine.unit.read_text()
    assert f"Nothing to change in {machine.unit}." in machine.run("up", "--install")
    assert machine.unit.read_text() == text
    second = machine.supervisor()
    assert second != first
    assert "beatctl down" in machine.run("up", expect=3)

    said = machine.run("up", "--uninstall")
    assert "agents that run go on" in said
    assert not machine.unit.exists()
    assert not RunFolder(machine.beatctl.home, "embedded").is_held()
    (place / "go2").touch()
    status = loops.finished(loop)  # brought back by the command that looks
    assert status["best"]["score"] == 38
    assert log.read_text().split() == ["1", "2"]
    assert [row["agent"]["adopted"] for row in loops.rows(loop)[1:]] == [True, True]
    assert "Nothing to remove" in machine.run("up", "--uninstall")


def test_after_down_neither_systemd_nor_a_look_brings_the_service_back(machine: Machine) -> None:
    machine.run("up", "--install")
    pid = machine.supervisor()
    machine.run("down")
    wait_until(lambda: not small_systemd.is_alive(pid), "the supervisor's end")
    journal = (machine.folder / "journal").read_text()
    assert journal.rstrip().endswith("ended"), "exit code 0: Restart=on-failure leaves it"
    machine.run("list")
    assert not RunFolder(machine.beatctl.home, "embedded").is_held()
    machine.run("up", "-d")
    assert RunFolder(machine.beatctl.home, "embedded").is_held()


def test_a_unit_of_our_own_is_renewed_and_what_was_there_is_kept(machine: Machine) -> None:
    machine.unit.parent.mkdir(parents=True)
    machine.unit.write_text(f"{systemd.MARK}\n[Service]\nExecStart=/gone/beatctl up\nKillMode=mixed\n")
    told = machine.run("doctor")
    assert (
        "KillMode=mixed ends agents that run with each restart of the service. beatctl up --install writes it" in told
    )
    assert "starts /gone/beatctl, which is not there: beatctl up --install" in told
    assert "Renewed" in machine.run("up", "--install")
    assert "/gone/beatctl" in machine.unit.with_name("beatctl.service.before").read_text()
    told = machine.run("doctor")
    assert "KillMode" not in told
    assert str(machine.unit) in told
    drop_in = machine.unit.with_name("beatctl.service.d") / "override.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nKillMode=control-group\n")
    assert "KillMode=control-group ends agents" in machine.run("doctor")


@pytest.mark.parametrize("flag", ["--install", "--uninstall"])
def test_somebody_elses_unit_stays_as_it_is(machine: Machine, flag: str) -> None:
    machine.unit.parent.mkdir(parents=True)
    machine.unit.write_text("[Service]\nExecStart=/usr/bin/true\n")
    assert "was not written by beatctl up --install, so it stays" in machine.run("up", flag, expect=2)
    assert machine.unit.read_text() == "[Service]\nExecStart=/usr/bin/true\n"
    assert not (machine.folder / "asked").exists()
    assert not machine.beatctl.home.exists()


def test_a_systemd_that_refuses_is_quoted(machine: Machine, place: Path) -> None:
    machine.write(place / "programs" / "systemctl", '[ "$2" != enable ] || { echo "Unit is masked" >&2; exit 1; }')
    told = machine.run("up", "--install", expect=3)
    assert "systemctl --user enable beatctl.service failed: Unit is masked" in told


def test_without_systemd_nothing_is_written_and_another_way_is_told(beatctl: Beatctl, place: Path) -> None:
    programs = place / "programs"
    programs.mkdir()
    Machine.write(programs / "systemctl", "echo 'Failed to connect to bus' >&2; exit 1")
    environ = {"PATH": f"{programs}:/usr/bin:/bin"}
    done = beatctl("up", "--install", cwd=place, env=environ, expect=3)
    assert "Nothing was written" in done.stderr
    line = next(line for line in done.stderr.splitlines() if "@reboot" in line).strip().removeprefix("@reboot ")
    assert not Path(beatctl.environ["HOME"], ".config").exists()
    assert not beatctl.home.exists()
    # The line for crontab works as it stands, with cron's environment.
    cron = {"HOME": beatctl.environ["HOME"], "PATH": "/usr/bin:/bin"}
    subprocess.run(["sh", "-c", line.replace("\\%", "%")], env=cron, check=True, timeout=120, capture_output=True)
    assert RunFolder(beatctl.home, "embedded").is_held()


def test_only_one_way_of_up_at_a_time(beatctl: Beatctl, place: Path) -> None:
    assert "Only one of" in beatctl("up", "--install", "-d", cwd=place, expect=2).stderr


def test_killing_the_units_supervisor_leaves_the_agent_to_be_adopted(machine: Machine, place: Path) -> None:
    """As systemd does when a stop takes too long: SIGKILL, then the next start."""
    loops, repo = machine.loops, machine.loops.repository
    machine.run("up", "--install")
    log, go = place / "log", place / "go"
    agent = repo.agent(f"echo $i >> {log}; until [ -e {go} ]; do sleep 0.1; done; echo 7 > n")
    loop = loops.detached("lower n", "--eval", "cat n", "--minimize", "-a", agent, "-n", "1")
    wait_until(log.exists, "the agent")
    pid = machine.supervisor()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not small_systemd.is_alive(pid), "the supervisor's end")
    small_systemd.start(machine.folder, machine.unit)  # Restart=on-failure
    wait_until(lambda: RunFolder(machine.beatctl.home, "embedded").read_state().get("ready"), "the service")
    go.touch()
    loops.finished(loop)
    assert log.read_text().split() == ["1"]
    assert loops.rows(loop)[1]["agent"]["adopted"] is True
