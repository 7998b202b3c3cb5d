"""A worker that dies while it tells somebody: the message arrives, once more at most, and the loop does not notice."""

from __future__ import annotations

import json

from tests.faults.machine import kill
from tests.loops.conftest import Loops
from tests.notify.conftest import Receiver
from tests.support import wait_until


def test_a_message_is_not_lost_with_the_worker_that_sends_it(own_loops: Loops, receiver: Receiver) -> None:
    loops = own_loops
    gate = loops.repository.folder.parent / "gate"
    agent = loops.repository.agent(f"[ $i = 1 ] || while [ ! -e {gate} ]; do sleep 0.05; done; echo $((50 - i)) > n")
    receiver.held.clear()
    words = ("--eval", "cat n", "--minimize", "-n", "2", "--notify", receiver.url(), "--notify-on", "best,finish")
    loop = loops.detached("lower n", "-a", agent, *words)
    receiver.the(loop, "best")
    kill(loops, "worker")
    receiver.held.set()
    gate.touch()
    status = loops.finished(loop)
    assert (status["outcome"], status["iteration"], status["best"]["score"]) == ("improved", 2, 48)
    receiver.the(loop, "finish")
    place = loops.beatctl.home / "loops" / loop / "notify.json"
    wait_until(lambda: not place.exists(), "the addresses to be deleted")
    assert receiver.events(loop) in (["best", "finish"], ["best", "best", "finish"])
    assert loops.status(loop)["notify_problems"] == []


def test_a_message_of_a_loops_end_is_sent_after_beatctl_was_shut_down_and_is_back(
    own_loops: Loops, receiver: Receiver
) -> None:
    loops = own_loops
    receiver.held.clear()
    words = ("--until", "true", "-a", loops.repository.agent("true"), "--notify", receiver.url())
    loop = loops.start("fix it", *words, expect=0)["id"]
    receiver.the(loop, "finish")
    loops.beatctl("down", cwd=loops.repository.folder, expect=0)
    place = loops.beatctl.home / "loops" / loop / "notify.json"
    assert place.exists()
    receiver.held.set()
    before = len(receiver.got)
    loops.beatctl("up", "-d", cwd=loops.repository.folder, expect=0)
    wait_until(lambda: not place.exists(), "the addresses to be deleted")
    assert receiver.events(loop)[before:] == ["finish"]
    assert loops.status(loop)["notify_problems"] == []


def test_a_loop_that_the_server_has_lost_tells_it_though_the_worker_is_killed_and_goes_on_telling_what_was_set(
    own_loops: Loops, receiver: Receiver
) -> None:
    loops, folder = own_loops, own_loops.repository.folder
    gate = folder.parent / "gate"
    agent = loops.repository.agent(f"while [ ! -e {gate} ]; do sleep 0.05; done; echo $((50 - i)) > n")
    words = ("--eval", "cat n", "--minimize", "-n", "1", "--notify", receiver.url(), "--notify-on", "failure")
    loop = loops.detached("lower n", "-a", agent, *words)
    loops.beatctl("set", loop, "--notify-on", "pause,finish", cwd=folder, expect=0)
    receiver.held.clear()
    loops.beatctl("down", cwd=folder, expect=0)
    for file in loops.beatctl.home.glob("temporal.db*"):
        file.unlink()
    loops.beatctl("up", "-d", cwd=folder, expect=0)
    told = receiver.the(loop, "pause")
    assert (told["reason"], f"beatctl resume {loop}" in told["message"]) == ("server-lost", True)
    kill(loops, "worker")
    receiver.held.set()
    record = loops.beatctl.home / "loops" / loop / "notified.json"
    wait_until(
        lambda: record.exists() and [one["ok"] for one in json.loads(record.read_text())["results"].values()] == [True],
        "the next worker's message",
    )
    gate.touch()
    loops.do("resume", loop)
    assert loops.finished(loop)["outcome"] == "improved"
    receiver.the(loop, "finish")
    assert receiver.events(loop) in (["pause", "finish"], ["pause", "pause", "finish"])
