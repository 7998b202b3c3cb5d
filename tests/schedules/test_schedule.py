"""Schedules start loops at their times, one after the other, until they are paused or deleted; and say what became of
them. What has to be waited for is counted by another schedule, whose starts are skipped each second."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, Schedule, ScheduleActionStartWorkflow, ScheduleIntervalSpec, ScheduleSpec

from beatctl.activities.workspace.files import read_json
from tests.schedules.conftest import Host
from tests.support import wait_until

pytestmark = pytest.mark.xdist_group("schedules")


class Folder:
    """A folder with loops that end once `go` is there."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.go = host.repository.folder.parent / "go"
        agent = host.repository.agent(f"until [ -e {self.go} ]; do sleep 0.1; done; touch ignored-$BEATCTL_LOOP")
        self.words = ("--", "touch it", "--until", "test -e ignored-$BEATCTL_LOOP", "-a", agent)

    def loops(self, schedule: str) -> dict[str, Any]:
        """The schedule's loops by id, in the order of their numbers."""
        found = {id_: one for id_, one in self.host.beatctl.look_at_all().items() if one["schedule"] == schedule}
        return dict(sorted(found.items(), key=lambda pair: int(pair[0].rpartition("-")[2])))

    def states(self, schedule: str) -> list[str]:
        return [str(one["outcome"] or one["state"]) for one in self.loops(schedule).values()]


@pytest.fixture
def folder(host: Host) -> Folder:
    return Folder(host)


@pytest.fixture
def clock(host: Host) -> Iterator[Callable[[int], None]]:
    """Waits for some more times at which a schedule of every second has had its turn: one of the server's own, whose
    workflow nobody works on, so that its further starts are counted as skipped."""
    name = f"clock-{os.urandom(4).hex()}"
    schedule = Schedule(
        action=ScheduleActionStartWorkflow("Nothing", id=name, task_queue="nobody"),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=1))]),
    )

    async def skipped(client: Client) -> int:
        return (await client.get_schedule_handle(name).describe()).info.num_actions_skipped_overlap

    def pass_by(times: int) -> None:
        until = host.with_client(skipped) + times
        wait_until(lambda: host.with_client(skipped) >= until, "the clock", every_s=0.2)

    async def end(client: Client) -> None:
        info = (await client.get_schedule_handle(name).describe()).info
        await client.get_schedule_handle(name).delete()
        action: Any = info.running_actions[0]
        await client.get_workflow_handle(action.workflow_id).terminate()

    host.with_client(lambda client: client.create_schedule(name, schedule))
    yield pass_by
    host.with_client(end)


def test_a_schedule_skips_while_its_loop_runs_and_can_be_paused_triggered_and_deleted(
    host: Host, folder: Folder, clock: Callable[[int], None]
) -> None:
    host.schedule("create", "often", "--every", "1s", *folder.words)
    wait_until(lambda: host.seen("often")["skipped"] >= 2, "two that are skipped", every_s=0.2)
    assert list(folder.loops("often")) == ["often-1"]
    folder.go.touch()
    wait_until(lambda: len(folder.loops("often")) >= 3, "further loops")

    assert host.schedule("pause", "often", "--reason", "enough")["note"] == "enough"
    wait_until(lambda: set(folder.states("often")) == {"reached"}, "the end of the last loop")
    wait_until(lambda: host.seen("often")["running"] == 0, "the server to know", every_s=0.2)
    before = folder.loops("often")
    assert list(before) == [f"often-{number}" for number in range(1, len(before) + 1)]
    seen = host.seen("often")
    assert (seen["started"], seen["paused"]) == (len(before), True)
    clock(2)
    assert folder.loops("often").keys() == before.keys()

    triggered = host.schedule("trigger", "often")["loop"]
    assert triggered == f"often-{len(before) + 1}"
    host.finished(triggered)
    clock(2)
    assert list(folder.loops("often")) == [*before, triggered]

    folder.go.unlink()
    host.schedule("resume", "often")
    last = f"often-{len(before) + 2}"
    wait_until(lambda: last in folder.loops("often"), "a loop after resuming")
    refused = host.beatctl("schedule", "trigger", "often", cwd=host.repository.folder, expect=2)
    assert f"{last} runs still" in refused.stderr
    host.schedule("delete", "often")
    clock(2)
    assert list(folder.loops("often")) == [*before, triggered, last]
    assert folder.states("often")[-1] == "running"
    folder.go.touch()
    assert host.finished(last)["outcome"] == "reached"
    assert "often" not in [one["name"] for one in host.do("schedule", "list")]
    assert not (host.beatctl.home / "schedules/often").exists()


@pytest.mark.parametrize("overlap", ["cancel-other", "terminate-other"])
def test_a_loop_that_gives_way_to_the_next_is_ended_as_by_cancel(host: Host, folder: Folder, overlap: str) -> None:
    name = f"gives-way-{overlap[0]}"
    host.schedule("create", name, "--every", "1s", "--overlap", overlap, *folder.words)
    wait_until(lambda: len(folder.loops(name)) >= 2, "the next loop")
    host.schedule("delete", name)
    folder.go.touch()
    wait_until(lambda: "running" not in folder.states(name), "the end of all")
    assert folder.states(name)[0] == "cancelled"
    assert folder.loops(name)[f"{name}-1"]["reason"] == "cancelled"


def test_a_start_that_is_refused_is_told_and_not_counted_as_a_loop(host: Host, folder: Folder) -> None:
    host.schedule("create", "in-the-way", "--every", "100d", *folder.words)
    busy = host.detached(*folder.words[1:])
    refused = host.beatctl("schedule", "trigger", "in-the-way", cwd=host.repository.folder, expect=1)
    assert f"Loop {busy} is using this folder" in refused.stderr
    [told] = [one["last"] for one in host.do("schedule", "list") if one["name"] == "in-the-way"]
    assert (told["loop"], told["state"]) == (None, "refused")
    assert f"Loop {busy} is using this folder" in told["refused"]
    folder.go.touch()
    host.finished(busy)
    assert host.schedule("trigger", "in-the")["loop"] == "in-the-way-1"
    host.finished("in-the-way-1")
    host.schedule("delete", "in-the-way")


def test_a_loop_gets_the_environment_of_the_shell_that_made_the_schedule_and_temporal_never_sees_it(
    host: Host,
) -> None:
    token = "tok-" + os.urandom(8).hex()
    check = 'test "$NIGHT_TOKEN" = "$(cat token)"'
    host.repository.write("token", "nothing yet\n")
    agent = host.repository.agent("printenv NIGHT_TOKEN > token")
    words = ("env", "--every", "100d", "--", "write the token", "--until", check, "-a", agent)
    host.beatctl("schedule", "create", *words, cwd=host.repository.folder, env={"NIGHT_TOKEN": token}, expect=0)
    loop = host.schedule("trigger", "env")["loop"]
    assert host.finished(loop)["outcome"] == "reached"
    assert host.repository.read("token") == f"{token}\n"
    kept = host.beatctl.home / "schedules/env/environment.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert read_json(kept)["NIGHT_TOKEN"] == token
    for file in host.beatctl.home.glob("temporal.db*"):
        assert token.encode() not in file.read_bytes()
    host.schedule("delete", "env")
    assert not kept.exists()


def test_each_loop_of_a_repository_works_in_a_clone_and_pushes_a_branch_of_its_own(host: Host) -> None:
    agent = host.repository.agent("echo ok > n")
    words = ("cloned", "--every", "100d", "--", "write ok", "--until", "grep -q ok n", "-a", agent)
    made = host.schedule("create", *words, "--repo", str(host.repository.folder))
    assert (made["directory"], made["repo"]) == (None, str(host.repository.folder))
    assert list((host.beatctl.home / "clones").glob("*")) == []
    loop = host.schedule("trigger", "cloned")["loop"]
    assert host.finished(loop)["outcome"] == "reached"
    wait_until(lambda: f"beatctl/{loop}" in host.repository.git("branch", "--list", "beatctl/*"), "the branch")
    assert host.repository.git("show", f"beatctl/{loop}:n") == "ok"
    assert host.repository.read("n") == "50\n"
    host.schedule("delete", "cloned")


def test_at_starts_one_loop_and_nothing_more_is_to_come(host: Host) -> None:
    moment = "2099-01-31T22:00"
    words = ("--timezone", "Europe/Lisbon", "--", "x", "--until", "true", "-a", "true")
    made = host.schedule("create", "once", "--at", moment, *words)
    assert made["next"] == ["2099-01-31T22:00:00.000Z"]
    said = host.beatctl("schedule", "list", cwd=host.repository.folder, expect=0).stdout
    assert "31 Jan 22:00" in said
    host.schedule("delete", "once")


def test_a_name_that_is_taken_or_unknown_is_told(host: Host, folder: Folder) -> None:
    host.schedule("create", "weekly", "--cron", "@weekly", *folder.words)
    kept = (host.beatctl.home / "schedules/weekly/schedule.json").read_bytes()
    again = host.beatctl("schedule", "create", "weekly", "--every", "1h", *folder.words, cwd=Path("/"), expect=2)
    assert "There is a schedule weekly already" in again.stderr or "-C" in again.stderr
    assert (host.beatctl.home / "schedules/weekly/schedule.json").read_bytes() == kept
    unknown = host.beatctl("schedule", "show", "wekly", cwd=Path("/"), expect=2)
    assert 'No schedule "wekly". Near it: weekly.' in unknown.stderr
    assert host.schedule("show", "week")["cron"] == ["@weekly"]
    never = ("never", "--cron", "0 0 30 2 *", *folder.words)
    done = host.beatctl("schedule", "create", *never, cwd=host.repository.folder, expect=2)
    assert "never comes" in done.stderr
    wrong = host.beatctl(
        "schedule", "create", "wrong", "--cron", "61 * * * *", *folder.words, cwd=host.repository.folder, expect=2
    )
    assert "Minute is not in range" in wrong.stderr
    assert {"never", "wrong"}.isdisjoint(one["name"] for one in host.do("schedule", "list"))
    host.schedule("delete", "weekly")


def test_schedules_rest_while_beatctl_is_down_and_go_on_when_it_is_back(own_host: Host) -> None:
    host, folder = own_host, Folder(own_host)
    folder.go.touch()
    host.schedule("create", "often", "--every", "1s", *folder.words)
    wait_until(lambda: "reached" in folder.states("often"), "a loop")
    down = host.beatctl("down", cwd=host.repository.folder, expect=0)
    assert "often" in down.stdout
    assert "schedules start nothing (often): beatctl up -d" in host.beatctl("list", cwd=Path("/"), expect=0).stderr
    [rests] = host.do("schedule", "list")
    assert (rests["name"], rests["rests"]) == ("often", True)
    assert host.beatctl("schedule", "pause", "often", cwd=host.repository.folder, expect=3).stderr.count("down") >= 1
    before = set(folder.loops("often"))
    host.beatctl("up", "-d", cwd=host.repository.folder, expect=0)
    wait_until(lambda: set(folder.loops("often")) - before, "a loop after that")
    [back] = host.do("schedule", "list")
    assert back["rests"] is False
