"""Steering a loop that goes: notes to the agent, and each limit changed on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.loops.conftest import Loops
from tests.support import wait_until

MINIMIZE = ("--eval", "cat n", "--minimize")


def prompt_of(row: Any) -> str:
    return (Path(row["logs"]) / "agent.prompt.md").read_text()


def test_a_note_is_in_every_prompt_from_the_next_one_on_also_after_a_long_night(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    loops.beatctl.environ["BEATCTL_CONTINUE_AS_NEW_EVENTS"] = "40"
    gate = repo.folder.parent / "gate"
    started = repo.folder.parent / "started"
    agent = repo.agent(f"touch {started}; while [ ! -e {gate} ]; do sleep 0.02; done; echo $((50 - $i)) > n")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "9")
    wait_until(started.exists, "the agent")

    said = loops.beatctl("note", "try lazy loading\nof the charts", cwd=repo.folder, expect=0).stdout
    assert f"every prompt of {loop} carries it from the next one on" in said
    noted = loops.do("note", loop, "leave moment alone")["notes"]
    assert [(note["text"], note["iteration"]) for note in noted] == [
        ("try lazy loading\nof the charts", None),
        ("leave moment alone", None),
    ]
    loops.do("pause", loop)
    gate.touch()
    loops.until(loop, "the pause", lambda s: s["state"] == "paused")
    assert len(loops.do("note", loop, "and a third")["notes"]) == 3
    loops.do("resume", loop)
    status = loops.finished(loop)

    rows = loops.rows(loop)
    assert "Notes from the user" not in prompt_of(rows[1])
    for row in rows[2:]:
        words = prompt_of(row).partition("## Notes from the user, newest last")[2]
        assert words.index("try lazy loading\n  of") < words.index("leave moment alone") < words.index("and a third")
    assert [len(row["notes"]) for row in rows] == [0, 0, 3, 0, 0, 0, 0, 0, 0, 0]
    assert [note["iteration"] for note in status["notes"]] == [2, 2, 2]
    assert "(since #2)" in loops.beatctl("status", loop, cwd=repo.folder, expect=0).stdout
    assert "leave moment alone" in loops.beatctl("show", loop, "2", cwd=repo.folder, expect=0).stdout
    refused = loops.beatctl("note", loop, "too late", cwd=repo.folder)
    assert refused.exit_code == 2
    assert f"beatctl resume {loop} -n +10" in refused.stderr


def test_notes_are_sent_without_memory_taken_back_and_refused_in_words(loops: Loops) -> None:
    repo = loops.repository
    agent = repo.agent(f"cat $1 > {repo.folder.parent}/prompt-$i; echo $((50 - $i)) > n")
    words = ("lower n", *MINIMIZE, "-a", agent, "-n", "3", "--cooldown", "1h", "--memory", "none")
    loop = loops.detached(*words)
    loops.until(loop, "the cooldown", lambda s: s["iteration"] == 1)
    known = loops.do("note", loop, "be brave")["notes"]
    for typed, problem in (
        (("note", loop, ""), "The note is empty."),
        (("note", loop), "What should the agent know?"),
        (("note",), "What should the agent know?"),
        (("note", loop, "be", "bold"), 'put it in quotes: "be bold"'),
        (("note", loop, "x" * 4097), "4,097 bytes; 4,096 is the most"),
        (("note", "zzzz", "text"), 'No loop "zzzz"'),
        (("note", loop, "text", "--clear"), "takes no text"),
    ):
        done = loops.beatctl(*typed, cwd=repo.folder)
        assert (done.exit_code, "Traceback" in done.stderr) == (2, False), done
        assert problem in done.stderr
    assert loops.status(loop)["notes"] == known
    loops.do("set", loop, "--cooldown", "0", "-n", "2")
    loops.finished(loop)
    assert (repo.folder.parent / "prompt-1").read_text() == "lower n"
    assert (repo.folder.parent / "prompt-2").read_text().startswith("lower n\n\n## Notes from the user, newest last\n")

    loop = loops.detached(*words, "--max-unchanged", "0")
    loops.until(loop, "the cooldown", lambda s: s["iteration"] == 1)
    asyncio.run(send_notes(loops, loop, 19))
    assert len(loops.do("note", loop, "the last one")["notes"]) == 20
    refused = loops.beatctl("note", loop, "one more", cwd=repo.folder)
    assert (refused.exit_code, "20 notes, which is the most" in refused.stderr) == (2, True)
    assert loops.do("note", "--clear", loop)["notes"] == []
    loops.do("set", loop, "--cooldown", "0")
    loops.finished(loop)
    assert (repo.folder.parent / "prompt-2").read_text() == "lower n"


async def send_notes(loops: Loops, loop: str, count: int) -> None:
    client = await loops.beatctl.client()
    for number in range(count):
        await client.get_workflow_handle(f"beatctl-{loop}").signal("note", f"note {number}")


def test_each_limit_can_be_changed_on_the_way_and_takes_effect(loops: Loops) -> None:
    repo = loops.repository
    agent = repo.agent("[ -e ../slow ] && sleep 329; echo $((50 - $i)) > n")
    start = ("lower n", *MINIMIZE, "-a", agent, "--cooldown", "1h", "--max-unchanged", "0")

    def cooling(*more: str) -> str:
        loop = loops.detached(*start, *more)
        loops.until(loop, "the cooldown", lambda s: s["iteration"] == 1)
        return loop

    # What ends it: at once, though it cools down for an hour.
    for words, reason in (
        (("-n", "1"), "max-iterations"),
        (("--target", "49"), "target"),
        (("--for", "1ms"), "max-duration"),
    ):
        loop = cooling()
        changed = loops.beatctl("set", loop, *words, cwd=repo.folder, expect=0)
        assert "→" in changed.stdout
        assert loops.finished(loop)["reason"] == reason

    # A shorter cooldown, more iterations, and limits of the next run.
    loop = cooling("-n", "2", "--max-failures", "1")
    said = loops.beatctl("set", loop, "-n", "+2", "--max-failures", "2", cwd=repo.folder, expect=0).stdout
    assert said == f"{loop}: iterations 2 → 4, failures in a row 1 → 2\n"
    (repo.folder.parent / "slow").touch()
    limits = loops.do("set", loop, "--agent-timeout", "300ms", "--cooldown", "0", "--eval-timeout", "1m")["limits"]
    assert (limits["agent_timeout_s"], limits["eval_timeout_s"], limits["cooldown_s"]) == (0.3, 60, 0)
    status = loops.finished(loop)
    assert (status["reason"], status["failures"]) == ("max-failures", 2)
    assert [row["verdict"] for row in loops.rows(loop)] == ["baseline", "discard", "timeout", "timeout"]
    (repo.folder.parent / "slow").unlink()

    # While it is paused, and what pauses or ends it later.
    repo.agent("true")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "--max-unchanged", "1", "-n", "9")
    loops.until(loop, "the pause", lambda s: s["reason"] == "unchanged")
    assert loops.do("set", loop, "--max-unchanged", "0", "--plateau", "3")["state"] == "paused"
    loops.do("resume", loop)
    assert loops.finished(loop)["reason"] == "plateau"
    assert len(loops.rows(loop)) == 4

    # What is refused changes nothing.
    loop = loops.detached("fix it", "--until", "false", "-a", agent, "-n", "0", "--max-unchanged", "1")
    loops.until(loop, "the pause", lambda s: s["reason"] == "unchanged")
    before = loops.status(loop)["limits"]
    for words, problem in (
        (("--target", "3"), "this loop has --until"),
        (("--plateau", "3"), "this loop has --until"),
        (("-n", "+5"), "has no limit on iterations to add to"),
        (("-n", "+0"), "must be at least 1"),
        (("-n", "+"), "takes a whole number"),
        (("--eval-timeout", "-3s"), "can't be negative"),
        (("--max-failures", "1.5"), "takes a whole number"),
        (("--cooldown", "soon"), 'does not understand "soon"'),
    ):
        done = loops.beatctl("set", loop, *words, cwd=repo.folder)
        assert (done.exit_code, problem in done.stderr, "Traceback" in done.stderr) == (2, True, False), done
    assert loops.status(loop)["limits"] == before
    loops.do("cancel", loop)
    ended = loops.beatctl("set", loop, "-n", "5", cwd=repo.folder)
    assert (ended.exit_code, f"beatctl resume {loop} -n +10" in ended.stderr) == (2, True)
