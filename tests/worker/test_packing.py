"""What old iterations printed lies compressed, and nobody who reads it notices."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from beatctl.activities import packed
from beatctl.activities.agents.output import events, last_lines
from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.activities.prompt import tail
from beatctl.activities.records import State, Status
from beatctl.worker.packing import NEWEST, Packer, pack_iteration
from tests.loops.conftest import Loops, Repository
from tests.support import Beatctl, wait_until

TEXT = "".join(f'{{"line": {number}}}\n' for number in range(3000)).encode() + b"the end \xff\n"


def test_whoever_reads_finds_the_same_before_and_after(tmp_path: Path) -> None:
    file, small = tmp_path / "agent.1.stdout", tmp_path / "agent.1.stderr"
    file.write_bytes(TEXT)
    small.write_bytes(b"x" * (packed.LEAST - 1))
    os.utime(file, (1.0, 1.0))

    def read() -> list[object]:
        with packed.opened(file) as stream:
            whole = stream.read()
        return [
            whole,
            packed.tail(file, 20),
            packed.tail(file, 1 << 20),
            last_lines(file),
            tail(file, 9),
            len([*events(file)]),
        ]

    before = read()
    for path in (file, small, file):
        packed.pack(path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.1.stderr", "agent.1.stdout.gz"]
    assert packed.place_of(file) == tmp_path / "agent.1.stdout.gz"
    assert packed.place_of(file).stat().st_size < len(TEXT) / 5
    assert packed.place_of(file).stat().st_mtime == 1.0
    assert read() == before
    assert packed.tail(tmp_path / "none", 9) == b""
    with pytest.raises(FileNotFoundError, match=r"none'$"):
        packed.opened(tmp_path / "none")


_KILLED = """
import os, signal, sys
from pathlib import Path
from beatctl.activities.packed import pack
import gzip
def hook(event, _):
    if event == os.environ["AT"]:
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
pack(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("moment", ["os.utime", "os.rename", "os.remove"])
def test_nothing_is_lost_by_a_kill_in_between(tmp_path: Path, moment: str) -> None:
    file = tmp_path / "agent.1.stdout"
    file.write_bytes(TEXT)
    line = [sys.executable, "-I", "-c", _KILLED, str(file)]
    killed = subprocess.run(line, env={**os.environ, "AT": moment}, check=False)
    assert killed.returncode == -signal.SIGKILL
    with packed.opened(file) as stream:
        assert stream.read() == TEXT
    pack_iteration(tmp_path)
    assert gzip.decompress((tmp_path / "agent.1.stdout.gz").read_bytes()) == TEXT
    pack_iteration(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["agent.1.stdout.gz"]


def _loop(home: Home, loop: str, state: State, last: int) -> None:
    status = Status(id=loop, goal="x", strategy="retry", state=state, directory="/", iteration=last, version=last)
    ledger = Ledger(home.ledger)
    if not ledger.add_loop(status, "{}", 1.0):
        ledger.write(status)
    for number in range(last + 2):  # the last of them has no row yet
        folder = home.loop(loop).iteration(number)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "agent.1.stdout.gz").exists():
            (folder / "agent.1.stdout").write_bytes(TEXT)
            (folder / "agent.1.jsonl").write_bytes(TEXT)


def _packed(home: Home, loop: str) -> list[int]:
    found = home.loop(loop).runs.glob("*/agent.1.stdout.gz")
    assert len([*home.loop(loop).runs.glob("*/agent.1.jsonl")]) == len([*home.loop(loop).runs.glob("[0-9]*")])
    return sorted(int(path.parent.name) for path in found)


def test_the_newest_iterations_of_a_loop_that_goes_on_stay_as_they_are(tmp_path: Path) -> None:
    home = Home(tmp_path)
    packer = Packer(home)
    _loop(home, "goes", "running", NEWEST + 2)
    _loop(home, "over", "finished", 3)
    _loop(home, "small", "paused", 2)
    packer.look()
    assert _packed(home, "goes") == [0, 1, 2]
    assert _packed(home, "over") == [0, 1, 2, 3, 4]
    assert _packed(home, "small") == []
    _loop(home, "goes", "running", NEWEST + 4)
    packer.look()
    assert _packed(home, "goes") == [0, 1, 2, 3, 4]
    # An iteration that was interrupted by the end gives its number to the next one
    _loop(home, "over", "finished", 3)
    (home.loop("over").iteration(4) / "agent.1.stdout").write_bytes(TEXT)
    Packer(home).look()
    assert not (home.loop("over").iteration(4) / "agent.1.stdout").exists()


def test_the_worker_compresses_what_ended_loops_printed(beatctl: Beatctl, place: Path) -> None:
    repo = Repository(place / "repo", beatctl.environ)
    loops = Loops(beatctl, repo)
    agent = repo.agent("echo $((50 - i)) > n; seq 3000; echo the end of $i; seq 3000 >&2; echo oops >&2")
    evaluator = "seq 9000; cat n"
    words = ("lower n", "--eval", evaluator, "--minimize", "-a", agent, "-n", "2")
    loop = loops.start(*words, expect=0)["id"]
    runs = beatctl.home / "loops" / loop / "runs"
    looks = [("logs", loop, "1"), ("show", loop, "1"), ("show", loop, "1", "--prompt"), ("logs", loop, "-f")]
    before = [beatctl(*words, cwd=repo.folder, expect=0).stdout for words in looks]
    beatctl("down", cwd=repo.folder, expect=0)
    beatctl("up", "-d", cwd=repo.folder, expect=0)  # it looks when it starts
    names = (
        "1/agent.1.stdout.gz",
        "1/agent.1.stderr.gz",
        "1/evaluator.1.stdout.gz",
        "0/evaluator.1.stdout.gz",
        ".packed",
    )
    wait_until(lambda: all((runs / name).exists() for name in names), "the compressed files")
    assert not (runs / "1" / "agent.1.stdout").exists()
    after = [beatctl(*words, cwd=repo.folder, expect=0).stdout for words in looks]
    assert [text.replace(".gz", "") for text in after] == [text.replace(".gz", "") for text in before]
    listed = beatctl("logs", loop, "1", "--json", cwd=repo.folder, expect=0).json
    assert all(Path(run["stdout"]).exists() for run in listed)
    loops.do("resume", loop, "-n", "+1")
    assert "8999\n9000\n48" in (runs / "3" / "agent.prompt.md").read_text()  # what the evaluator said last
