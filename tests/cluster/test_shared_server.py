"""Loops on a Temporal server that somebody else runs: setting it up, reaching it by a profile, encryption.

In order: the namespace is made once for all of them.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from beatctl.worker.embedded_server import SEARCH_ATTRIBUTES
from beatctl.worker.run_folder import RunFolder, read_json
from tests.cluster.conftest import Shared, temporal
from tests.support import Beatctl, clean_environment, wait_until

PROFILE = ("--profile", "prod")
GOAL = "make plentiful zebras, of which there should be very many indeed: " + "z" * 300
ONCE = (*("--until", "test -f made"), *("-a", "sh -c 'echo plentiful zebras; touch made'"))

pytestmark = pytest.mark.xdist_group("shared-server")


def new_key(folder: Path, name: str) -> dict[str, str]:
    file = folder / name
    file.write_bytes(base64.b64encode(os.urandom(32)) + b"\n")
    return {"BEATCTL_PAYLOAD_KEY_FILE": str(file)}


@pytest.fixture(scope="module")
def key(shared_server: Shared) -> dict[str, str]:
    return new_key(shared_server.profiles.parent, "key")


@pytest.fixture(scope="module")
def namespace(away: Beatctl) -> Any:
    """What the first `setup-cluster` said."""
    return away(*PROFILE, "setup-cluster", "--retention", "3d", "--json", cwd=Path("/"), expect=0).json


@pytest.fixture
def project(place: Path) -> Path:
    (place / "project").mkdir()
    return place / "project"


def until(place: Path) -> list[str]:
    """What makes a loop go on until somebody makes `go`, which is no edit of its folder."""
    agent = f"sh -c 'echo plentiful zebras; test -f {place}/go && touch made; true'"
    words = ["--until", "test -f made", "-a", agent, "-n", "0", "--max-unchanged", "0", "--cooldown", "200"]
    return [*words, "--max-cost", "1"]


def readable(shared: Shared, loop: str) -> list[str]:
    """Which of the goal's and the agent's words the server's own tools show, as they are or in base64."""
    history = temporal(shared, "workflow", "show", "-w", f"beatctl-{loop}", "-o", "json")
    text = history + temporal(shared, "workflow", "describe", "-w", f"beatctl-{loop}", "-o", "json")
    # Payloads are bytes there: as base64, whole, so that no word can hide between two of its letters.
    payloads = [base64.b64decode(one) for one in _data(json.loads(history))]
    return [word for word in ("plentiful", "zebras") if word in text or any(word.encode() in one for one in payloads)]


def _data(found: object) -> list[str]:
    if isinstance(found, dict):
        own = [found["data"]] if isinstance(found.get("data"), str) and "metadata" in found else []
        return own + [one for value in found.values() for one in _data(value)]
    return [one for value in found for one in _data(value)] if isinstance(found, list) else []


def test_what_is_missing_is_only_told_by_a_dry_run(away: Beatctl, place: Path) -> None:
    done = away(*PROFILE, "setup-cluster", "--dry-run", cwd=place, expect=0)
    assert "namespace work" in done.stdout
    assert done.stdout.count("missing") == 1 + len(SEARCH_ATTRIBUTES)
    refused = away(*PROFILE, "start", "x", *ONCE, cwd=place, expect=3)
    assert "has no namespace 'work'. beatctl setup-cluster creates it" in refused.stderr


def test_a_server_is_set_up_once_and_the_second_time_nothing_is_touched(
    away: Beatctl, shared_server: Shared, namespace: Any, place: Path
) -> None:
    steps = ["namespace work", *(f"search attribute {name}" for name in SEARCH_ATTRIBUTES)]
    assert [(step["what"], step["state"]) for step in namespace["steps"]] == [(step, "made") for step in steps]
    assert namespace["ready"]
    again = away("setup-cluster", "--profile=prod", "--json", cwd=place, expect=0).json
    assert [step["state"] for step in again["steps"]] == ["there"] * len(steps)
    assert again["steps"][0]["about"] == "closed loops kept 3 days"
    listed = temporal(shared_server, "operator", "search-attribute", "list")
    assert all(name in listed for name in SEARCH_ATTRIBUTES)


def test_beatctls_own_server_needs_no_setting_up_and_a_short_retention_is_refused(away: Beatctl, place: Path) -> None:
    assert "sets itself up" in away("setup-cluster", cwd=place, expect=2).stderr
    assert "a day at least" in away(*PROFILE, "setup-cluster", "--retention", "1h", cwd=place, expect=2).stderr
    assert "needs a unit" in away(*PROFILE, "setup-cluster", "--retention", "3", cwd=place, expect=2).stderr


@pytest.mark.usefixtures("namespace")
def test_a_loop_goes_to_its_profiles_server_which_later_commands_reach_without_naming_it(
    away: Beatctl, shared_server: Shared, project: Path, place: Path
) -> None:
    started = away("start", GOAL, *until(place), *PROFILE, "-d", "--json", cwd=project, expect=0)
    assert started.stderr.startswith(f"Temporal server: {shared_server.address}, namespace work (profile prod)\n")
    loop = started.json["id"]
    away.until(loop, "the first iteration", lambda status: status["iteration"] > 0, cwd=project)
    assert readable(shared_server, loop), "without a key the words are there to be found"
    shell = {"TEMPORAL_CONFIG_FILE": "", "TEMPORAL_ADDRESS": "127.0.0.1:1"}
    away("pause", loop, cwd=project, env=shell, expect=0)
    away.until(loop, "a pause", lambda status: status["state"] == "paused", cwd=project)
    away("down", cwd=project, expect=0)
    (place / "go").touch()
    away("resume", loop, "-d", cwd=project, env=shell, expect=0)
    ended = away.until(loop, "the loop's end", lambda status: status["state"] == "finished", cwd=project, timeout_s=120)
    assert ended["outcome"] == "reached"
    told = away("doctor", *PROFILE, "--json", cwd=project, expect=0).json
    assert told["shared_server"] == {
        "address": shared_server.address,
        "namespace": "work",
        "profile": "prod",
        "tls": False,
        "payload_key": None,
        "payload_keys": [],
    }


def test_a_profile_that_is_not_there_starts_nothing(away: Beatctl, shared_server: Shared, project: Path) -> None:
    for words in (("start", "x", *ONCE), ("up", "-d"), ("worker",), ("setup-cluster",)):
        refused = away("--profile", "prdo", *words, cwd=project, expect=3)
        assert refused.stderr.strip() == f'{shared_server.profiles} has no profile "prdo". There are: prod.'
    assert not (project / "made").exists()
    warned = away("doctor", "--profile", "prdo", cwd=project, expect=0)
    assert 'has no profile "prdo"' in warned.stdout


@pytest.mark.usefixtures("namespace")
def test_with_a_key_the_server_holds_none_of_a_loops_words(
    away: Beatctl, shared_server: Shared, project: Path, place: Path, key: dict[str, str]
) -> None:
    away(*PROFILE, "up", "-d", cwd=project, expect=0)
    refused = away(*PROFILE, "start", GOAL, *ONCE, cwd=project, env=key, expect=3)
    assert "does not have payload key" in refused.stderr
    away("down", cwd=project, expect=0)
    agent = place / "agent.sh"
    agent.write_text("#!/bin/sh\nenv > seen\necho plentiful zebras\ntouch made\n")
    agent.chmod(0o755)
    words = ("start", GOAL, "--until", "test -f made", "-a", str(agent), *PROFILE)
    started = away(*words, "--json", cwd=project, env=key, expect=0)
    assert "payloads encrypted with key" in started.stderr
    loop = started.json["id"]
    assert readable(shared_server, loop) == []
    assert away("show", loop, "--json", cwd=project, expect=0).json[1]["summary"] == "plentiful zebras"
    assert "BEATCTL_PAYLOAD_KEY" not in (project / "seen").read_text()


@pytest.mark.usefixtures("namespace")
def test_a_command_without_the_key_or_with_another_sends_nothing_and_says_which_one_it_needs(
    away: Beatctl, shared_server: Shared, project: Path, place: Path, key: dict[str, str]
) -> None:
    away(*PROFILE, "up", "-d", cwd=project, env=key, expect=0)
    folder = RunFolder(away.home, f"{shared_server.address}/work")
    name = read_json(folder.connection)["key"]
    without = away(*PROFILE, "start", GOAL, *ONCE, cwd=project, expect=3)
    assert f"are encrypted with key {name}, and no key is given" in without.stderr
    other = away(*PROFILE, "start", GOAL, *ONCE, cwd=project, env=new_key(place, "other"), expect=3)
    assert f"are encrypted with key {name}; the key given is" in other.stderr
    broken = away(*PROFILE, "start", GOAL, *ONCE, cwd=project, env={"BEATCTL_PAYLOAD_KEY": "abc"}, expect=3)
    assert "32 bytes in base64" in broken.stderr


@pytest.mark.usefixtures("namespace")
def test_a_worker_with_another_key_says_so_in_its_log_and_the_loop_goes_on_when_the_right_one_is_back(
    away: Beatctl, shared_server: Shared, project: Path, place: Path, key: dict[str, str]
) -> None:
    folder = RunFolder(away.home, f"{shared_server.address}/work")
    loop = away(*PROFILE, "start", GOAL, *until(place), "-d", "--json", cwd=project, env=key, expect=0).json["id"]
    away("down", cwd=project, expect=0)
    remembered = folder.connection.read_text()
    folder.connection.unlink()  # as on a machine that has never seen this server
    folder.worker_log.write_text("")
    away(*PROFILE, "up", "-d", cwd=project, env=new_key(place, "other"), expect=0)
    wait_until(lambda: "BadPayloadKey" in folder.worker_log.read_text(), "the worker's words", 60)
    assert "What the server holds is encrypted with key" in folder.worker_log.read_text()
    assert away.look(loop)["state"] != "finished"
    away("down", cwd=project, expect=0)
    folder.connection.write_text(remembered)
    (place / "go").touch()
    away("up", "-d", *PROFILE, cwd=project, env=key, expect=0)
    ended = away.until(loop, "the loop's end", lambda status: status["state"] == "finished", cwd=project, timeout_s=120)
    assert ended["outcome"] == "reached"


_DIE = """
import random, sys
thrown = list(sys.argv[1])
class Die(random.SystemRandom):
    def choice(self, among):
        return thrown.pop(0) if thrown else super().choice(among)
random.SystemRandom = Die
from beatctl.cli.app import run
sys.exit(run(sys.argv[2:]))
"""
"""beatctl with the first letters of its ids told."""


@pytest.mark.usefixtures("namespace")
def test_two_hosts_that_throw_the_same_id_both_start(
    away: Beatctl, shared_server: Shared, place: Path, key: dict[str, str]
) -> None:
    environ = {**clean_environment(place / "other", shared_server.program), **key}
    other = Beatctl({**environ, "TEMPORAL_CONFIG_FILE": str(shared_server.profiles)})

    def start(command: Beatctl, thrown: str) -> str:
        folder = place / thrown
        folder.mkdir()
        line = [sys.executable, "-I", "-c", _DIE, thrown, *PROFILE, "start", "x", *ONCE, "-d", "--json"]
        environ = {**command.environ, **key}
        done = subprocess.run(line, cwd=folder, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["id"])

    try:
        assert start(away, "zebr") == "zebr"
        assert start(other, "zebrgnus") == "gnus"
        assert [loop["id"] for loop in other.look_at_all().values()] == ["gnus"], "nothing is left of the first try"
    finally:
        other.close()
