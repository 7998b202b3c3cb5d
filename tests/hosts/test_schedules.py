"""A schedule's loops run on the host that it names, and whoever made it sees what became of them."""

from __future__ import annotations

import base64

import pytest

from tests.hosts.conftest import Hosts
from tests.loops.conftest import Repository

pytestmark = pytest.mark.xdist_group("hosts")


def test_a_schedule_for_another_host_starts_its_loops_there_and_what_is_encrypted_stays_so(
    hosts: Hosts, repository: Repository
) -> None:
    for name in ("build-2", "desk"):
        hosts[name].environ["BEATCTL_PAYLOAD_KEY"] = base64.b64encode(b"k" * 32).decode()
    hosts["build-2"].environ["PLACE"] = "there"
    there, here = hosts.up("build-2"), hosts["desk"]
    template = repository.folder.parent / "prompt.j2"
    template.write_text("{{ goal }}")
    agent = repository.agent('echo "$PLACE" > n')
    times = ("there", "--every", "100d", "--on", "build-2")
    words = (
        "--",
        "write a zebra-crossing",
        "--until",
        "grep -q there n",
        "-a",
        agent,
        "--prompt-template",
        str(template),
    )
    folder = ("-C", str(repository.folder))
    made = here(
        "schedule", "create", "--json", *times, *words, *folder, cwd=hosts.folder, env={"PLACE": "here"}, expect=0
    ).json
    assert (made["host"], made["directory"]) == ("build-2", str(repository.folder))
    loop = here("schedule", "trigger", "there", "--json", cwd=hosts.folder, expect=0).json["loop"]
    assert loop == "there-1"
    status = there.until(loop, "its end", lambda status: status["state"] == "finished", cwd=hosts.folder)
    assert (status["outcome"], status["schedule"], status["host"]) == ("reached", "there", "build-2")
    assert repository.read("n") == "there\n"
    [listed] = there("schedule", "list", "--json", cwd=hosts.folder, expect=0).json
    assert (listed["name"], listed["last"]["loop"]) == ("there", loop)
    assert not (here.home / "schedules/there/environment.json").exists()
    database = b"".join(file.read_bytes() for file in hosts.folder.glob("server.db*"))
    assert b"beatctl-there" in database
    assert b"zebra-crossing" not in database
    assert listed["away"] is None
    never = ("never", "--every", "100d", "--on", "build-9", "--", "x", "--until", "true", "-a", "true", "-C", "/srv")
    told = here("schedule", "create", *never, cwd=hosts.folder, expect=0).stderr
    assert "No worker on build-9 so far: its loops wait for one." in told
    assert "No worker on build-9 so far" in here("schedule", "list", cwd=hosts.folder, expect=0).stderr
    here("schedule", "delete", "never", cwd=hosts.folder, expect=0)
    there("schedule", "delete", "there", cwd=hosts.folder, expect=0)
    assert here("schedule", "list", "--json", cwd=hosts.folder, expect=0).json == []
    assert not (here.home / "schedules/there").exists()
