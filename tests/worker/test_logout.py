"""Where a logout would end a night's work, doctor says so and what to type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from beatctl.cli.doctor_service import lines, warnings
from beatctl.worker.logind import Logout, at_logout, is_there, kills_processes_of

SHIPPED = "[Login]\n#NAutoVTs=6\n#KillUserProcesses=yes\n#KillOnlyUsers=\n#KillExcludeUsers=root\n"


@pytest.mark.parametrize(
    ("name", "texts", "kills"),
    [
        ("ada", (), False),
        ("ada", (SHIPPED,), True),
        ("root", (SHIPPED,), False),
        ("ada", (SHIPPED.replace("#KillUser", "KillUser").replace("=yes", "=no"),), False),
        ("ada", (SHIPPED, "[Login]\nKillUserProcesses=no\n"), False),
        ("ada", ("[Login]\nKillUserProcesses=1\n", "[Login]\nKillExcludeUsers=root ada\n"), False),
        ("ada", ("[Login]\nKillUserProcesses=yes\nKillOnlyUsers=bob\n",), False),
        ("ada", ("[Login]\nKillUserProcesses=yes\nKillOnlyUsers=bob ada\n",), True),
    ],
)
def test_who_loses_processes_at_logout_is_read_as_logind_reads_it(
    name: str, texts: tuple[str, ...], kills: bool
) -> None:
    assert kills_processes_of(name, texts) is kills


def test_drop_ins_win_over_the_file_and_a_later_folder_over_an_earlier_one(place: Path) -> None:
    def write(path: str, text: str) -> None:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(text)

    assert not is_there(place)
    (place / "run/systemd/system").mkdir(parents=True)
    assert is_there(place)
    write("usr/lib/systemd/logind.conf", SHIPPED)
    assert at_logout("ada", place) == Logout(lingers=False, kills=True)
    write("usr/lib/systemd/logind.conf.d/10-keep.conf", "[Login]\nKillUserProcesses=no\n")
    assert not at_logout("ada", place).kills
    write("etc/systemd/logind.conf.d/10-keep.conf", "[Login]\nKillUserProcesses=yes\n")
    write("var/lib/systemd/linger/ada", "")
    assert at_logout("ada", place) == Logout(lingers=True, kills=True)


UNIT = {
    "path": "/u/beatctl.service",
    "ours": True,
    "command": ["/opt/beatctl", "up"],
    "kill_mode": "process",
    "program_exists": True,
    "version": "0.2.0",
}
SERVICE = {"systemd": True, "lingers": True, "kills_at_logout": False, "unit": UNIT}


def told(unit: dict[str, Any] | None, **service: Any) -> str:
    found = {"service": {**SERVICE, "unit": {**UNIT, **unit} if unit is not None else None, **service}}
    return "\n".join(warnings(found, "0.2.0"))


def test_all_well_is_no_warning() -> None:
    assert told({}) == ""
    assert told(None, lingers=False) == ""
    assert told(None, lingers=None, kills_at_logout=None, systemd=False) == ""


@pytest.mark.parametrize(
    ("unit", "service", "words"),
    [
        ({}, {"lingers": False}, "The service ends when you log out, and does not start with the machine: loginctl"),
        (None, {"lingers": False, "kills_at_logout": True}, "loginctl enable-linger, then beatctl up --install"),
        ({"kill_mode": "control-group"}, {}, "KillMode=control-group ends agents that run with each restart"),
        ({"kill_mode": "mixed", "ours": False}, {}, "Write KillMode=process there"),
        ({"program_exists": False}, {}, "starts /opt/beatctl, which is not there: beatctl up --install"),
        ({"command": [], "program_exists": False}, {}, "starts nothing, which is not there"),
        ({"version": "0.1.0"}, {}, "starts an older beatctl (0.1.0, this is 0.2.0): beatctl up --install"),
        ({"version": "0.3.0"}, {}, "starts another beatctl (0.3.0, this is 0.2.0)"),
    ],
)
def test_what_would_cost_a_night_is_told_with_its_cure(
    unit: dict[str, Any] | None, service: dict[str, Any], words: str
) -> None:
    assert words in told(unit, **service)


@pytest.mark.parametrize(
    ("service", "sleep", "words"),
    [
        ({"unit": None}, {}, "none; beatctl up --install makes it start with the machine"),
        ({"unit": UNIT}, {}, "/u/beatctl.service"),
        ({}, {"held": True}, "held off"),
        ({}, {"problem": "Access denied"}, "may sleep while loops run: Access denied"),
        ({"kills_at_logout": True, "lingers": False}, {}, "ends your processes; lingering is off"),
    ],
)
def test_people_read_how_this_machine_is(service: dict[str, Any], sleep: dict[str, Any], words: str) -> None:
    found = {"service": {**SERVICE, **service}, "sleep": {"allowed": True, "held": False, "problem": None, **sleep}}
    assert words in [text for _, text in lines(found)]
