"""The unit of a host: accepted by systemd, and none that ends agents or keeps them from working."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from beatctl.worker import supervisor
from beatctl.worker.systemd import values
from tests.deploy.documents import DEPLOY

UNIT = DEPLOY / "systemd" / "beatctl-worker@.service"
TEXT = UNIT.read_text()


def verified(text: str, place: Path) -> str:
    """What systemd has against this unit; empty when nothing."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    program = place / "beatctl"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = place / "beatctl-worker@build-2.service"
    unit.write_text(text.replace("/opt/beatctl/bin/beatctl", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr + done.stdout + ("" if done.returncode == 0 else f"exit {done.returncode}")


def test_a_unit_that_systemd_refuses(place: Path) -> None:
    assert verified(TEXT, place) == ""
    # The check is one that can fail.
    assert "ProtectSystm" in verified(TEXT.replace("ProtectSystem", "ProtectSystm"), place)


def test_a_restart_that_ends_the_agents_of_a_host() -> None:
    assert values(TEXT, "KillMode") == ["process"]
    (stop,) = values(TEXT, "TimeoutStopSec")
    assert int(stop) >= 2 * supervisor.PATIENCE_S
    assert values(TEXT, "OOMPolicy") == ["continue"]
    # A restart takes a private /tmp away from those that go on; with /proc covered no sandbox of theirs starts.
    for setting in ("PrivateTmp", "ProtectKernelTunables", "ProtectKernelLogs", "ProtectProc", "RestrictNamespaces"):
        assert not values(TEXT, setting), setting
    for setting in ("MemoryDenyWriteExecute", "SystemCallFilter", "PrivateUsers", "RestrictSUIDSGID", "PrivateDevices"):
        assert not values(TEXT, setting), setting


def test_a_host_with_another_name_or_home_than_its_unit() -> None:
    environment = dict(pair.split("=", 1) for pair in values(TEXT, "Environment"))
    assert environment["BEATCTL_HOST"] == "%i"
    assert environment["BEATCTL_HOME"] == "/var/lib/beatctl/%i"
    assert values(TEXT, "StateDirectory") == ["beatctl beatctl/%i"]
    # Left to `beatctl up`: with BEATCTL_UNIT a command would ask the user's systemd to restart it.
    assert "BEATCTL_UNIT" not in TEXT


def test_secrets_in_a_unit_that_everybody_can_read() -> None:
    assert values(TEXT, "EnvironmentFile") == ["/etc/beatctl/%i.env"]
    example = (DEPLOY / "systemd" / "example.env").read_text()
    settings = [line for line in example.splitlines() if line and not line.startswith("#")]
    assert [line.split("=")[0] for line in settings] == ["TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"]
