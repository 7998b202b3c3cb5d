"""Every message, whole, as a user meets it: each situation is made to happen, and what the command says is compared
with the text in `messages/`.

To add one: append it to a group below (or add a group), then `make messages` writes the texts anew; read the difference
before it is committed. What changes from run to run (ids, folders, times) is replaced.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Mark, Row, Status, timestamp
from beatctl.workflows.spec import Limits
from tests.conftest import ORIGINAL
from tests.support import Beatctl, wait_until

TEXTS = Path(__file__).with_name("messages")
RENEW = bool(ORIGINAL.get("RENEW_MESSAGES"))

_CLAUDE = """#!/bin/sh
[ "$1" = --version ] && { echo "2.1.197 (Claude Code)"; exit; }
cat > /dev/null
echo '{"type": "result", "subtype": "success", "is_error": false, "num_turns": 2, "session_id": "s", \
"result": "I need permission to run npm", "total_cost_usd": 0.6333, "usage": {"input_tokens": 9, "output_tokens": 1}}'
"""


class Told:
    """What a group's commands said, as one text."""

    def __init__(self, beatctl: Beatctl, place: Path, environ: dict[str, str] | None = None) -> None:
        self.beatctl, self.place = beatctl, place
        self.environ = {"LANG": "C.UTF-8", **(environ or {})}
        self.folder = place / "shop"
        self.folder.mkdir(exist_ok=True)
        self.parts: list[str] = []
        self.ids: list[str] = []

    def __call__(self, situation: str, *words: str, cwd: Path | None = None, **env: str) -> str:
        """Run `beatctl WORDS`; returns what it said, as it is."""
        done = self.beatctl(*words, cwd=cwd or self.folder, env={**self.environ, **env})
        said = done.stdout + done.stderr
        self.parts.append(f"## {situation}\n$ beatctl {shlex.join(words)}\n{said}exit {done.exit_code}\n")
        return said

    def started(self, situation: str, *words: str, **env: str) -> str:
        """The same for `start -d` or an attached start; returns the new loop's id."""
        before = set(self._known())
        self(situation, "start", *words, cwd=None, **env)
        [loop] = set(self._known()) - before
        self.ids.append(loop)
        return loop

    def _known(self) -> list[str]:
        ledger = self.beatctl.home / "ledger.db"
        return [loop.id for loop in Ledger(ledger).statuses()] if ledger.exists() else []

    def status(self, loop: str) -> Status:
        found = Ledger(self.beatctl.home / "ledger.db").status(loop)
        assert found is not None
        return found

    def until(self, loop: str, state: str) -> None:
        wait_until(lambda: self.status(loop).state == state, f"{loop} to be {state}")

    def text(self) -> str:
        """All of it, with what changes from run to run replaced."""
        text = "\n".join(self.parts)
        for number, loop in enumerate(self.ids):
            text = re.sub(rf"\b{loop}\b", f"loop{number + 1}", text)
        for path, name in (
            (self.folder, "SHOP"),
            (self.beatctl.home, "STATE"),
            (self.beatctl.environ["HOME"], "HOME"),
            (self.place, "PLACE"),
        ):
            text = text.replace(str(path), name)
        text = re.sub(r"\b(after|elapsed|for) \d[\d.]*(ms|[smhd])( \d+[smhd])?(?=[:,\n ])", r"\1 TIME", text)
        text = re.sub(r"^(Waiting for the worker|Starting the Temporal server) …\n", "", text, flags=re.M)
        text = re.sub(r'"/bin/sh: [^"]*"', '"what sh says"', text)
        text = re.sub(r"127\.0\.0\.1:1[789]\d{3}", "127.0.0.1:PORT", text)
        return re.sub(r"\bprocess \d+", "process PID", text)

    def compare(self, group: str) -> None:
        """With the text in `messages/`, or write that anew."""
        file = TEXTS / f"{group}.txt"
        if RENEW:
            file.write_text(self.text(), encoding="utf-8")
        assert self.text() == file.read_text(encoding="utf-8"), f"Meant? Then: make messages, and read git diff {file}"


@pytest.fixture
def told(beatctl: Beatctl, place: Path) -> Told:
    return Told(beatctl, place)


RETRY = ("start", "fix it", "--until", "npm test", "--agent", "true")
OPTIMIZE = ("start", "fix it", "--eval", "node size.js", "--minimize", "--agent", "true")

FLAGS: Sequence[tuple[str, ...]] = [
    ("start",),
    ("start", ""),
    ("start", "fix", "it", "--until", "npm test"),
    ("start", "fix it"),
    ("start", "fix it", "--until", "npm test", "--eval", "node size.js"),
    ("start", "fix it", "--eval", "node size.js"),
    ("start", "fix it", "--eval", "node size.js", "--minimize", "--maximize"),
    ("start", "fix it", "--until", "npm test", "--minimize"),
    ("start", "fix it", "--until", ""),
    (*OPTIMIZE, "--on-fail", "revert"),
    (*RETRY, "--on-fail", "forget"),
    (*RETRY, "--target", "3"),
    (*OPTIMIZE, "--target", "nan"),
    (*RETRY, "-n", "-5"),
    (*RETRY, "-n", "2.9xyz"),
    (*RETRY, "-n", "99999999999"),
    (*RETRY, "--samples", "0"),
    (*RETRY, "--cooldown", "5 parsecs"),
    (*RETRY, "--cooldown", "-1s"),
    (*RETRY, "--for", "8"),
    (*RETRY, "--for", "99999h"),
    (*RETRY, "--agent-timeout", ""),
    (*RETRY, "--step", "one"),
    ("start", "--pipeline", "--until", "npm test"),
    (*RETRY, "--memory", "session"),
    (*RETRY, "--memory", "elephant"),
    (*RETRY, "--memory-budget", "100"),
    (*RETRY, "--prompt-template", "gone.j2"),
    (*RETRY, "--permissions", "all"),
    (*RETRY, "--model", ""),
    (*RETRY, "-d", "--foreground"),
    (*RETRY, "-C", "nowhere"),
    (*RETRY, "-C", ""),
    (*RETRY, "-C", "/"),
    (*RETRY, "--bogus"),
    (*RETRY, "--maxiterations", "3"),
    ("start", "fix it", "--until"),
    ("strat",),
    ("frobnicate",),
    ("set", "k3f9"),
    ("show", "1", "2"),
    ("status", "one", "two"),
    ("completion", "tcsh"),
]


def test_flags_that_contradict_or_say_nothing(told: Told) -> None:
    for words in FLAGS:
        told("flags", *words)
    told.compare("flags")
    assert not told.beatctl.home.exists()


def test_without_any_loop(told: Told) -> None:
    for words in (
        (),
        ("list",),
        ("status",),
        ("watch",),
        ("diff",),
        ("undo",),
        ("cancel",),
        ("pause", "k3f9"),
        ("down",),
    ):
        told("no loop", *words, PATH="/nowhere")
    told.compare("no-loop")


def test_what_the_machine_lacks(told: Told, place: Path) -> None:
    programs = place / "bin"
    programs.mkdir()
    for name in ("git", "sh", "cat"):
        os.symlink(_which(name), programs / name)
    told("no agent", "start", "fix it", "--until", "npm test", PATH=str(programs))
    (programs / "claude").write_text(_CLAUDE)
    (programs / "claude").chmod(0o755)
    (told.folder / "agent.sh").write_text("#!/bin/sh\n")
    for agent in ("codex", "nobody {prompt}", "agent.sh", "./agent.sh", "./gone.sh", ".", "'open"):
        told("agent", "start", "fix it", "--until", "npm test", "--agent", agent, PATH=str(programs))
    told("a server elsewhere that is not there", *RETRY, TEMPORAL_ADDRESS="127.0.0.1:1")
    told("a server's program that is not there", *RETRY, BEATCTL_TEMPORAL_CLI=str(place / "gone"))
    (place / "taken").write_text("")
    told("a home that is a file", *RETRY, BEATCTL_HOME=str(place / "taken"))
    damaged = place / "damaged"
    damaged.mkdir()
    (damaged / "ledger.db").write_text("no database " * 50)
    told("a damaged ledger", "list", BEATCTL_HOME=str(damaged))
    told("the home folder as the place to work in", *RETRY, cwd=Path(told.beatctl.environ["HOME"]))
    told("no server to work for", "worker")
    told.compare("machine")


def test_telling_agents_of_beatctl(told: Told) -> None:
    """`init --mcp`: written, there already, and everything it does not touch."""
    init = ("init", "--mcp")
    path = f"{told.beatctl.program.parent}:{os.environ['PATH']}"
    settings = {
        ".gemini/settings.json": '{"a": 1, // mine\n}',
        ".mcp.json": '{"mcpServers": {"beatctl": {"command": "b"}}}',
    }
    told("written", *init, "codex", PATH=path)
    told("there already", *init, "codex", PATH=path)
    (told.folder / ".gemini").mkdir()
    for name, text in settings.items():
        (told.folder / name).write_text(text)
    told("one is there already, one has another, one can't be read", *init, "all", PATH=path)
    assert {name: (told.folder / name).read_text() for name in settings} == settings
    told("replaced", *init, "claude", "--force", PATH=path)
    told("no such client", *init, "vim", PATH=path)
    told("a file beside it", *init, "claude", "other.toml", PATH=path)
    told.compare("init-mcp")


def _which(name: str) -> str:
    import shutil

    found = shutil.which(name)
    assert found
    return found


def _kept(told: Told) -> None:
    """Loops as they may be found in a ledger: no server knows them."""
    ledger = Ledger(told.beatctl.home / "ledger.db")
    given: dict[str, Any] = {
        "strategy": "optimize",
        "limits": Limits().model_dump(),
        "ended_at": timestamp(1_252_800.0),  # noon: the same day everywhere
        "elapsed_s": 75.0,
        "baseline": Mark(iteration=0, score=50.0),
        "best": Mark(iteration=1, score=40.0),
        "iteration": 2,
        "state": "finished",
    }
    for number, more in enumerate(
        (
            {"id": "k3f9", "goal": "lower n", "directory": "/srv/n", "outcome": "improved", "reason": "plateau"},
            {"id": "k3aa", "goal": "lower m", "directory": "/srv/m", "outcome": "failed", "reason": "max-failures"},
            {"id": "m222", "goal": "lower k", "directory": "/srv/k", "state": "paused", "reason": "edited"}
            | {"detail": "You edited n while m222 waited: paused, nothing overwritten."},
            {"id": "p333", "goal": "lower p", "directory": "/srv/p", "state": "running", "asked": "stop"},
        )
    ):
        ledger.add_loop(Status.model_validate({**given, "worktree": more["directory"], **more}), "{}", float(number))
    for row in (
        Row(iteration=0, verdict="baseline", score=50.0, started_at=timestamp(1.0), duration_s=1),
        Row(iteration=1, verdict="keep", score=40.0, started_at=timestamp(1.0), duration_s=1, parent=0),
        Row(iteration=2, verdict="crash", started_at=timestamp(1.0), duration_s=1, parent=1, reason="exit code 7"),
    ):
        ledger.write(told.status("k3f9"), row)


KEPT: Sequence[tuple[str, tuple[str, ...]]] = [
    ("a loop that is not there", ("status", "zz")),
    ("an id that could be two", ("status", "k3")),
    ("an iteration that is not there", ("show", "k3f9", "9")),
    ("an iteration without a snapshot", ("diff", "k3f9", "1")),
    ("the baseline's changes", ("diff", "k3f9", "0")),
    ("nothing to diff", ("diff", "k3f9")),
    ("nothing to undo", ("undo", "k3f9")),
    ("undo while it goes on", ("undo", "m222")),
    ("no logs", ("logs", "k3f9", "2")),
    ("pause what has ended", ("pause", "k3f9")),
    ("stop what has ended", ("stop", "k3f9")),
    ("cancel what has ended", ("cancel", "k3f9")),
    ("cancel without a name", ("cancel",)),
    ("pause what stops", ("pause", "p333")),
    ("a limit of the other kind", ("set", "m222", "--for", "8")),
    ("list", ("list",)),
    ("status of a paused loop without a worker", ("status", "m222")),
    ("ui that is not known", ("ui", "k3f9")),
    ("gc of a loop that is not over", ("gc", "m222")),
    ("gc with nothing to free", ("gc",)),
]


def test_looking_at_and_acting_on_loops_that_do_not_run(told: Told) -> None:
    _kept(told)
    for situation, words in KEPT:
        told(situation, *words)
    status = told.status("k3f9")
    going = status.model_copy(update={"state": "running", "outcome": None, "version": 1, "worktree": str(told.folder)})
    Ledger(told.beatctl.home / "ledger.db").write(going)
    told("a folder in use", *RETRY)
    (told.folder / "src").mkdir()
    told("a folder in a folder in use", *RETRY, "-C", "src")
    told.compare("kept")


def test_loops_that_run(shared_beatctl: Beatctl, place: Path) -> None:
    programs = place / "bin"
    programs.mkdir()
    (programs / "claude").write_text(_CLAUDE)
    (programs / "claude").chmod(0o755)
    told = Told(shared_beatctl, place, {"PATH": f"{programs}{os.pathsep}{shared_beatctl.environ['PATH']}"})
    subprocess.run(["git", "init", "-q"], cwd=told.folder, env=shared_beatctl.environ, check=True)
    (told.folder / "n").write_text("50\n")
    told.started("it passes already", "fix it", "--until", "true", "-a", "claude")
    told.started("no score from the baseline", "lower n", "--eval", "echo Done in 3.2s", "--minimize", "-a", "claude")
    told.started("an evaluator that prints nothing", "lower n", "--eval", "true", "--minimize", "-a", "claude")
    told.started("an evaluator that fails", "lower n", "--eval", "echo no; exit 7", "--minimize", "-a", "claude")
    told.started("an evaluator that is not there", "fix it", "--until", "./gone.sh", "-a", "claude")
    told.started(
        "a baseline that meets the target", "x", "--eval", "cat n", "--minimize", "--target", "60", "-a", "claude"
    )
    told.started("a check that fails", "x", "--eval", "cat n", "--minimize", "--check", "false", "-a", "claude")
    told.started("an agent that fails", "lower n", "--until", "false", "-a", "sh -c 'echo out of luck >&2; exit 7'")
    idle = told.started("an agent that changes nothing", "lower n", "--eval", "cat n", "--minimize", "-a", "claude")
    told("stop a paused loop", "stop", idle)
    told.until(idle, "finished")
    loop = told.started("in the background", "lower n", "--until", "false", "-a", "sh -c 'date > t; sleep 600'", "-d")
    told("a folder in use", *RETRY)
    told("pause", "pause", loop)
    told("resume what is about to pause", "resume", loop)
    told("set", "set", loop, "-n", "20")
    told("set what the loop has not", "set", loop, "--target", "3")
    told("stop", "stop", loop)
    told("pause what stops", "pause", loop)
    told("undo while it goes on", "undo", loop)
    told("cancel", "cancel", loop)
    told("cancel once more", "cancel", loop)
    told("undo", "undo", loop)
    told("undo once more", "undo", loop)
    told.compare("loops")


def test_edits_while_a_loop_waits(shared_beatctl: Beatctl, place: Path) -> None:
    told = Told(shared_beatctl, place)
    (told.folder / "src").mkdir()
    (told.folder / "src" / "app.ts").write_text("1\n")
    agent = "sh -c 'echo $BEATCTL_ITERATION > n; [ $BEATCTL_ITERATION = 1 ] || sleep 600'"
    loop = told.started(
        "in the background", "x", "--until", "false", "-n", "9", "-a", agent, "--cooldown", "600s", "-d"
    )
    wait_until(lambda: told.status(loop).iteration == 1, "the first iteration")
    told("pause in a cooldown", "pause", loop)
    told.until(loop, "paused")
    told("status of a paused loop", "status", loop)
    told("resume", "resume", loop)
    (told.folder / "src" / "app.ts").write_text("2\n")
    told("an edit is found where the cooldown ends", "set", loop, "--cooldown", "0")
    told.until(loop, "paused")
    told("status after an edit", "status", loop)
    told("resume with the edit", "resume", loop)
    wait_until(lambda: told.status(loop).iteration == 2, "the iteration that holds the edit")
    told("cancel", "cancel", loop)
    told.compare("edits")
