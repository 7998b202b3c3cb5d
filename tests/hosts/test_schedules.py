"""A schedule's loops run on the host that it names, and whoever made it sees what became of them."""

from __future__ import annotations

import pytest

from tests.hosts.conftest import Hosts
from tests.loops.conftest import Repository

pytestmark = pytest.mark.xdist_group("hosts")


def test_a_schedule_for_another_host_starts_its_loops_there_with_that_hosts_environment(
    hosts: Hosts, repository: Repository
) -> None:
    hosts["build-2"].environ["PLACE"] = "there"
    there, here = hosts.up("build-2"), hosts["desk"]
    template = repository.folder.parent / "prompt.j2"
    template.write_text("{{ goal }}")
    agent = repository.agent('echo "$PLACE" > n')
    times = ("there", "--every", "100d", "--on", "build-2")
    words = ("--", "write where", "--until", "grep -q there n", "-a", agent, "--prompt-template", str(template))
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
    there("schedule", "delete", "there", cwd=hosts.folder, expect=0)
    assert here("schedule", "list", "--json", cwd=hosts.folder, expect=0).json == []
    assert not (here.home / "schedules/there").exists()
