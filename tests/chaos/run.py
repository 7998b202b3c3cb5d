"""One loop with the scripted agent and evaluator, in a repository and a home of its own, and what it came to."""

from __future__ import annotations

import hashlib
import os
import random
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

from beatctl.activities.ledger import Ledger
from beatctl.worker.run_folder import RunFolder
from tests.chaos.counting import Entry, entries
from tests.chaos.plan import EDGES
from tests.support import Beatctl, processes_of, wait_until

_HERE = Path(__file__).parent
_DATES = {"GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z"}


class Server(Protocol):
    """A shared Temporal server. Whose environment leads there is not its affair."""

    def kill_server(self) -> None:
        """SIGKILL, and start it again: beatctl's supervisor does not."""


class Run:
    """A loop, started by `start`. `beatctl`'s home is the run's alone."""

    def __init__(self, beatctl: Beatctl, folder: Path, seed: int, server: Server | None = None) -> None:
        self.beatctl = beatctl
        self.server = server
        """Where the loop is, if not on a server of its home's own."""
        self.seed = seed
        self.repository = folder / "repo"
        self.edges = {edge: folder / f"edge-{number}" for number, edge in enumerate(EDGES)}
        """Of each edge the file in whose absence the worker dies there."""
        self.loop = ""
        self.slow = folder / "slow"
        """The next agent to find it removes it and takes its time."""
        self._log = folder / "log"
        self._read_to = 0
        self._entries: list[Entry] = []
        self._make_repository()
        for file in self.edges.values():
            file.touch()

    def start(self, iterations: int, *, most_s: float, edges: bool) -> None:
        """Start the loop in the background. An agent run takes up to `most_s`; with `edges` the worker heeds them."""
        if edges:
            self.beatctl.environ["BEATCTL_FAULT"] = ",".join(f"{edge}@{file}" for edge, file in self.edges.items())
        program = [sys.executable, "-I", "-S"]
        agent = [*program, _HERE / "agent.py", self.seed, self._log, most_s, self.slow, "{prompt_file}"]
        evaluator = [*program, _HERE / "evaluator.py", self._log]
        words = ["--agent", _line(agent), "--eval", _line(evaluator), "--minimize", "-n", str(iterations)]
        words += ["--max-failures", "0", "--max-unchanged", "0", "-d", "--json"]
        self.loop = self.beatctl("start", "make the sum small", *words, cwd=self.repository, expect=0).json["id"]

    # While it runs.

    def connection(self) -> RunFolder:
        """Where its supervisor tells of itself."""
        status = Ledger(self.beatctl.home / "ledger.db").status(self.loop)
        assert status is not None, "the ledger has lost the loop"
        return RunFolder(self.beatctl.home, status.connection)

    def log(self) -> list[Entry]:
        """What agents and evaluators have logged so far."""
        if self._log.exists():
            with self._log.open("rb") as file:
                file.seek(self._read_to)
                whole = file.read().rpartition(b"\n")[0]
            if whole:
                self._read_to += len(whole) + 1
                self._entries += entries(whole.decode())
        return self._entries

    def finished(self) -> bool:
        """Whether the loop has ended; a pause fails the run."""
        status = Ledger(self.beatctl.home / "ledger.db").status(self.loop)
        assert status is not None, "the ledger has lost the loop"
        assert status.state != "paused", f"The loop paused: {status.reason}: {status.detail}\n{self.beatctl.logs()}"
        return status.state == "finished"

    def wait_until_finished(self, timeout_s: float) -> None:
        wait_until(self.finished, f"the end of loop {self.loop}", timeout_s, every_s=0.2)

    # After its end.

    def rows(self) -> list[dict[str, Any]]:
        """The ledger, as `show --json` prints it."""
        rows: list[dict[str, Any]] = self.beatctl("show", self.loop, "--json", cwd=self.repository, expect=0).json
        return rows

    def tree(self) -> list[str]:
        """The repository as it is left: a line for each file, branch, tag and entry of the index, and HEAD."""
        files = [path for path in self.repository.rglob("*") if ".git" not in path.relative_to(self.repository).parts]
        lines = [f"{path.relative_to(self.repository)} {_content(path)}" for path in sorted(files)]
        refs = self._git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        lines += [ref for ref in refs if not ref.startswith("refs/beatctl/")]
        return [*lines, self._git("symbolic-ref", "HEAD"), *self._git("ls-files", "-s").splitlines()]

    def snapshots(self, rows: list[dict[str, Any]]) -> list[str]:
        """The content of each row's snapshot, as git's name for its tree."""
        asked = "".join(f"{row['snapshot']}^{{tree}}\n" for row in rows)
        return self._git("cat-file", "--batch-check=%(objectname)", stdin=asked).splitlines()

    def orphans(self) -> list[str]:
        """Processes of this home, its loop or its agents that still live. Asked after `down`."""

        def look() -> dict[int, str]:
            # BEATCTL_HOME is in the environment of agents and evaluators, too; what has emptied its own has told us.
            left = processes_of(self.beatctl.home)
            for entry in self.log():
                if entry.pid is not None and (words := _command_line(entry.pid)) == "/bin/sleep 600":
                    left[entry.pid] = words
            return left

        try:
            wait_until(lambda: not look(), "the last process's end", timeout_s=5)
        except AssertionError:
            return [f"{pid} {words}" for pid, words in look().items()]
        return []

    def _make_repository(self) -> None:
        dice = random.Random(f"repository {self.seed}")
        parts = self.repository / "parts"
        parts.mkdir(parents=True)
        for number in range(12):
            numbers = [dice.randint(0, 100) for _ in range(20)]
            (parts / f"{number}.txt").write_text("".join(f"{one}\n" for one in numbers))
        self._git("init", "-q")
        self._git("add", "-A")
        self._git("commit", "-qm", "first")
        # Not committed, staged, untracked: all of it has to be there at the end.
        (self.repository / "mine.txt").write_text("not committed\n")
        (self.repository / "staged.txt").write_text("staged\n")
        self._git("add", "staged.txt")

    def _git(self, *words: str, stdin: str = "") -> str:
        done = subprocess.run(
            ["git", *words],
            cwd=self.repository,
            env={**self.beatctl.environ, **_DATES},
            input=stdin,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()


def _line(words: list[object]) -> str:
    # `{prompt_file}` must not be quoted away from the shell-like splitting.
    return " ".join(shlex.quote(str(word)) if "{" not in str(word) else str(word) for word in words)


def _content(path: Path) -> str:
    status = path.lstat()
    content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
    return f"{status.st_mode:o} {hashlib.sha256(content).hexdigest()}"


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
