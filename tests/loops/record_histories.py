"""Makes a loop of each kind on a real server and keeps its history: `make histories`, of some kinds with ARGS=.

What is kept under `histories/N/` is what one state of the workflow's code wrote; `test_histories.py` replays all of it
with the code at hand. A recording is never made anew: the next one gets the next number. Paths, ids, hosts and process
numbers are replaced by neutral ones.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gzip
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from temporalio.client import Client, WorkflowHistory

from beatctl.worker.server_program import find_or_fetch
from tests.loops.conftest import Loops, Repository
from tests.support import Beatctl, clean_environment, remove_tree, wait_until

HISTORIES = Path(__file__).parent / "histories"
MINIMIZE = ("--eval", "cat n", "--minimize")
STAND_IN = Path(__file__).with_name("limited_agent.py")
STEP = "echo $(($(cat n) - 1)) > n"


class Keep(Protocol):
    def __call__(self, ending: str, last: str = "") -> None:
        """Keep the history as it is now under the kind's name and this ending, once it has an event named `last`."""


Kind = Callable[[Loops, Keep], str]
"""Runs a loop to its end; its id."""
KINDS: dict[str, Kind] = {}
_ENDS = [f"workflow_execution_{word}" for word in ("completed", "canceled", "failed")]


def kind(make: Kind) -> Kind:
    KINDS[make.__name__.replace("_", "-")] = make
    return make


# Strategies ---------------------------------------------------------------------------------------------------------


@kind
def retry(loops: Loops, _: Keep) -> str:
    """Two failures, then two passes in a row; a check that refuses once."""
    agent = loops.repository.agent("touch try-$i; case $i in 1) touch bad;; 2) rm bad; exit 3;; esac")
    words = ("--until", "test -e try-4", "-a", agent, "-n", "9", "--samples", "2", "--check", "! test -e bad")
    return str(loops.start("fix it", *words, expect=0)["id"])


@kind
def retry_reverts(loops: Loops, _: Keep) -> str:
    agent = loops.repository.agent("echo $i > try")
    words = ("--until", "false", "-a", agent, "-n", "2", "--on-fail", "revert")
    return str(loops.start("fix it", *words, expect=1)["id"])


@kind
def optimize(loops: Loops, _: Keep) -> str:
    """Kept, discarded, no score, a failed agent, nothing changed, a check's refusal, a timeout."""
    body = "case $i in 2) echo 90 > n;; 3) echo x > n;; 4) exit 7;; 5) ;; 6) touch bad;; 7) sleep 60;;"
    agent = loops.repository.agent(f"{body} *) {STEP};; esac")
    words = ("-a", agent, "-n", "8", "--check", "! test -e bad", "--agent-timeout", "2s")
    return str(loops.start("lower n", *MINIMIZE, *words, expect=0)["id"])


@kind
def optimize_samples(loops: Loops, _: Keep) -> str:
    agent = loops.repository.agent(STEP)
    words = ("-a", agent, "-n", "9", "--samples", "3", "--target", "48")
    return str(loops.start("lower n", *MINIMIZE, *words, expect=0)["id"])


@kind
def pipeline(loops: Loops, _: Keep) -> str:
    """Two steps; the second fails once."""
    agent = loops.repository.agent(f"[ $i$BEATCTL_STEP = 22 ] && exit 1; {STEP}")
    steps = ("--step", "take one off", "--step", "take another off")
    return str(loops.start("lower n", *steps, *MINIMIZE, "-a", agent, "-n", "3", expect=0)["id"])


@kind
def worktree(loops: Loops, _: Keep) -> str:
    agent = loops.repository.agent(STEP)
    words = ("-a", agent, "-n", "1", "--worktree", "--setup", "echo ready")
    return str(loops.start("lower n", *MINIMIZE, *words, expect=0)["id"])


# Ends ---------------------------------------------------------------------------------------------------------------


@kind
def no_baseline(loops: Loops, _: Keep) -> str:
    agent = loops.repository.agent(STEP)
    return str(loops.start("lower n", "--eval", "echo none", "--minimize", "-a", agent, expect=3)["id"])


@kind
def passes_already(loops: Loops, _: Keep) -> str:
    agent = loops.repository.agent(STEP)
    return str(loops.start("fix it", "--until", "true", "-a", agent, expect=0)["id"])


@kind
def failures(loops: Loops, _: Keep) -> str:
    agent = loops.repository.agent("echo no >&2; exit 1")
    return str(loops.start("lower n", *MINIMIZE, "-a", agent, "--max-failures", "2", expect=1)["id"])


@kind
def cancelled(loops: Loops, keep: Keep) -> str:
    """While its agent works, whose work is kept."""
    loop = loops.detached("lower n", *MINIMIZE, "-a", loops.repository.agent("echo 7 > n; [ $i = 1 ] || sleep 600"))
    _first_row(loops, loop)
    wait_until(lambda: loops.repository.folder.joinpath("n").read_text() == "7\n", "the agent's work")
    keep("open")  # as a worker finds it that takes over while an agent works
    loops.do("cancel", loop)
    return loop


@kind
def stopped(loops: Loops, _: Keep) -> str:
    gate = loops.repository.folder.parent / "gate"
    agent = loops.repository.agent(f"while [ ! -e {gate} ]; do sleep 0.02; done; {STEP}")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent)
    loops.do("stop", loop)
    gate.touch()
    return loop


# Pauses and waits ---------------------------------------------------------------------------------------------------


@kind
def paused(loops: Loops, keep: Keep) -> str:
    """Asked for, and for want of changes; then stopped while paused."""
    agent = loops.repository.agent(f"[ $i -gt 2 ] || {STEP}")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "--cooldown", "300ms", "--max-unchanged", "2", "-n", "9")
    loops.do("pause", loop)
    _paused(loops, loop, "asked")
    keep("open")
    loops.do("resume", loop)
    _paused(loops, loop, "unchanged")
    loops.do("resume", loop)
    _paused(loops, loop, "unchanged", after=5)
    loops.do("stop", loop)
    return loop


@kind
def waiting(loops: Loops, keep: Keep) -> str:
    """A cooldown that runs, begins anew with another length, and is over."""
    words = ("-a", loops.repository.agent(STEP), "--cooldown", "1h", "--for", "8h", "-n", "3")
    loop = loops.detached("lower n", *MINIMIZE, *words)
    _first_row(loops, loop)
    keep("open", "timer_started")
    loops.do("set", loop, "--cooldown", "30m")
    loops.do("set", loop, "--cooldown", "300ms")
    return loop


@kind
def waiting_ended(loops: Loops, _: Keep) -> str:
    """A limit that is reached by being changed ends the loop during a cooldown."""
    loop = loops.detached("lower n", *MINIMIZE, "-a", loops.repository.agent(STEP), "--cooldown", "1h")
    _first_row(loops, loop)
    loops.do("set", loop, "-n", "1")
    return loop


@kind
def turn(loops: Loops, keep: Keep) -> str:
    """Its agent waits for its turn behind another loop's; it is paused meanwhile, and goes on."""
    beatctl, place = loops.beatctl, loops.repository.folder.parent
    beatctl("down", cwd=place, expect=0)
    beatctl("up", "-d", "--max-concurrent-agents", "1", cwd=place, expect=0)
    gate = place / "gate"
    agent = loops.repository.agent(f"while [ ! -e {gate} ]; do sleep 0.02; done; touch began; {STEP}")
    other = Loops(beatctl, Repository(place / "other", beatctl.environ))
    ahead = other.detached("be first", *MINIMIZE, "-a", agent, "-n", "1")
    other.until(ahead, "the baseline", lambda status: status["baseline"] and status["baseline"]["score"])
    wait_until(lambda: "agent" in other.beatctl("status", ahead, cwd=place).stdout, "the agent ahead")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "2")
    loops.until(loop, "the wait", lambda status: status["state"] == "waiting" and status["baseline"]["score"])
    keep("open")
    loops.do("pause", loop)
    _paused(loops, loop, "asked")
    loops.do("resume", loop)
    loops.until(loop, "the wait", lambda status: status["state"] == "waiting")
    gate.touch()
    loops.finished(loop)
    beatctl("down", cwd=place, expect=0)
    beatctl("up", "-d", cwd=place, expect=0)
    return loop


@kind
def broken(loops: Loops, _: Keep) -> str:
    """The evaluator breaks and is mended; the agent is gone and comes back."""
    repository = loops.repository
    agent = repository.agent(STEP)
    script, evaluator = repository.folder.parent / "agent.sh", repository.folder.parent / "evaluator.sh"
    evaluator.write_text("cat n\n")
    gate = repository.folder.parent / "gate"
    repository.agent(f"{STEP}; [ $i = 2 ] && echo 'exit 1' > {evaluator}; while [ ! -e {gate} ]; do sleep 0.02; done")
    words = ("--eval", f"sh {evaluator}", "--minimize", "-a", agent, "-n", "4")
    loop = loops.detached("lower n", *words)
    gate.touch()
    _paused(loops, loop, "evaluator-broken")
    evaluator.write_text("cat n\n")
    script.rename(script.with_name("away"))
    loops.do("resume", loop)
    _paused(loops, loop, "agent-gone")
    script.with_name("away").rename(script)
    loops.do("resume", loop)
    return loop


@kind
def folder_gone(loops: Loops, _: Keep) -> str:
    repository = loops.repository
    gate = repository.folder.parent / "gate"
    agent = repository.agent(f"while [ ! -e {gate} ]; do sleep 0.02; done; {STEP}")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "2")
    loops.until(loop, "the baseline", lambda status: status["baseline"] and status["baseline"]["score"])
    away = repository.folder.with_name("away")
    repository.folder.rename(away)
    gate.touch()
    elsewhere = Loops(loops.beatctl, repository)
    elsewhere.repository.folder = away
    _paused(elsewhere, loop, "folder-gone")
    away.rename(away.with_name("repo"))
    loops.repository.folder = away.with_name("repo")
    loops.do("resume", loop)
    return loop


def _paused(loops: Loops, loop: str, reason: str, after: int = 0) -> None:
    loops.until(
        loop, f"the pause: {reason}", lambda status: status["reason"] == reason and status["iteration"] >= after
    )


def _first_row(loops: Loops, loop: str) -> None:
    loops.until(loop, "the first row", lambda status: status["iteration"] == 1)


# What a person does to a running loop -------------------------------------------------------------------------------


@kind
def edits(loops: Loops, _: Keep) -> str:
    """Edits in a cooldown are found and taken in after `resume`; edits in a pause as well; some have no score."""
    repository = loops.repository
    words = ("-a", repository.agent(STEP), "--cooldown", "1h", "-n", "3")
    loop = loops.detached("lower n", *MINIMIZE, *words)
    _first_row(loops, loop)
    repository.write("n", "40\n")
    loops.do("set", loop, "--cooldown", "0")
    _paused(loops, loop, "edited")
    loops.do("set", loop, "--cooldown", "1h")
    loops.do("resume", loop)
    loops.until(loop, "the edits' row", lambda status: status["edit_rows"] == 1)
    loops.do("pause", loop)
    _paused(loops, loop, "asked")
    repository.write("n", "no number\n")
    loops.do("resume", loop)
    _paused(loops, loop, "evaluator-broken")
    repository.write("n", "30\n")
    loops.do("resume", loop)
    loops.until(loop, "the second row of edits", lambda status: status["edit_rows"] == 2)
    loops.do("set", loop, "--cooldown", "0")
    return loop


@kind
def limits(loops: Loops, _: Keep) -> str:
    """Changed while an agent works, refused, changed again so that the loop ends."""
    gate = loops.repository.folder.parent / "gate"
    agent = loops.repository.agent(f"while [ ! -e {gate} ]; do sleep 0.02; done; {STEP}")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "3")
    loops.do("set", loop, "-n", "+2", "--plateau", "3")
    loops.do("set", loop, "--target", "48")
    gate.touch()
    return loop


@kind
def notes(loops: Loops, _: Keep) -> str:
    """Given before, while and after an agent works, and cleared."""
    gate = loops.repository.folder.parent / "gate"
    agent = loops.repository.agent(f"while [ ! -e {gate} ]; do sleep 0.02; done; {STEP}")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "4", "--cooldown", "200ms")
    loops.do("note", loop, "try the other end")
    loops.do("note", loop, "and mind the gap")
    gate.touch()
    loops.until(loop, "the second row", lambda status: status["iteration"] >= 2)
    loops.do("note", loop, "--clear")
    return loop


@kind
def session(loops: Loops, _: Keep) -> str:
    """The agent's own session goes on, is refused, and is replaced by a new one."""
    claude = loops.repository.folder.parent / "claude"
    shutil.copy(STAND_IN, claude)
    claude.chmod(0o755)
    claude.with_name("plan").write_text("ok\nok\nrefuse\nok")
    return loops.detached("lower n", *MINIMIZE, "-a", str(claude), "-n", "4", "--memory", "session")


@kind
def gone_on(loops: Loops, _: Keep) -> str:
    """After its end, with edits made since; the new run begins with the old one's state."""
    repository = loops.repository
    loop = str(loops.start("lower n", *MINIMIZE, "-a", repository.agent(STEP), "-n", "2", expect=0)["id"])
    repository.write("n", "33\n")
    loops.beatctl("resume", loop, "-n", "+2", cwd=repository.folder, expect=0)
    return loop


@kind
def retry_gone_on(loops: Loops, _: Keep) -> str:
    repository = loops.repository
    agent = repository.agent("echo x >> tries")
    words = ("--until", "test $(wc -l < tries) -ge 3", "-a", agent, "-n", "1")
    loop = str(loops.start("fix it", *words, expect=1)["id"])
    loops.beatctl("resume", loop, "-n", "+3", cwd=repository.folder, expect=0)
    return loop


@kind
def notified(loops: Loops, _: Keep) -> str:
    """A new best, a pause and the end are told."""
    gate = loops.repository.folder.parent / "gate"
    agent = loops.repository.agent(f"while [ ! -e {gate} ]; do sleep 0.02; done; {STEP}")
    words = ("-a", agent, "-n", "2", "--notify-command", "true", "--notify-on", "best,pause,finish")
    loop = loops.detached("lower n", *MINIMIZE, *words)
    loops.do("pause", loop)
    gate.touch()
    _paused(loops, loop, "asked")
    loops.do("resume", loop)
    return loop


# What fails ---------------------------------------------------------------------------------------------------------


@kind
def adopted(loops: Loops, _: Keep) -> str:
    """The worker is killed while an agent works."""
    gate = loops.repository.folder.parent / "gate"
    began = loops.repository.folder / "began"
    agent = loops.repository.agent(f"touch began; while [ ! -e {gate} ]; do sleep 0.02; done; {STEP}")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "2")
    wait_until(began.exists, "the agent")
    pid = loops.do("doctor")["worker"]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: (loops.do("doctor").get("worker") or {"pid": pid})["pid"] != pid, "another worker")
    gate.touch()
    loops.finished(loop)
    assert loops.rows(loop)[1]["agent"]["adopted"]
    return loop


@kind
def lost(loops: Loops, _: Keep) -> str:
    """The shim is killed together with its agent, which is run again."""
    once = loops.repository.folder.parent / "once"
    agent = loops.repository.agent(f"{STEP}; [ -e {once} ] || {{ touch {once}; kill -9 $PPID; sleep 600; }}")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "2")
    loops.finished(loop)
    assert loops.rows(loop)[1]["agent"]["lost"] == 1
    return loop


@kind
def continued(loops: Loops, _: Keep) -> str:
    """A chain of runs: the first of them, and the last."""
    loops.beatctl.environ["BEATCTL_CONTINUE_AS_NEW_EVENTS"] = "60"
    try:
        agent = loops.repository.agent(STEP)
        return str(loops.start("lower n", *MINIMIZE, "-a", agent, "-n", "12", expect=0)["id"])
    finally:
        del loops.beatctl.environ["BEATCTL_CONTINUE_AS_NEW_EVENTS"]


# Keeping ------------------------------------------------------------------------------------------------------------


async def _fetch(address: str, loop: str) -> list[WorkflowHistory]:
    """The histories of a loop's runs, oldest first."""
    client = await Client.connect(address)
    found = [run async for run in client.list_workflows(f"WorkflowId = 'beatctl-{loop}'")]
    found.sort(key=lambda run: run.start_time)
    return [await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history() for run in found]


def neutral(history: WorkflowHistory, place: Path, loop: str) -> dict[str, Any]:
    """A history as JSON without what only this machine knows."""
    host = re.escape(socket.gethostname())

    def clean(text: str) -> str:
        text = text.replace(str(place), "/home/ada").replace(str(place.parent), "/home/ada").replace(loop, "k3f9")
        text = re.sub(rf"\d+@{host}\b", "1@host", text)
        return re.sub(rf"beatctl@{host}[\w.-]*", "beatctl@host", text)

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            if isinstance(value.get("data"), str) and "encoding" in (value.get("metadata") or {}):
                data = base64.b64decode(value["data"]).decode()
                return {**value, "data": base64.b64encode(clean(data).encode()).decode()}
            return {key: "" if key == "stackTrace" else walk(one) for key, one in value.items()}
        if isinstance(value, list):
            return [walk(one) for one in value]
        return clean(value) if isinstance(value, str) else value

    cleaned: dict[str, Any] = walk(json.loads(history.to_json()))
    return cleaned


class _Recorder:
    def __init__(self, beatctl: Beatctl, place: Path, folder: Path) -> None:
        self._beatctl = beatctl
        self._place = place
        self._folder = folder

    def record(self, name: str, make: Kind) -> None:
        place = self._place / name
        place.mkdir()
        loops = Loops(self._beatctl, Repository(place / "repo", self._beatctl.environ))

        def keep(ending: str, last: str = "") -> None:
            loop = str(loops.do("list")[0]["id"])
            runs = self._runs(loops, loop, lambda runs: any(last in _name(event) for event in runs[-1].events))
            self._write(f"{name}-{ending}", runs[-1], loop, place)

        loop = make(loops, keep)
        loops.finished(loop)
        runs = self._runs(loops, loop, lambda runs: _name(runs[-1].events[-1]) in _ENDS)
        if len(runs) == 1:
            self._write(name, runs[0], loop, place)
        else:
            self._write(f"{name}-first", runs[0], loop, place)
            self._write(f"{name}-last", runs[-1], loop, place)

    def _runs(self, loops: Loops, loop: str, holds: Callable[[list[WorkflowHistory]], bool]) -> list[WorkflowHistory]:
        """The histories of a loop's runs, oldest first, once `holds` is true of them."""
        address = loops.do("doctor")["server"]["address"]

        def look() -> list[WorkflowHistory]:
            runs = asyncio.run(_fetch(address, loop))
            return runs if runs and holds(runs) else []

        return wait_until(look, "the loop's histories on the server")

    def _write(self, name: str, history: WorkflowHistory, loop: str, place: Path) -> None:
        text = json.dumps(neutral(history, place, loop), separators=(",", ":"))
        data = gzip.compress(text.encode(), mtime=0)
        (self._folder / f"{name}.json.gz").write_bytes(data)
        print(f"{name}: {len(history.events)} events, {len(data):,} bytes", flush=True)


def _name(event: Any) -> str:
    return str(event.WhichOneof("attributes") or "").removesuffix("_event_attributes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make histories", description="Record a history of each kind of loop.")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; all when left out")
    parser.add_argument("--into", type=int, help="the recording to add kinds to that it does not have yet")
    given = parser.parse_args()
    names = given.kinds or list(KINDS)
    if unknown := set(names) - set(KINDS):
        parser.error(f"no such kind: {', '.join(sorted(unknown))}")
    newest = max((int(path.name) for path in HISTORIES.glob("[0-9]*")), default=0)
    folder = HISTORIES / str(given.into or newest + 1)
    if there := [name for name in names if [*folder.glob(f"{name}.json.gz"), *folder.glob(f"{name}-last.json.gz")]]:
        parser.error(f"{folder} has {', '.join(there)} already, and what a version wrote is not recorded anew")
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="bt-")).resolve()
    beatctl = Beatctl(clean_environment(place, str(find_or_fetch(os.environ, print))))
    recorder = _Recorder(beatctl, place, folder)
    failed: list[str] = []
    try:
        for name in names:
            try:
                recorder.record(name, KINDS[name])
            except AssertionError as problem:
                print(f"{name}: {problem}", flush=True)
                failed.append(name)
    finally:
        beatctl.close()
        remove_tree(place)
    if failed:
        sys.exit(f"Not recorded: {', '.join(failed)}")
    print(f"Kept in {folder}")


if __name__ == "__main__":
    main()
