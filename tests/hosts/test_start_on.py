"""`start --on HOST`: the loop begins on that host, is refused with that host's words, or waits for it to be there."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.hosts.conftest import Hosts
from tests.loops.conftest import Repository
from tests.support import Beatctl, wait_until

pytestmark = pytest.mark.xdist_group("hosts")

MINIMIZE = ("--eval", "cat n", "--minimize")


@pytest.fixture
def one(hosts: Hosts) -> Beatctl:
    """From where loops are sent: a host that needs no worker of its own."""
    hosts.up("two")
    return hosts["one"]


def lowering(repository: Repository) -> tuple[str, ...]:
    return (*MINIMIZE, "-a", repository.agent("echo $((40 - $i)) > n"), "-n", "2")


def test_a_loop_sent_to_a_host_runs_there_and_its_verdicts_are_told_here(
    hosts: Hosts, one: Beatctl, repository: Repository
) -> None:
    words = ("start", "lower n", *lowering(repository), "--on", "two", "-C", str(repository.folder))
    done = hosts.typed("one", *words, "--json", expect=0)
    assert done.json["host"] == "two"
    assert done.json["outcome"] == "improved"
    assert done.json["best"]["score"] == 38
    verdicts = [line.split()[1] for line in done.stderr.splitlines() if line.startswith("#")]
    assert verdicts == ["baseline", "keep", "keep"]
    assert f"  folder    {repository.folder}" in done.stderr
    assert done.json["id"] not in one.look_at_all()
    assert hosts["two"].look(done.json["id"])["outcome"] == "improved"
    assert repository.read("n") == "38\n"


def test_what_the_host_refuses_is_told_here_with_its_words_and_exit_code(
    hosts: Hosts, one: Beatctl, repository: Repository
) -> None:
    there = ("--on", "two", "-C", str(repository.folder))
    done = hosts.typed("one", "start", "x", "--until", "true", "-a", "no-such-agent", *there, expect=3)
    assert 'Agent "no-such-agent" is not on PATH' in done.stderr
    done = hosts.typed("one", "start", "x", "--until", "true", "--on", "two", "-C", "/no/such/folder", expect=2)
    assert "There is no folder /no/such/folder" in done.stderr
    # What can be told without the host is, before anything is sent.
    done = hosts.typed("one", "start", "x", "--eval", "cat n", *there, expect=2)
    assert "Is lower or higher better?" in done.stderr
    assert "Temporal server" not in done.stderr
    done = hosts.typed("one", "start", "x", "--until", "true", "--on", "two", expect=2)
    assert "In which folder of two? Add -C DIR, or --repo URL." in done.stderr
    done = hosts.typed("one", "start", "x", "--until", "true", "--on", "two", "-C", "repo", expect=2)
    assert "has to be named whole" in done.stderr
    done = hosts.typed("one", "start", "x", "--until", "true", *there, "--notify", "ntfy://my-secret", expect=2)
    assert "an address holds secrets" in done.stderr
    assert "my-secret" not in done.stderr


def test_a_loop_file_and_a_prompt_template_travel_to_the_host(
    hosts: Hosts, one: Beatctl, repository: Repository, place: Path
) -> None:
    (place / "prompt.j2").write_text("Only this: {{ goal }}\n")
    (place / "loop.toml").write_text(
        f'goal = "lower n"\neval = "cat n"\ndirection = "minimize"\nagent = "{lowering(repository)[4]}"\n'
        'max_iterations = 1\nprompt_template = "prompt.j2"\non = "two"\nsetup = "true"\n'
    )
    words = ("start", "-f", "loop.toml", "-C", str(repository.folder), "-d", "--json")
    loop = one(*words, cwd=place, expect=0).json["id"]
    hosts["two"].until(loop, "its end", lambda s: s["state"] == "finished", cwd=place)
    assert "Only this: lower n" in one("show", loop, "1", "--prompt", cwd=place, expect=0).stdout


def test_an_order_for_a_host_without_a_worker_is_told_waits_and_is_carried_out_once(
    hosts: Hosts, repository: Repository
) -> None:
    three = hosts["three"]
    there = ("--on", "three", "-C", str(repository.folder))
    done = hosts.typed("one", "start", "lower n", *lowering(repository), *there, "-d", expect=0)
    loop = done.stdout.strip()
    assert "No worker on three so far." in done.stderr
    assert f"To take it back: beatctl cancel {loop}" in done.stderr
    shown = hosts.typed("one", "status", loop, expect=0).stdout
    assert shown.startswith(f"{loop}  waiting")
    assert "now       waiting: no worker on three so far" in shown
    listed = {each["id"]: each for each in hosts.typed("one", "list", "--json", expect=0).json}
    assert listed[loop]["queued"] is True
    assert "nothing to pause yet" in hosts.typed("one", "pause", loop, expect=2).stderr
    hosts.up("three")
    wait_until(lambda: loop in three.look_at_all(), "the loop's start")
    status = three.until(loop, "its end", lambda s: s["state"] == "finished", cwd=repository.folder)
    assert status["best"]["score"] == 38
    assert set(three.look_at_all()) == {loop}


def test_an_order_that_its_host_refuses_later_is_told_by_status(hosts: Hosts) -> None:
    words = ("start", "x", "--until", "true", "--on", "five", "-C", "/no/such/folder", "-d")
    loop = hosts.typed("one", *words).stdout.strip()
    watcher = hosts["one"].popen("watch", loop, cwd=Path("/"))
    hosts.up("five")
    assert "There is no folder /no/such/folder." in watcher.communicate(timeout=120)[1]
    assert watcher.returncode == 1
    shown = hosts.typed("one", "status", loop).stdout
    assert shown.startswith(f"{loop}  failed (refused)  x")
    assert "There is no folder /no/such/folder." in shown
    assert "has refused loop" in hosts.typed("one", "cancel", loop, expect=2).stderr


def test_an_order_can_be_taken_back_and_where_nobody_waits_none_is_left(hosts: Hosts, repository: Repository) -> None:
    one = hosts["one"]
    there = ("--on", "four", "-C", str(repository.folder))
    words = ("start", "lower n", *lowering(repository), *there)
    loop = hosts.typed("one", *words, "-d", expect=0).stdout.strip()
    assert "taken back" in hosts.typed("one", "cancel", loop, expect=0).stdout
    assert f'No loop "{loop}"' in hosts.typed("one", "status", loop, expect=2).stderr
    done = one(*words, cwd=Path("/"), env={"CI": "1"}, expect=3)
    assert "No worker on four so far. Nothing was started." in done.stderr
    assert all(not each["queued"] for each in hosts.typed("one", "list", "--json", expect=0).json)


def test_in_ci_leaving_cancels_the_loop_on_its_host(hosts: Hosts, one: Beatctl, repository: Repository) -> None:
    agent = repository.agent("sleep 600")
    words = ("start", "lower n", *MINIMIZE, "-a", agent, "--on", "two", "-C", str(repository.folder))
    attached = one.popen(*words, cwd=Path("/"), env={"CI": "1"})
    assert attached.stderr is not None
    for line in attached.stderr:
        if line.startswith("#0"):
            break
    attached.send_signal(signal.SIGTERM)
    said = attached.communicate(timeout=120)[1]
    assert attached.returncode == 4, said
    [status] = [each for each in hosts["two"].look_at_all().values() if each["directory"] == str(repository.folder)]
    assert status["outcome"] == "cancelled"


def test_other_hosts_need_a_server_that_all_of_them_use(beatctl: Beatctl, place: Path) -> None:
    done = beatctl("start", "x", "--until", "true", "--on", "two", "-C", "/srv", cwd=place, expect=2)
    assert "Name it: --profile NAME, or TEMPORAL_ADDRESS." in done.stderr
