"""The machine stays awake while a loop works, and not a moment longer."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Status
from beatctl.worker.awake import going_loops, is_allowed, should_hold, ways
from beatctl.worker.run_folder import RunFolder, process_start, read_json
from tests.support import Beatctl, wait_until

STAND_IN = """\
echo "start $*" >> "{log}"
while [ "${{1#-}}" != "$1" ]; do shift; done
"$@"
echo "end" >> "{log}"
"""


@pytest.mark.parametrize(
    ("going", "allowed", "works", "held"),
    [(1, True, True, True), (0, True, True, False), (3, False, True, False), (3, True, False, False)],
)
def test_held_only_while_a_loop_goes_on_and_something_works_on_it(
    going: int, allowed: bool, works: bool, held: bool
) -> None:
    assert should_hold(going, allowed=allowed, works=works) is held


def test_the_user_can_turn_it_off() -> None:
    assert [is_allowed({"BEATCTL_INHIBIT_SLEEP": word}) for word in ("0", "false", "No", "off")] == [False] * 4
    assert is_allowed({})
    assert is_allowed({"BEATCTL_INHIBIT_SLEEP": "1"})


def test_each_system_has_its_way() -> None:
    assert ways("darwin") == [["caffeinate", "-i", "cat"]]
    assert [line[:2] for line in ways("linux")] == [
        ["systemd-inhibit", "--what=idle:sleep"],
        ["systemd-inhibit", "--what=idle"],
    ]


def a_loop(home: Path, name: str, state: str, **more: Any) -> None:
    words = {"id": name, "goal": "g", "strategy": "retry", "state": state, "directory": str(home), **more}
    home.mkdir(exist_ok=True)
    assert Ledger(home / "ledger.db").add_loop(Status.model_validate(words), "{}", 0.0)


def test_paused_and_ended_loops_and_those_of_another_server_keep_nobody_awake(place: Path) -> None:
    home = place / "state"
    assert going_loops(home / "ledger.db", "embedded") == 0
    for name, state in (("aa", "paused"), ("bb", "finished"), ("cc", "running"), ("dd", "waiting")):
        a_loop(home, name, state)
    a_loop(home, "ee", "running", connection="host:7233/default")
    assert going_loops(home / "ledger.db", "embedded") == 2
    assert going_loops(home / "ledger.db", "host:7233/default") == 1
    (home / "damaged.db").write_bytes(b"nothing that could be read")
    assert going_loops(home / "damaged.db", "embedded") == 0


class Machine:
    """A home whose systemd-inhibit is a program of ours that notes when it starts and ends."""

    def __init__(self, beatctl: Beatctl, place: Path, script: Callable[[str, str], Path]) -> None:
        self.beatctl, self.place = beatctl, place
        self.log = place / "inhibit.log"
        script("bin/systemd-inhibit", STAND_IN.format(log=self.log))
        beatctl.environ["PATH"] = f"{place / 'bin'}:{beatctl.environ['PATH']}"
        del beatctl.environ["BEATCTL_INHIBIT_SLEEP"]

    @property
    def noted(self) -> list[str]:
        return [line.split()[0] for line in self.log.read_text().splitlines()] if self.log.exists() else []

    @property
    def work(self) -> Path:
        return self.place / "work"

    def start(self) -> str:
        """A loop that is in its cooldown for long."""
        self.work.mkdir()
        words = ("start", "x", "--until", "false", "-a", "true", "--cooldown", "1h", "-d", "--json")
        return str(self.beatctl(*words, cwd=self.work, expect=0).json["id"])

    def up(self) -> None:
        self.beatctl("up", "-d", cwd=self.place, expect=0)

    def until(self, *noted: str) -> None:
        wait_until(lambda: self.noted == list(noted), f"{noted}, not {self.noted}")

    def supervisor(self) -> int:
        return int(RunFolder(self.beatctl.home, "embedded").read_state()["pid"])

    def awake(self) -> Any:
        return read_json(RunFolder(self.beatctl.home, "embedded").state)["awake"]


@pytest.fixture
def machine(beatctl: Beatctl, place: Path, script: Callable[[str, str], Path]) -> Machine:
    if sys.platform != "linux":
        pytest.skip("systemd-inhibit is Linux's")
    return Machine(beatctl, place, script)


def test_the_machine_is_held_awake_with_the_loop_and_let_go_by_pause_down_and_a_kill(machine: Machine) -> None:
    machine.up()
    assert machine.noted == []
    loop = machine.start()
    machine.until("start")
    assert machine.log.read_text().startswith("start --what=idle:sleep --who=beatctl")
    machine.beatctl("pause", loop, cwd=machine.work, expect=0)
    machine.until("start", "end")
    wait_until(lambda: machine.awake() == {"allowed": True, "held": False, "problem": None}, "the state to say so")

    machine.beatctl("resume", loop, cwd=machine.work, expect=0)
    machine.until("start", "end", "start")
    supervisor = machine.supervisor()
    os.kill(supervisor, signal.SIGKILL)
    machine.until("start", "end", "start", "end")
    assert process_start(supervisor) is None

    machine.up()
    machine.until("start", "end", "start", "end", "start")
    machine.beatctl("down", cwd=machine.place, expect=0)
    assert machine.noted[-1] == "end"


def test_off_means_off(machine: Machine) -> None:
    machine.beatctl.environ["BEATCTL_INHIBIT_SLEEP"] = "0"
    machine.start()
    assert machine.awake() == {"allowed": False, "held": False, "problem": None}
    assert "sleep           may sleep while loops run" in machine.beatctl("doctor", cwd=machine.place).stdout
    assert machine.noted == []


def test_a_system_that_refuses_is_asked_for_less_then_left_alone_and_told(
    machine: Machine, script: Callable[[str, str], Path]
) -> None:
    script("bin/systemd-inhibit", f'echo "start $1" >> "{machine.log}"; echo "Access denied" >&2; exit 1')
    machine.start()
    wait_until(lambda: machine.awake()["problem"], "the refusal")
    assert machine.log.read_text().split() == ["start", "--what=idle:sleep", "start", "--what=idle"]
    assert machine.awake() == {"allowed": True, "held": False, "problem": "Access denied"}
    assert "Access denied" in machine.beatctl("doctor", cwd=machine.place, expect=0).stdout
