"""A loop that runs, on a terminal: started, paused, noted, left, found again and cancelled by keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.terminal import Terminal
from tests.support import Beatctl, wait_until

AGENT = """\
#!/bin/sh
echo "looking at n"
while [ ! -e ../go ]; do sleep 0.05; done
rm ../go
echo $(($(cat n) - 1)) > n
echo "took one off"
"""


class Project:
    """A folder with a file to make smaller, and an agent that waits until it is let go on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        (self.folder / "n").write_text("50\n")
        self.agent = folder / "agent.sh"
        self.agent.write_text(AGENT)
        self.agent.chmod(0o755)
        self.go = folder / "go"

    def words(self) -> list[str]:
        return ["start", "lower n", "--eval", "cat n", "--minimize", "-n", "9", "--agent", str(self.agent)]

    def let_go(self) -> None:
        self.go.touch()
        wait_until(lambda: not self.go.exists(), "the agent to go on")


@pytest.fixture
def project(place: Path) -> Project:
    return Project(place)


@pytest.fixture
def terminal(shared_beatctl: Beatctl, project: Project) -> Iterator[Terminal]:
    opened = Terminal.running(shared_beatctl, *project.words(), cwd=project.folder)
    yield opened
    opened.close()
    shared_beatctl("cancel", _loop(shared_beatctl, project), cwd=project.folder, expect=[0, 2])


def _loop(beatctl: Beatctl, project: Project) -> str:
    return str(beatctl("status", "--json", cwd=project.folder, expect=0).json["id"])


def test_a_loop_is_followed_and_led_by_keys(shared_beatctl: Beatctl, project: Project, terminal: Terminal) -> None:
    terminal.until_line("| looking at n")
    project.let_go()
    lines = terminal.until_line("49 #1 (-2.0%)")
    assert any(line.split()[:4] == ["#1", "keep", "49", "-2.0%"] and "took one off" in line for line in lines)

    terminal.type("n")
    terminal.until_line("note: _")
    terminal.type("try 2 at once\n")
    terminal.until_line("Noted: every prompt carries it")
    terminal.type("p")
    lines = terminal.until_line("pausing")
    assert "r resume" in lines[-1] or any("r resume" in line for line in lines)
    project.let_go()
    terminal.until_line("paused: as asked")
    loop = _loop(shared_beatctl, project)
    status = shared_beatctl("status", "--json", cwd=project.folder, expect=0).json
    assert (status["state"], status["iteration"]) == ("paused", 2)
    assert [note["text"] for note in status["notes"]] == ["try 2 at once"]
    terminal.type("r")
    terminal.until_line("#3 agent.sh")

    terminal.type("q")
    assert terminal.ended() == 130
    assert terminal.is_given_back
    assert f"{loop} goes on" in terminal.said_since()

    again = Terminal.running(shared_beatctl, "watch", loop, cwd=project.folder)
    try:
        again.until_line("| looking at n")
        again.hang_up()  # the window is closed
        assert again.ended() == 130
    finally:
        again.close()
    assert shared_beatctl("status", "--json", cwd=project.folder, expect=0).json["state"] == "running"

    last = Terminal.running(shared_beatctl, "watch", cwd=project.folder)
    try:
        last.until_line("#3 agent.sh")
        last.type("x")
        last.until_line(f"Cancel {loop} now?")
        last.type("n")
        last.until_line("x cancel")
        last.type("x")
        last.until_line(f"Cancel {loop} now?")
        last.type("y")
        assert last.ended() == 4
        assert last.is_given_back
        assert f"{loop} cancelled" in last.said_since()
    finally:
        last.close()
    assert (project.folder / "n").read_text() == "48\n"


def test_in_the_foreground_leaving_cancels_the_loop(shared_beatctl: Beatctl, project: Project) -> None:
    terminal = Terminal.running(shared_beatctl, *project.words(), "--foreground", cwd=project.folder)
    try:
        lines = terminal.until_line("| looking at n")
        assert any("x cancel" in line and "q detach" not in line for line in lines)
        terminal.type("\x03")
        assert terminal.ended() == 4
        assert terminal.is_given_back
        assert "Cancelling" in terminal.said_since()
    finally:
        terminal.close()
    status = shared_beatctl("status", "--json", cwd=project.folder, expect=0).json
    assert status["outcome"] == "cancelled"


def test_a_start_by_a_script_on_a_terminal_says_lines_as_ever(shared_beatctl: Beatctl, project: Project) -> None:
    project.go.touch()
    words = [*project.words(), "-n", "1", "--json"]
    terminal = Terminal.running(shared_beatctl, *words, cwd=project.folder)
    try:
        assert terminal.ended() == 0
        assert b"\x1b[?1049h" not in terminal.written
        assert b"took one off" in terminal.written
    finally:
        terminal.close()
