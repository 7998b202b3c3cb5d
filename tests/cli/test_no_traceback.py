"""Whatever the machine does to it, a command says so in words and ends with a code."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Status
from beatctl.worker import crashes
from tests.support import Beatctl, Done

LOOKING = ("", "list", "status", "show", "doctor", "down")


@pytest.fixture
def kept(beatctl: Beatctl, place: Path) -> Beatctl:
    """A home with one loop, whose goal is no ASCII."""
    loop = Status(id="k3f9", goal="修复 it 🙂", strategy="retry", state="paused", directory=str(place))
    Ledger(beatctl.home / "ledger.db").add_loop(loop, "{}", 1.0)
    return beatctl


def shell(beatctl: Beatctl, line: str, cwd: Path, **env: str) -> Done:
    """Run a line of sh in which `beatctl` is the command."""
    line = line.replace("beatctl", shlex.quote(str(beatctl.program)))
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=cwd,
        env={**beatctl.environ, **env},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def crash_files(beatctl: Beatctl) -> list[Path]:
    return sorted((beatctl.home / "logs").glob("crash-*"))


@pytest.mark.parametrize("command", LOOKING)
def test_a_damaged_ledger_is_told_with_what_to_do(beatctl: Beatctl, place: Path, command: str) -> None:
    beatctl.home.mkdir()
    (beatctl.home / "ledger.db").write_bytes(b"this is no database at all\n" * 50)
    done = beatctl(*command.split(), cwd=place)
    assert done.exit_code == (0 if command in ("doctor", "down") else 3)
    if command != "down":  # which ends what runs all the same
        assert f"The ledger {beatctl.home}/ledger.db is damaged: file is not a database. Move it away" in (
            done.stdout + done.stderr
        )
    assert "Error" not in done.stderr
    assert crash_files(beatctl) == []


@pytest.mark.parametrize("command", [*LOOKING, "up -d", "worker"])
def test_a_home_that_is_a_file_is_told(beatctl: Beatctl, place: Path, command: str) -> None:
    taken = place / "taken"
    taken.write_text("mine\n")
    done = beatctl(*command.split(), cwd=place, env={"BEATCTL_HOME": str(taken)})
    assert done.exit_code == (0 if command in ("doctor", "down") else 3)
    if command != "down":
        assert f"{taken} is a file, and beatctl keeps its things in a folder" in done.stdout + done.stderr
    assert "Error" not in done.stderr
    assert taken.read_text() == "mine\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everywhere")
def test_a_home_of_another_user_is_told(kept: Beatctl, place: Path) -> None:
    kept.home.chmod(0o000)
    try:
        done = kept("list", cwd=place, expect=3)
    finally:
        kept.home.chmod(0o700)
    assert "permission denied" in done.stderr
    assert "Make that folder writable" in done.stderr


def test_a_full_disk_below_the_output_is_told(kept: Beatctl, place: Path) -> None:
    for command in ("", "list", "status", "list --json", "--help", "completion bash"):
        done = shell(kept, f"beatctl {command} > /dev/full", place)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.endswith("The output can't be written: no space left on device.\n"), command
    assert crash_files(kept) == []


def test_streams_that_are_closed_or_left_are_no_error(kept: Beatctl, place: Path) -> None:
    for command in ("", "list", "status", "list --json", "--help", "show"):
        for streams in (">&-", ">&- 2>&-", "<&-", "| head -1", "| true"):
            said = shell(kept, f"beatctl {command} {streams}", place).stderr
            assert "Error" not in said, (command, streams)
            assert "Exception" not in said, (command, streams)
    assert crash_files(kept) == []


@pytest.mark.parametrize("locale", [{"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, {"LC_ALL": "C"}])
def test_a_locale_without_unicode_shows_what_it_can(kept: Beatctl, place: Path, locale: dict[str, str]) -> None:
    for command in ("", "list", "status", "--help"):
        done = shell(kept, f"beatctl {command}", place, **locale)
        assert done.exit_code == 0, done
    assert "k3f9" in shell(kept, "beatctl list", place, **locale).stdout


def test_bytes_that_are_no_text_are_refused_in_words(kept: Beatctl, place: Path) -> None:
    odd = "\"$(printf '\\377x')\""
    for command in (f"status {odd}", f"{odd}", f"start {odd} --until true", f"start x --{odd}", f"set k3f9 -n {odd}"):
        done = shell(kept, f"beatctl {command}", place)
        assert (done.exit_code, done.stdout) == (2, ""), command
        assert "Error" not in done.stderr, command
    assert crash_files(kept) == []


def test_a_folder_that_is_gone_is_told(kept: Beatctl, place: Path) -> None:
    for command, code in (("status", 2), ("diff", 2), ("list", 0), ("", 0), ("status k3f9", 0)):
        gone = place / "gone"
        gone.mkdir()
        done = shell(kept, f"rmdir ../gone; beatctl {command}", gone)
        assert done.exit_code == code, done
        if code:
            assert done.stderr.startswith("The folder you are in is gone: change to another")
    assert crash_files(kept) == []


@pytest.mark.parametrize(
    "module", ["beatctl.cli.app", "typer", "beatctl.cli.listing", "beatctl.activities.ledger", "pydantic"]
)
def test_ctrl_c_while_it_starts_ends_it_without_a_word_of_python(kept: Beatctl, place: Path, module: str) -> None:
    probe = (
        "import os, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == os.environ['AT']:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from beatctl.cli.entry import main\n"
        "sys.argv = ['beatctl', 'list']\n"
        "main()\n"
    )
    line = [sys.executable, "-I", "-c", probe]
    env = {**kept.environ, "AT": module}
    done = subprocess.run(line, cwd=place, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    assert crash_files(kept) == []


def test_what_fails_in_the_background_leaves_a_file_and_says_where(beatctl: Beatctl, place: Path) -> None:
    for module, name in (("worker.main", "worker"), ("worker.supervisor", "supervisor")):
        line = [sys.executable, "-I", "-m", f"beatctl.{module}", "--home", str(beatctl.home), "--connection"]
        broken = '{"label": 5}' if name == "supervisor" else '{"address": "x"}'
        done = subprocess.run([*line, broken], cwd=place, env=beatctl.environ, capture_output=True, text=True)
        assert done.returncode == 1, done.stderr
        assert f"beatctl's {name} failed (" in done.stderr
        assert "Traceback" not in done.stderr
        [kept] = [path for path in crash_files(beatctl) if str(path) in done.stderr]
        assert "Traceback" in kept.read_text()


def test_files_of_what_failed_do_not_pile_up(tmp_path: Path) -> None:
    for number in range(crashes.KEPT + 5):
        (tmp_path / f"crash-20200101-0000{number:02}-1.txt").write_text("")
    newest = crashes.write(ValueError("x"), tmp_path)
    left = sorted(tmp_path.iterdir())
    assert len(left) == crashes.KEPT
    assert newest in left
