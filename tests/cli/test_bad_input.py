"""Bad input to the real command: a clear line, the right exit code, nothing started, nothing left behind. While a loop
runs: the verdict that says what happened, and the user's things as they were. The tables are in `bad_input.py`."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.cli.bad_input import BASELINE, REFUSED, RETRY, RUNNING, Baseline, Refused, Running
from tests.loops.conftest import Repository
from tests.support import Beatctl, Done, clean_environment, processes_of, remove_tree, wait_until

Key = TypeVar("Key")
Answer = TypeVar("Answer")

pytestmark = pytest.mark.xdist_group("bad-input")
_AT_ONCE = 3


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="bt-")).resolve()
    yield folder
    remove_tree(folder)


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    """Real commands, several at a time: each row waits for its own."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        yield threads


def _begun(
    pool: ThreadPoolExecutor, request: pytest.FixtureRequest, fixture: str, do: Callable[[Key], Answer]
) -> dict[Key, Future[Answer]]:
    """Begin the rows of those tests that were chosen to run and use this fixture."""
    chosen = [item for item in request.session.items if fixture in getattr(item, "fixturenames", ())]
    return {key: pool.submit(do, key) for item in chosen for key in _keys(item)}


def _keys(item: Any) -> Sequence[Any]:
    return [value for name, value in item.callspec.params.items() if name in ("number", "name")]


def _files(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.lstat().st_mode)
        for path in folder.rglob("*")
        if path.is_file() and path.name != "index"  # git's own look refreshes it
    }


# What is refused


class Refusal:
    """A refused command line, in a project and a home of its own."""

    def __init__(self, base: Path, number: int, server_program: str | None) -> None:
        row = self.row = REFUSED[number]
        place = base / f"r{number}"
        environ = clean_environment(place, server_program)
        self.project, self.home = place / "project", Path(environ["BEATCTL_HOME"])
        self.project.mkdir()
        (self.project / "file").write_text("mine\n")
        subprocess.run(["sh", "-ec", row.prepare], cwd=self.project, env=environ, check=True)
        before = _files(self.project)

        def filled(text: str) -> str:
            return text.replace("{place}", str(place)).replace("{HOME}", environ["HOME"]).replace("{{", "{").replace(
                "}}", "}"
            )  # fmt: skip

        environ |= {name: filled(value) for name, value in row.env.items()}
        self.done = Beatctl(environ)(*map(filled, row.words), cwd=Path(filled(row.cwd)))
        self.project.chmod(0o700)
        self.changed = _files(self.project) != before
        self.left = processes_of(self.home)


@pytest.fixture(scope="module")
def refusals(
    base: Path, pool: ThreadPoolExecutor, server_program: str | None, request: pytest.FixtureRequest
) -> Mapping[int, Future[Refusal | None]]:
    def refusal(number: int) -> Refusal | None:
        return None if _would_start(REFUSED[number]) else Refusal(base, number, server_program)

    return _begun(pool, request, "refusals", refusal)


def _would_start(row: Refused) -> bool:
    """Whether what is refused to others is allowed to us: root may write everywhere."""
    return row.prepare == "chmod 500 ." and os.geteuid() == 0


def _name(row: Refused) -> str:
    return row.name or " ".join(row.words)


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=map(_name, REFUSED))
def test_what_cannot_be_done_is_told_and_changes_nothing(
    refusals: Mapping[int, Future[Refusal | None]], number: int
) -> None:
    row, refusal = REFUSED[number], refusals[number].result()
    if refusal is None:
        pytest.skip("root may write everywhere")
    done = refusal.done
    assert (done.exit_code, done.stdout) == (row.code, ""), done
    assert row.said in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("Help: beatctl")), done.stderr
    assert "Traceback" not in done.stderr
    assert not refusal.home.exists(), "something was begun"
    assert not refusal.changed
    assert not refusal.left


def test_a_folder_that_is_gone_is_told(beatctl: Beatctl, place: Path) -> None:
    gone = place / "gone"
    gone.mkdir()
    shell = f'rmdir "{gone}" && exec "{beatctl.program}" start "fix it" --until true --agent true'
    done = subprocess.run(["sh", "-c", shell], cwd=gone, env=beatctl.environ, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "The folder you are in is gone: change to another, or name one with -C.\n"


def test_a_shared_server_that_is_not_there_is_told_and_none_is_started(beatctl: Beatctl, place: Path) -> None:
    (place / "project").mkdir()
    done = beatctl(*RETRY, cwd=place / "project", env={"TEMPORAL_ADDRESS": "127.0.0.1:1"}, expect=3)
    assert done.stderr.splitlines()[0] == "Temporal server: 127.0.0.1:1, namespace default"
    assert "No Temporal server answers at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (beatctl.home / "loops").exists()
    assert beatctl("list", "--json", cwd=place, expect=0).json == []
    assert beatctl("doctor", "--json", cwd=place, expect=0).json["server"] is None


def test_a_home_that_cannot_be_written_is_told(beatctl: Beatctl, place: Path) -> None:
    (place / "taken").write_text("")
    (place / "project").mkdir()
    done = beatctl(*RETRY, cwd=place / "project", env={"BEATCTL_HOME": str(place / "taken")}, expect=3)
    assert "BEATCTL_HOME" in done.stderr
    assert "Traceback" not in done.stderr


# What no loop can begin with, and what happens while one runs


class Project(Repository):
    """A repository with work in progress of every sort."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        folder.parent.mkdir(parents=True)
        super().__init__(folder, environ)
        self.write("stashed.txt", "x\n")
        self.git("stash", "-u", "-q")
        self.write("mine.txt", "mine\n", 0o640)
        self.write("ignored/dep.js", "dependency\n")

    def look(self) -> list[Any]:
        """All that a user would find changed, but for what the loop keeps."""
        looks = [["log", "--format=%H %d", "--branches", "--tags"], ["stash", "list"], ["config", "-l", "--local"]]
        looks += [["branch", "-a"], ["tag"], ["reflog"], ["diff", "--cached"]]
        files = {name: found for name, found in _files(self.folder).items() if not name.startswith(".git/")}
        hooks = sorted(path.name for path in (self.folder / ".git/hooks").iterdir())
        return [[self.git(*words) for words in looks], files, hooks]


def _processes_with(variable: str) -> list[int]:
    """Processes that have this in their environment (Linux; elsewhere none)."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if variable.encode() in file.read_bytes().split(b"\0"):
                found.append(int(file.parent.name))
    return found


class Run:
    """A loop that ran to its end in a project of its own, and what was there before and after."""

    def __init__(self, beatctl: Beatctl, folder: Path, evaluator: str, agent: str, words: Sequence[str]) -> None:
        project = Project(folder / "repo", beatctl.environ)
        script = folder / "eval.sh"
        script.write_text(evaluator)
        self.before = project.look()
        spec = ("lower n", "--eval", f"sh {script}", *words, "-a", project.agent(f"touch {folder}/ran\n{agent}"))
        self.done = beatctl("start", *spec, "--json", cwd=project.folder)
        self.ran = (folder / "ran").exists()
        self.ended = project.look()
        self.loop = self.done.json["id"] if self.done.stdout else ""
        self.undone: list[Any] = []
        self.rows: list[Any] = []
        if self.loop:
            self.rows = beatctl("show", self.loop, "--json", cwd=folder, expect=0).json
            beatctl("undo", self.loop, cwd=folder, expect=0)
            self.undone = project.look()
        self.left = _processes_with(f"BEATCTL_LOOP={self.loop}")

    def text(self) -> str:
        return f"{self.done}\n{self.rows}"


@pytest.fixture(scope="module")
def baselines(
    base: Path, pool: ThreadPoolExecutor, shared_beatctl: Beatctl, request: pytest.FixtureRequest
) -> Mapping[str, Future[Run]]:
    def run(name: str) -> Run:
        row: Baseline = BASELINE[name]
        return Run(shared_beatctl, base / f"b{list(BASELINE).index(name)}", row.evaluator, "true", row.words)

    return _begun(pool, request, "baselines", run)


@pytest.mark.parametrize("name", BASELINE)
def test_an_evaluator_that_gives_no_score_is_told_before_any_agent_runs(
    baselines: Mapping[str, Future[Run]], name: str
) -> None:
    run = baselines[name].result()
    assert run.done.exit_code == 3, run.done
    assert (run.done.json["outcome"], run.done.json["reason"]) == ("failed", "no-baseline")
    assert BASELINE[name].said in run.done.stderr
    assert not run.ran, "an agent ran"
    assert run.ended == run.before


@pytest.fixture(scope="module")
def runs(
    base: Path, pool: ThreadPoolExecutor, shared_beatctl: Beatctl, request: pytest.FixtureRequest
) -> Mapping[str, Future[Run]]:
    def run(name: str) -> Run:
        row: Running = RUNNING[name]
        evaluator = f'if [ "$(cat n)" = 40 ]; then {row.evaluator}\nelse cat n; fi\n'
        words = ("--minimize", "-n", str(len(row.verdicts.split())), *row.words)
        return Run(shared_beatctl, base / f"w{list(RUNNING).index(name)}", evaluator, row.agent, words)

    return _begun(pool, request, "runs", run)


@pytest.mark.parametrize("name", RUNNING)
def test_whatever_they_do_while_it_runs_has_its_verdict_and_harms_nothing(
    runs: Mapping[str, Future[Run]], name: str
) -> None:
    row, run = RUNNING[name], runs[name].result()
    verdicts = row.verdicts.split()
    kept = verdicts[-1] == "keep"
    assert run.done.exit_code == (0 if kept else 1), run.done
    assert [one["verdict"] for one in run.rows] == ["baseline", *verdicts], run.text()
    assert row.reason in (run.rows[1]["summary" if verdicts[0] == "keep" else "reason"] or ""), run.text()
    assert "Traceback" not in run.done.stderr
    files = run.ended[1]
    assert files["n"][0] == (b"40\n" if kept else b"50\n")
    assert files["ignored/dep.js"][0] == b"dependency\n"
    assert (run.ended[0], run.ended[2]) == (run.before[0], run.before[2])  # the repository is the user's
    assert run.undone == run.before
    assert run.left == [], "processes of it go on"


def test_a_folder_that_a_loop_uses_is_refused_to_another(shared_beatctl: Beatctl, base: Path) -> None:
    project = Project(base / "used" / "repo", shared_beatctl.environ)
    (project.folder / "part").mkdir()
    marker = base / "used" / "began"
    agent = project.agent(f"touch {marker}; sleep 300")
    words = ("start", "x", "--until", "false", "-a", agent, "-d", "--json")
    loop = shared_beatctl(*words, cwd=project.folder, expect=0).json["id"]
    wait_until(marker.exists, "the agent")
    before = project.look()
    for folder in (project.folder, project.folder / "part"):
        done: Done = shared_beatctl(*RETRY, cwd=folder, expect=2)
        said = f"Loop {loop} is using this folder: beatctl watch {loop}, or add --worktree.\n"
        assert (done.stdout, done.stderr) == ("", said)
    assert project.look() == before
    shared_beatctl("cancel", loop, cwd=base, expect=0)
