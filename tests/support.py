"""What tests share: a clean environment, the real command, and processes that must not stay behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from temporalio.client import Client

Answer = TypeVar("Answer")

_ASK_EVERY_S = 2.0
_MEASURED_RUNS = 6
"""Of each command, in each process that runs tests."""

INHERITED = (
    *("CI", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "EDITOR", "PAGER", "PYTHONPATH", "SSH_CONNECTION"),
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"),
)
PREFIXES = ("TEMPORAL_", "BEATCTL_", "GIT_", "CLAUDE", "CODEX_", "GEMINI_", "ANTHROPIC_", "OPENAI_", "GOOGLE_", "OTEL_")

CLUSTER = "TEST_ON_CLUSTER"
"""Set by `make test-cluster`: the variables, as JSON, by which beatctl finds the cluster that all tests run on."""

GIT_CONFIG = """\
[user]
    name = Ada
    email = ada@example.com
[init]
    defaultBranch = main
[gc]
    auto = 0
[maintenance]
    auto = false
"""


def is_inherited(name: str) -> bool:
    """Whether a variable says something about the person who runs the tests, and no test may see it."""
    return name in INHERITED or name.startswith(PREFIXES)


def _environment() -> dict[str, str]:
    """This process's, also while another thread's test takes variables out of it."""
    while True:
        try:
            return dict(os.environ)
        except (KeyError, RuntimeError):
            continue


def clean_environment(folder: Path, server_program: str | None) -> dict[str, str]:
    """An environment with a home folder, a git identity and a beatctl home of its own, all in `folder`."""
    environ = {name: value for name, value in _environment().items() if not is_inherited(name)}
    home = folder / "home"
    home.mkdir(parents=True)
    (home / ".gitconfig").write_text(GIT_CONFIG)
    environ |= {"HOME": str(home), "BEATCTL_HOME": str(folder / "state")}
    environ["BEATCTL_INHIBIT_SLEEP"] = "0"  # the machine that runs the tests may sleep
    if server_program:
        environ["BEATCTL_TEMPORAL_CLI"] = server_program
    cluster: dict[str, str] = json.loads(environ.get(CLUSTER, "{}"))
    return environ | cluster


def wait_until(look: Callable[[], Answer | None], what: str, timeout_s: float = 60.0, every_s: float = 0.02) -> Answer:
    """The first true answer of `look`; a failure that names what never came."""
    end = time.monotonic() + timeout_s
    while True:
        answer = look()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"Waited {timeout_s:.0f} s in vain for {what}")
        time.sleep(every_s)


def processes_of(home: Path) -> dict[int, str]:
    """Pid and command line of every process with this BEATCTL_HOME in its environment (Linux; elsewhere none)."""
    marker = f"BEATCTL_HOME={home}".encode()
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int(folder.name) != os.getpid() and marker in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
        except OSError:
            continue  # it has ended, or is not ours
    return found


def assert_no_process(home: Path, timeout_s: float = 15.0) -> None:
    """Fail if a process of this home is still there after a moment; end it, by pid."""
    end = time.monotonic() + timeout_s
    while (left := processes_of(home)) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    assert not left, f"Left behind: {left}"


def remove_tree(folder: Path) -> None:
    """Remove a folder, also where a test took away the right to."""
    for path, names, _ in os.walk(folder):
        for name in names:
            below = Path(path, name)
            if not below.is_symlink():
                below.chmod(0o700)
    shutil.rmtree(folder, onerror=_unless_gone)


def _unless_gone(_function: object, _path: object, problem: tuple[type[BaseException], BaseException, object]) -> None:
    if not isinstance(problem[1], FileNotFoundError):
        raise problem[1]


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


_runs_of: Counter[str] = Counter()


def _measured(environ: dict[str, str], command: str) -> dict[str, str]:
    """The environment of a command whose coverage is measured for its first runs only: that makes it, and the server
    and worker that it may start, half as slow again, and the hundredth run covers what the others did."""
    _runs_of[command] += 1
    if _runs_of[command] <= _MEASURED_RUNS:
        return environ
    return {name: value for name, value in environ.items() if not name.startswith("COVERAGE_PROCESS_")}


@dataclass
class Beatctl:
    """The real command, run in processes of its own with an environment of its own."""

    environ: dict[str, str]
    program: Path = field(default_factory=lambda: Path(sys.executable).with_name("beatctl"))
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return Path(self.environ["BEATCTL_HOME"])

    def __call__(
        self,
        *words: str,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 120.0,
        expect: int | Iterable[int] | None = None,
    ) -> Done:
        """Run `beatctl WORDS` in `cwd` to its end; with `expect`, another exit code fails the test with its output."""
        process = self.popen(*words, cwd=cwd, env=env)
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            raise AssertionError(f"beatctl {' '.join(words)} took over {timeout_s} s\n{stdout}\n{stderr}") from None
        done = Done(process.returncode, stdout, stderr)
        if expect is not None:
            wanted = [expect] if isinstance(expect, int) else list(expect)
            assert done.exit_code in wanted, f"beatctl {' '.join(words)}: {done}\n{self.logs()}"
        return done

    def popen(self, *words: str, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start `beatctl WORDS` in `cwd` without waiting; ended with the test."""
        process = subprocess.Popen(
            [str(self.program), *words],
            cwd=cwd,
            env=_measured({**self.environ, **(env or {})}, words[0] if words else ""),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self.running.append(process)
        return process

    def look(self, loop: str) -> dict[str, Any]:
        """A loop's status object as `status --json` prints it, read by the same code in this process: a wait that ran
        the command for each look would keep a core busy. Unlike the command it brings nothing back."""
        from beatctl.cli.loops import Loops

        return Loops(self.environ).status(loop).model_dump(mode="json")

    def look_at_all(self) -> dict[str, dict[str, Any]]:
        """The same for every loop, by id."""
        from beatctl.cli.loops import Loops

        return {status.id: status.model_dump(mode="json") for status in Loops(self.environ).all()}

    def until(self, loop: str, what: str, holds: Callable[[Any], object], *, cwd: Path, timeout_s: float = 60.0) -> Any:
        """The first status for which `holds` is true. Now and then the command itself is run, as a person would: it
        brings back a supervisor that is gone."""
        asked = time.monotonic()

        def seen() -> dict[str, Any] | None:
            nonlocal asked
            status = self.look(loop)
            if not holds(status) and time.monotonic() > asked + _ASK_EVERY_S:
                status = self("status", loop, "--json", cwd=cwd, expect=0).json
                asked = time.monotonic()
            return status if holds(status) else None

        return wait_until(seen, what, timeout_s)

    async def client(self) -> Client:
        """A client of the Temporal server that this home's loops are on."""
        from beatctl.activities.home import Home
        from beatctl.worker import what_runs
        from beatctl.worker.connection import connect

        running = what_runs.running(Home(self.home), self.environ)
        assert running is not None, "no supervisor runs"
        return await connect(running.connection, environ=self.environ)

    def logs(self) -> str:
        """The end of every log of this home, for a failure's message."""
        found = sorted((self.home / "logs").rglob("*.log")) if self.home.exists() else []
        return "".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}\n" for path in found if path.is_file()
        )

    def close(self) -> None:
        """End what this home runs, and fail if something of it stays."""
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.communicate()
        if self.home.exists():
            self("down", "--force", cwd=Path("/"), timeout_s=60)
        assert_no_process(self.home)
