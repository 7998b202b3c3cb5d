"""A host is called by one name: loops are found by it, and nobody else takes its work."""

from __future__ import annotations

from pathlib import Path

import pytest

from beatctl.activities.home import Home
from beatctl.worker import hosts as naming
from tests.hosts.conftest import Hosts
from tests.loops.conftest import Repository
from tests.support import Beatctl, wait_until

pytestmark = pytest.mark.xdist_group("hosts")

AGENT = ("-a", "true {prompt_file}")


@pytest.mark.parametrize("name", ["", "-x", "x-", "a b", "a/b", "a@b", "é", "x" * 64, ".", "a\n"])
def test_a_name_that_could_mislead_is_refused_before_anything_starts(beatctl: Beatctl, place: Path, name: str) -> None:
    done = beatctl("worker", "--name", name, cwd=place, expect=2)
    assert "can't be a host's name" in done.stderr
    assert naming.known(Home(beatctl.home)) is None


@pytest.mark.parametrize("name", ["build-2", "a", "10.0.0.7", "x" * 63, "Build.example.com"])
def test_usual_names_are_taken(name: str) -> None:
    assert naming.is_name(name)
    assert naming.host_of(naming.queue_of(name)) == name


def test_a_home_keeps_its_name_and_what_tells_it_from_another_of_that_name(place: Path) -> None:
    home, other = Home(place / "one"), Home(place / "two")
    naming.give_name(home, "build-2")
    naming.give_name(other, "build-2")
    one, two = naming.this_host(home), naming.this_host(other)
    assert one == naming.this_host(home)
    assert one.queue == two.queue == "beatctl@build-2"
    assert one.home != two.home
    assert naming.home_of(one.identity(7)) == one.home
    assert naming.home_of("7@somewhere") is None


def test_a_volume_that_moved_to_another_machine_keeps_the_name_it_was_given(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(place / "one")
    naming.give_name(home, "build-2")
    before = naming.this_host(home)
    monkeypatch.setattr("beatctl.worker.hosts._machine", lambda: "another")
    now = naming.this_host(home)
    assert now.name == "build-2"
    assert now.home != before.home  # a copy of the home may still run on the first


def test_loops_say_their_host_and_it_keeps_its_name_while_they_are_unfinished(
    hosts: Hosts, repository: Repository
) -> None:
    beatctl = hosts.up("named")
    words = ("--until", "test -e done", *AGENT, "--max-unchanged", "0", "--cooldown", "1h", "-n", "2")
    loop = beatctl("start", "wait", *words, "-d", "--json", cwd=repository.folder, expect=0).json
    assert loop["host"] == "named"
    assert "host      named" in beatctl("status", loop["id"], cwd=repository.folder, expect=0).stdout
    assert beatctl("doctor", "--json", cwd=repository.folder, expect=0).json["host"] == "named"
    refused = beatctl("worker", "--name", "other", cwd=repository.folder, expect=2)
    assert f"This host is called named, and {loop['id']} is at work under that name" in refused.stderr
    beatctl("cancel", loop["id"], cwd=repository.folder, expect=0)
    refused = beatctl("worker", "--name", "other", cwd=repository.folder, expect=2)
    assert "A worker of this home runs as host named. End it first (beatctl down)" in refused.stderr
    assert naming.known(Home(beatctl.home)) == "named"


def test_a_second_home_under_a_name_is_refused_while_the_first_works(hosts: Hosts) -> None:
    first = hosts.up("shared-name")
    other = Beatctl({**hosts["other-home"].environ, "BEATCTL_HOST": "shared-name"})
    refused = other("worker", cwd=hosts.folder, expect=3)
    assert "Another home's worker takes work as host shared-name" in refused.stderr
    # The first home's own second worker is none of that.
    again = first.popen("worker", cwd=hosts.folder)
    before = hosts.worker_pid("shared-name")
    wait_until(lambda: hosts.worker_pid("shared-name") != before, "another worker of the same home")
    assert again.poll() is None
    again.terminate()
    assert again.wait(60) == 0


def test_a_list_of_one_host_has_no_column_for_it() -> None:
    from datetime import datetime

    from beatctl.activities.records import Status
    from beatctl.cli.listing import lines

    def loop(name: str, host: str | None) -> Status:
        return Status(id=name, goal="g", strategy="retry", state="running", directory="/x", host=host)

    now = datetime.now().astimezone()
    same = lines([loop("a", "one"), loop("b", "one"), loop("c", None)], now, {}, host="one")
    far = lines([loop("a", "one")], now, {}, host="two")
    two = lines([loop("a", "one"), loop("b", "two")], now, {})
    assert "HOST" not in same[0]
    assert "HOST" in far[0]
    assert "HOST" in two[0]
    assert "one" in two[1]
    assert "two" in two[2]


def test_a_worker_by_hand_is_all_that_a_host_needs(hosts: Hosts, repository: Repository) -> None:
    beatctl = hosts["hand"]
    worker = beatctl.popen("worker", cwd=hosts.folder)
    wait_until(lambda: naming.runs(Home(beatctl.home)), "the worker")
    words = ("--eval", "cat n", "--minimize", "-a", repository.agent("echo $((40 - $i)) > n"), "-n", "1", "--json")
    status = beatctl("start", "lower n", *words, cwd=repository.folder, expect=0).json
    assert (status["host"], status["best"]["score"]) == ("hand", 39)
    told = beatctl("doctor", "--json", cwd=repository.folder, expect=0).json
    assert told["worker"]["pid"] == worker.pid
    assert told["supervisor"] is None
    assert "Go on with" not in beatctl("status", status["id"], cwd=repository.folder, expect=0).stdout
    assert not list(beatctl.home.glob("run/*/supervisor.json"))  # nobody started another
    worker.terminate()
    assert worker.wait(60) == 0
