"""The live view on a real terminal: what it shows, at what cost, and that the terminal is given back in every case."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.records import Mark
from beatctl.cli.live.seen import Watched
from beatctl.cli.loops import Loops
from tests.live.conftest import Open, WrittenLoop, row
from tests.live.terminal import Terminal
from tests.support import Beatctl

EDIT = {"type": "tool_use", "name": "Edit", "input": {"file_path": "src/range.ts"}}
DETACHED = 130


def message(block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "assistant", "message": {"content": [block]}}


def test_the_view_follows_the_loop_and_the_size_of_the_window(
    beatctl: Beatctl, written: WrittenLoop, terminals: Open
) -> None:
    terminal = terminals(beatctl, "watch", "k3f9", cwd=written.project)
    lines = terminal.until_line("q detach")
    assert lines[0].startswith(" k3f9  lower n")
    assert "running" in lines[0]
    assert any(line.startswith(" #0  baseline") for line in lines)
    terminal.until_line("beatctl was shut down")

    stdout = written.runs(1, message(EDIT)).stdout
    terminal.until_line("| editing src/range.ts")
    terminal.until_line("#1 claude")
    with stdout.open("a") as file:
        file.write('{"type": "assistant", "message": {"content": [{"type": "text", "text": "Now 日本語 🎉"}]}}\n')
    terminal.until_line("| Now")

    rows = [row(number, "keep", 50.0 - number, summary=f"step {number} " + "long " * 30) for number in range(1, 40)]
    written.write(*rows, iteration=39, kept=39, best=Mark(iteration=39, score=11.0))
    terminal.until_line("#39  keep")
    for columns, height in ((100, 30), (61, 12), (160, 50), (79, 9), (30, 5), (80, 24)):
        terminal.resize(columns, height)
        shown = terminal.until(_whole(columns, height), f"a whole frame at {columns}x{height}")
        assert len(shown) == height
    written.write(state="paused", reason="asked")
    lines = terminal.until_line("paused: as asked")
    assert "r resume" in lines[-1]

    written.write(state="finished", outcome="improved", reason="stopped")
    assert terminal.ended() == 0
    assert terminal.is_given_back
    after = terminal.said_since()
    assert after.index("k3f9  lower n") < after.index("#39  keep") < after.index("k3f9 improved (stopped)")
    assert "beatctl undo k3f9" in after
    assert "q detach" not in after


def _whole(columns: int, height: int) -> Any:
    """Whether the screen holds one frame and nothing of another."""

    def holds(lines: list[str]) -> bool:
        starts = [line[:6].strip() for line in lines]
        texts = [line for line in lines if line]
        full = height < 30
        cut = any(line.endswith("…") and len(line) in (columns, columns - 1) for line in lines)
        return (
            starts.count("k3f9") == 1
            and lines[0].startswith(" k3f9")
            and starts.count("iter") == 1
            and (len(texts) == height if full else True)
            and (cut or columns > 170)
            and all(line.startswith((" ", "       ")) for line in texts)
        )

    return holds


def test_what_has_not_changed_is_not_written_again(beatctl: Beatctl, written: WrittenLoop, terminals: Open) -> None:
    written.write(*(row(number, "discard", 60.0) for number in range(1, 20)), iteration=19)
    terminal = terminals(beatctl, "watch", "k3f9", cwd=written.project)
    terminal.until_line("beatctl was shut down")
    before = len(terminal.written)
    written.write(failures=2)
    terminal.until_line("failures 2/3")
    assert len(terminal.written) - before < 200
    terminal.type("q")
    assert terminal.ended() == DETACHED


@pytest.mark.parametrize("way", ["q", "\x03", signal.SIGTERM, signal.SIGHUP])
def test_leaving_gives_the_terminal_back_and_leaves_the_loop_alone(
    way: str | signal.Signals, beatctl: Beatctl, written: WrittenLoop, terminals: Open
) -> None:
    terminal = terminals(beatctl, "watch", "k3f9", cwd=written.project)
    terminal.until_line("q detach")
    assert terminal.modes_now() != terminal.modes
    assert not terminal.is_given_back
    if isinstance(way, str):
        terminal.type(way)
    else:
        terminal.process.send_signal(way)
    assert terminal.ended() == DETACHED
    assert terminal.is_given_back
    said = terminal.said_since()
    for words in ("goes on, and spends", "beatctl stop k3f9", "beatctl cancel k3f9"):
        assert words in said
    status = written.ledger.status("k3f9")
    assert status is not None
    assert status.state == "running"


def test_a_core_dump_is_asked_for_with_the_terminal_given_back(
    beatctl: Beatctl, written: WrittenLoop, terminals: Open
) -> None:
    terminal = terminals(beatctl, "watch", "k3f9", cwd=written.project)
    terminal.until_line("q detach")
    terminal.type("\x1c")
    assert terminal.ended() == -signal.SIGQUIT
    assert terminal.is_given_back


def test_a_terminal_that_vanishes_ends_the_command_and_not_the_loop(
    beatctl: Beatctl, written: WrittenLoop, terminals: Open
) -> None:
    terminal = terminals(beatctl, "watch", "k3f9", cwd=written.project)
    terminal.until_line("q detach")
    terminal.hang_up()
    assert terminal.ended() == DETACHED
    status = written.ledger.status("k3f9")
    assert status is not None
    assert status.state == "running"


def test_an_error_in_the_view_gives_the_terminal_back_too(
    beatctl: Beatctl, written: WrittenLoop, terminals: Open
) -> None:
    terminal = terminals(beatctl, "watch", "k3f9", cwd=written.project)
    terminal.until_line("q detach")
    written.ledger.remove_loop("k3f9")
    assert terminal.ended() == 2
    assert terminal.is_given_back
    assert "No loop k3f9" in terminal.said_since()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs a shell with job control")
def test_ctrl_z_gives_the_terminal_to_the_shell_and_fg_takes_it_again(beatctl: Beatctl, written: WrittenLoop) -> None:
    shell = Terminal(beatctl, ["bash", "--norc", "--noprofile", "-i"], written.project, PS1="ready> ")
    try:
        shell.until_line("ready>")
        shell.type(f"{beatctl.program} watch k3f9\n")
        shell.until_line("q detach")
        shell.type("\x1a")
        shell.until_written("Stopped")
        assert shell.is_first_screen
        shell.type("stty -a\n")
        shell.until_written(" icanon")
        assert b"-icanon" not in shell.written
        assert b"-echo " not in shell.written
        shell.type("bg; echo from the $((40 + 2)) shell\n")  # in the background it leaves the terminal alone
        shell.until_written("from the 42 shell")
        frames = shell.written.count(b"\x1b[?1049h")
        written.write(failures=2)
        shell.type("fg\n")
        shell.until_line("failures 2/3")
        assert shell.written.count(b"\x1b[?1049h") == frames + 1
        shell.type("\x03")
        shell.until_written("Detached")
        shell.type("exit\n")
        assert shell.ended() == DETACHED
        assert shell.is_given_back
    finally:
        shell.close()


@pytest.mark.parametrize(
    ("environ", "shows"),
    [
        ({"NO_COLOR": "1"}, "no colour"),
        ({}, "colour"),
        ({"TERM": "linux"}, "ascii"),
        ({"PYTHONIOENCODING": "ascii"}, "ascii"),
        ({"TERM": "dumb"}, "lines"),
        ({"CI": "true"}, "lines"),
    ],
)
def test_each_terminal_gets_what_it_can_show(
    environ: dict[str, str], shows: str, beatctl: Beatctl, written: WrittenLoop, terminals: Open
) -> None:
    written.write(row(1, "keep", 40.0, summary="é" * 99), iteration=1, best=Mark(iteration=1, score=40.0))
    terminal = terminals(beatctl, "watch", "k3f9", cwd=written.project, **environ)
    terminal.until_line("beatctl was shut down")
    written.write(row(2, "keep", 30.0), iteration=2, best=Mark(iteration=2, score=30.0))
    terminal.until_line("#2")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.ended() == DETACHED
    text = terminal.written.decode()
    assert ("\x1b[?1049h" in text) == (shows != "lines")
    assert ("\x1b[32m" in text) == (shows in ("colour", "ascii") or environ == {"CI": "true"})
    assert text.isascii() == ("PYTHONIOENCODING" in environ)
    assert ("█" in text) == (shows in ("colour", "no colour"))
    assert terminal.is_given_back


def test_all_loops_are_one_table_that_updates(beatctl: Beatctl, written: WrittenLoop, terminals: Open) -> None:
    other = WrittenLoop(beatctl, written.project, "m2x4")
    terminal = terminals(beatctl, "watch", "--all", cwd=written.project)
    lines = terminal.until_line("q leave")
    assert [line.split()[:2] for line in lines[1:3]] == [["k3f9", "running"], ["m2x4", "running"]]
    other.write(state="finished", outcome="improved", iteration=7)
    terminal.until(lambda lines: lines[2].split()[:2] == ["m2x4", "improved"], "the end of m2x4")
    terminal.type("q")
    assert terminal.ended() == 0
    assert terminal.is_given_back
    assert b"1 loop goes on" in terminal.written
    done = beatctl("watch", "--all", "--json", cwd=written.project, expect=0)
    assert {loop["id"] for loop in done.json} == {"k3f9", "m2x4"}
    assert "k3f9" in beatctl("watch", "--all", cwd=written.project, expect=0).stdout
    assert "--all" in beatctl("watch", "k3f9", "--all", cwd=written.project, expect=2).stderr


def test_a_night_of_experiments_is_read_once(beatctl: Beatctl, written: WrittenLoop) -> None:
    written.write(*(row(number, "discard", float(number)) for number in range(1, 5001)), iteration=5000)
    asked: list[str] = []
    loops = Loops(beatctl.environ)
    watched = Watched(loops, "k3f9", Path("/"))
    connection: sqlite3.Connection = loops.ledger._connection()
    seen = watched.look()
    assert (len(seen.bests), seen.latest[0].iteration, len(seen.latest)) == (5001, 5000, 200)
    connection.set_trace_callback(asked.append)
    assert watched.look().latest[0].iteration == 5000
    assert not any("json_extract" not in words and "from rows" in words for words in asked)
    written.write(row(5001, "keep", 1.0), row(5002, "crash"), iteration=5002)
    again = watched.look()
    assert [each.iteration for each in again.latest][:3] == [5002, 5001, 5000]
    assert list(again.bests[-3:]) == [50.0, 1.0, 1.0]
