"""Loops tell the people who are elsewhere how they stand, and nothing that goes wrong with that reaches a loop."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from beatctl.worker.connection import Connection, connect
from tests.loops.conftest import Loops
from tests.notify.conftest import Receiver
from tests.support import processes_of, wait_until

LOWER = ("lower n\nin small steps", "--eval", "cat n", "--minimize")
STEP = "echo $(($(cat n) - 1)) > n"
LIMITED = Path(__file__).parents[1] / "loops" / "limited_agent.py"


def test_the_end_is_told_with_what_it_came_to_by_webhook_and_command(loops: Loops, receiver: Receiver) -> None:
    agent = loops.repository.agent(f"case $i in 2) echo 90 > n;; *) {STEP};; esac")
    heard = loops.repository.folder.parent / "heard"
    told = '"$BEATCTL_EVENT" "$BEATCTL_LOOP" "$BEATCTL_BEST" "$MINE"'
    command = f'cat > {heard}; printf "%s|" {told} >> {heard}; pwd; sleep 601 &'
    words = ("-n", "3", "--notify", receiver.url(), "--notify-command", command)
    status = loops.start(*LOWER, "-a", agent, *words, expect=0, env={"MINE": "my own"})
    loop = status["id"]
    got = receiver.the(loop, "finish")
    assert got["title"] == f"{loop} improved: 48 (-4.0%)"
    assert got["type"] == "success"
    assert got["message"].split("\n")[:2] == ["lower n", "Ended: max-iterations."]
    assert "best 48 #3 (-4.0%), baseline 50; kept 2 of 3; " in got["message"]
    assert f"beatctl apply {loop} --branch NAME" in got["message"]
    assert (got["outcome"], got["reason"], got["best"], got["baseline"]) == ("improved", "max-iterations", "48", "50")
    folder = loops.beatctl.home / "loops" / loop
    log = wait_until(lambda: (folder / "notify.log").exists() and (folder / "notify.log").read_text(), "the log")
    assert " finish: exit code 0" in log
    assert str(loops.repository.folder) in log
    assert not [line for line in processes_of(loops.beatctl.home).values() if "sleep 601" in line]
    told, _, variables = heard.read_text().rpartition("}")
    document = json.loads(told + "}")
    assert (document["event"], document["loop"], document["best"]) == ("finish", loop, {"iteration": 3, "score": 48})
    assert document["title"] == got["title"]
    assert variables == f"finish|{loop}|48|my own|"
    assert receiver.events(loop) == ["finish"]
    gone(loops, loop)


def gone(loops: Loops, loop: str) -> None:
    """Wait until the loop has forgotten where its messages went."""
    place = loops.beatctl.home / "loops" / loop / "notify.json"
    wait_until(lambda: not place.exists(), "the addresses to be deleted")


def test_a_pause_says_why_and_how_to_go_on_and_a_failure_is_told_as_one(loops: Loops, receiver: Receiver) -> None:
    agent = loops.repository.agent("echo I may not do that")
    words = ("--until", "false", "-a", agent, "--max-unchanged", "2", "--notify", receiver.url())
    loop = loops.detached("fix it", *words)
    paused = receiver.the(loop, "pause")
    assert paused["title"] == f"{loop} paused: unchanged"
    assert "changed nothing 2 times" in paused["message"]
    assert "I may not do that" in paused["message"]
    assert f"beatctl resume {loop}" in paused["message"]
    assert paused["type"] == "warning"
    private = loops.beatctl.home / "loops" / loop / "notify.json"
    assert private.stat().st_mode & 0o777 == 0o600
    loops.do("stop", loop)
    failed = receiver.the(loop, "failure")
    assert (failed["title"], failed["type"]) == (f"{loop} failed", "failure")
    assert receiver.events(loop) == ["pause", "failure"]
    gone(loops, loop)


def test_a_loop_that_runs_can_be_told_whom_to_tell_and_of_what(loops: Loops, receiver: Receiver) -> None:
    gate = loops.repository.folder.parent / "gate"
    agent = loops.repository.agent(f"while [ ! -e {gate} ]; do sleep 0.05; done; {STEP}")
    loop = loops.detached(*LOWER, "-a", agent, "-n", "2")

    def set_(*words: str, expect: int = 0) -> str:
        done = loops.beatctl("set", loop, *words, cwd=loops.repository.folder, expect=expect)
        return done.stderr if expect else done.stdout

    assert "tells nobody yet" in set_("--notify-on", "best", expect=2)
    assert set_("--notify", receiver.url("one"), "-n", "3") == (
        f"{loop}: iterations 2 → 3; tells json://{receiver.place}/… (on finish, failure, pause, waiting)\n"
    )
    loops.do("pause", loop)
    gate.touch()
    assert receiver.the(loop, "pause")["path"] == "/one"
    assert set_("--notify", receiver.url("two"), "--notify-on", "pause,finish").endswith("(on finish, pause)\n")
    assert set_("--notify-on", "finish") == f"{loop}: tells of finish\n"
    loops.do("resume", loop)
    assert receiver.the(loop, "finish")["path"] == "/two"
    gone(loops, loop)
    assert receiver.events(loop) == ["pause", "finish"]


def test_a_loop_that_is_to_tell_nobody_any_more_does_not(loops: Loops, receiver: Receiver) -> None:
    gate = loops.repository.folder.parent / "gate"
    agent = loops.repository.agent(f"while [ ! -e {gate} ]; do sleep 0.05; done; {STEP}")
    loop = loops.detached(*LOWER, "-a", agent, "-n", "1", "--notify", receiver.url())
    done = loops.beatctl("set", loop, "--notify", "none", cwd=loops.repository.folder, expect=0)
    assert done.stdout == f"{loop}: tells nobody\n"
    gone(loops, loop)
    gate.touch()
    loops.finished(loop)
    assert receiver.events(loop) == []


def test_a_wait_for_a_limit_is_told_with_its_end(loops: Loops, receiver: Receiver) -> None:
    folder = loops.repository.folder.parent / "limited"
    folder.mkdir()
    agent = Path(shutil.copy(LIMITED, folder / "claude"))
    agent.chmod(0o755)
    (folder / "plan").write_text("limit 7200\nok")
    loop = loops.detached(*LOWER, "-a", str(agent), "-n", "1", "--notify", receiver.url())
    waits = receiver.the(loop, "waiting")
    status = loops.until(loop, "the wait", lambda s: s["waiting_until"])
    assert waits["waiting_until"] == status["waiting_until"]
    assert waits["title"].startswith(f"{loop} waits until ")
    assert "It goes on by itself in 2h" in waits["message"]
    loops.do("resume", loop)
    assert receiver.the(loop, "finish")["outcome"] == "improved"
    assert receiver.events(loop) == ["waiting", "finish"]


def test_a_cancelled_loop_tells_so_and_forgets_where_to(loops: Loops, receiver: Receiver) -> None:
    began = loops.repository.folder / "began"
    agent = loops.repository.agent("touch began; sleep 600")
    loop = loops.detached(*LOWER, "-a", agent, "--notify", receiver.url())
    wait_until(began.exists, "the agent")
    loops.do("cancel", loop)
    told = receiver.the(loop, "finish")
    assert (told["title"], told["outcome"], told["type"]) == (f"{loop} cancelled", "cancelled", "info")
    gone(loops, loop)


def test_new_bests_are_told_but_not_each_of_a_series(loops: Loops, receiver: Receiver) -> None:
    words = ("-n", "4", "--notify", receiver.url(), "--notify-on", "best,finish")
    loop = loops.start(*LOWER, "-a", loops.repository.agent(STEP), *words, expect=0)["id"]
    assert receiver.the(loop, "finish")["best"] == "46"
    assert receiver.events(loop) in (["best", "finish"], ["finish"])  # the end leaves out what was not yet begun


def test_only_what_was_asked_for_is_told_and_the_address_goes_all_the_same(loops: Loops, receiver: Receiver) -> None:
    words = ("--until", "true", "--notify", receiver.url(), "--notify-on", "failure")
    loop = loops.start("fix it", "-a", loops.repository.agent("true"), *words, expect=0)["id"]
    gone(loops, loop)
    assert receiver.events(loop) == []


def test_a_command_that_ends_with_its_loop_waits_for_the_message(loops: Loops, receiver: Receiver) -> None:
    words = ("--until", "true", "--notify", receiver.url(), "--foreground")
    loop = loops.start("fix it", "-a", loops.repository.agent("true"), *words, expect=0)["id"]
    assert receiver.events(loop) == ["finish"]


def test_a_dead_receiver_changes_nothing_for_the_loop_and_is_told_in_status(loops: Loops, receiver: Receiver) -> None:
    agent = loops.repository.agent(STEP)
    quiet = loops.start(*LOWER, "-a", agent, "-n", "3", expect=0)
    loops.do("undo", quiet["id"])
    receiver.answer = 503
    nobody = "json://127.0.0.1:9/secret-path"
    words = ("--notify", nobody, "--notify", receiver.url("second-secret"), "--notify-command", "exit 7")
    loud = loops.start(*LOWER, "-a", agent, "-n", "3", *words, "--notify-on", "finish", expect=0)
    same = ("outcome", "reason", "iteration", "failures", "kept", "counts")
    assert {key: loud[key] for key in same} == {key: quiet[key] for key in same}
    assert plain(loops.rows(loud["id"])) == plain(loops.rows(quiet["id"]))
    gone(loops, loud["id"])
    problems = loops.status(loud["id"])["notify_problems"]
    assert problems[0].startswith("could not reach json://127.0.0.1:9/… (3 tries): ")
    assert problems[1].startswith(f"could not reach json://{receiver.place}/… (3 tries): ")
    assert problems[2] == "the command failed (3 tries): exit code 7"
    assert receiver.events(loud["id"]) == ["finish"] * 3
    shown = loops.beatctl("status", loud["id"], cwd=loops.repository.folder, expect=0).stdout
    assert "notify    could not reach json://127.0.0.1:9/…" in shown
    assert "secret" not in shown + loops.beatctl.logs()


def plain(rows: list[Any]) -> list[Any]:
    return [(row["iteration"], row["verdict"], row["score"], row["reason"]) for row in rows]


class Mailbox:
    """An SMTP server's: keeps what it is given, once somebody logged in."""

    def __init__(self) -> None:
        self.got: list[tuple[list[str], Any]] = []

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:
        self.got.append((envelope.rcpt_tos, message_from_bytes(envelope.content)))
        return "250 kept"


@pytest.fixture
def mail() -> Iterator[tuple[Mailbox, str]]:
    """A mailbox and the address of its server."""
    box = Mailbox()
    server = Controller(box, hostname="127.0.0.1", port=free_port())
    server.start()
    yield box, f"127.0.0.1:{server.port}"
    server.stop()


def free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_secrets_of_an_address_are_nowhere_after_the_loop(
    loops: Loops, receiver: Receiver, mail: tuple[Mailbox, str]
) -> None:
    box, server = mail
    env = {
        "MY_HOOK": f"json://user:hunter2hunter2@{receiver.place}/path-of-secrets?+X-Key=key-of-secrets",
        "BEATCTL_NOTIFY": f"env:MY_HOOK mailto://{server}/me-in-secret@example.org?from=beatctl@example.org",
    }
    words = ("-n", "1", "--notify-command", "true command-of-secrets")
    started = loops.start(*LOWER, "-a", loops.repository.agent(STEP), *words, expect=0, env=env)
    loop = started["id"]
    assert receiver.the(loop, "finish")["path"] == "/path-of-secrets"
    recipients, sent = wait_until(lambda: box.got[0] if box.got else None, "the mail")
    assert recipients == ["me-in-secret@example.org"]
    assert sent["Subject"].startswith(f"{loop} improved")
    gone(loops, loop)
    assert f"json://{receiver.place}/…, mailto://{server}" in started["said"] or "mailto://…" in started["said"]
    secrets = ("hunter2", "path-of-secrets", "key-of-secrets", "me-in-secret", "command-of-secrets")
    kept = [path for path in loops.beatctl.home.rglob("*") if path.is_file() and not path.is_symlink()]
    texts = {str(path): path.read_bytes() for path in kept}
    texts["what start said"] = started["said"].encode()
    texts["status"] = json.dumps(loops.status(loop)).encode()
    texts["doctor"] = loops.beatctl("doctor", "--json", cwd=loops.repository.folder, env=env).stdout.encode()
    texts["the history"] = asyncio.run(history(loops, loop)).encode()
    assert f"beatctl-{loop}" in texts["the history"].decode()
    found = [(place, secret) for place, text in texts.items() for secret in secrets if secret.encode() in text]
    assert found == []


def test_a_message_under_way_when_the_history_is_handed_over_is_sent_once(loops: Loops, receiver: Receiver) -> None:
    receiver.held.clear()
    words = ("-n", "3", "--notify", receiver.url(), "--notify-on", "best,finish")
    agent, env = loops.repository.agent(STEP), {"BEATCTL_CONTINUE_AS_NEW_EVENTS": "30"}
    done = loops.beatctl("start", *LOWER, "-a", agent, *words, "-d", cwd=loops.repository.folder, env=env, expect=0)
    loop = done.stdout.strip()
    receiver.the(loop, "best")
    status = loops.until(loop, "the end, with the message still under way", lambda s: s["state"] == "finished")
    assert (status["outcome"], status["iteration"]) == ("improved", 3)
    wait_until(lambda: len(senders(loops)) == 2, "the next run's try, which waits for the one that sends")
    receiver.held.set()
    assert receiver.the(loop, "finish")["best"] == "47"
    gone(loops, loop)
    assert receiver.events(loop) == ["best", "finish"]
    assert "ContinuedAsNew" in asyncio.run(history(loops, loop, first=True))


def senders(loops: Loops) -> list[str]:
    """The processes that send."""
    return [line for line in processes_of(loops.beatctl.home).values() if "notify.sending" in line]


async def history(loops: Loops, loop: str, *, first: bool = False) -> str:
    """Of the chain's last run, or its first."""
    address = loops.do("doctor")["server"]["address"]
    client = await connect(Connection(address=address, embedded=True))
    handle = client.get_workflow_handle(f"beatctl-{loop}")
    if first:
        found = (await handle.describe()).raw_description.workflow_execution_info.first_run_id
        handle = client.get_workflow_handle(f"beatctl-{loop}", run_id=found)
    return (await handle.fetch_history()).to_json()
