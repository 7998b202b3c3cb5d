"""The user's own program as an agent: what it says, however it says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from beatctl.activities.agents import AgentOutcome, AgentSpec, read_outcome

AGENT = AgentSpec(kind="command", name="agent.sh", argv=["./agent.sh", "{prompt}"])


def read(
    folder: Path, stdout: bytes = b"", stderr: bytes = b"", exit_code: int | None = 0, signal: int | None = None
) -> AgentOutcome:
    (folder / "stdout").write_bytes(stdout)
    (folder / "stderr").write_bytes(stderr)
    return read_outcome(AGENT, folder / "stdout", folder / "stderr", exit_code, signal, folder / "none")


@pytest.mark.parametrize(
    ("stdout", "summary"),
    [
        (b"", ""),
        (b"\n \n", ""),
        (b"reading\nlowered n to 4\n\n", "lowered n to 4"),
        (b"lowered n", "lowered n"),
        (b"10%\r50%\r100% done\r\n", "100% done"),
        (b"\x1b[32mlowered\x1b[0m  n\x1b]8;;http://x\x07!\n", "lowered n!"),
        (b"caf\xe9 \xff\n", "caf\ufffd \ufffd"),
    ],
)
def test_the_last_line_is_the_summary(tmp_path: Path, stdout: bytes, summary: str) -> None:
    outcome = read(tmp_path, stdout)
    assert (outcome.ok, outcome.kind, outcome.error, outcome.summary) == (True, "done", None, summary)


def test_a_long_last_line_is_cut(tmp_path: Path) -> None:
    assert len(read(tmp_path, b"word " * 10_000).summary) <= 2000


def test_fifty_megabytes_have_a_last_line(tmp_path: Path) -> None:
    assert read(tmp_path, b"noise\n" * 9_000_000 + b"done").summary == "done"


def test_a_failure_tells_how_it_ended_and_the_last_words_on_standard_error(tmp_path: Path) -> None:
    outcome = read(tmp_path, b"trying\n", b"a\nb\nTraceback:\n  oh\nno\n", exit_code=7)
    assert (outcome.ok, outcome.kind) == (False, "failed")
    assert outcome.error == "agent.sh exited with 7: Traceback: oh no"
    assert outcome.summary == "trying"
    assert read(tmp_path, b"only this\n", exit_code=1).error == "agent.sh exited with 1: only this"
    assert read(tmp_path, exit_code=1).error == "agent.sh exited with 1"
    assert read(tmp_path, exit_code=None, signal=9).error == "agent.sh was ended by SIGKILL"
    assert read(tmp_path, exit_code=None, signal=63).error == "agent.sh was ended by signal 63"


def test_a_program_that_is_gone_is_told_from_a_script_that_misses_one(tmp_path: Path) -> None:
    assert read(tmp_path, exit_code=127).kind == "missing"
    script = read(tmp_path, stderr=b"agent.sh: line 3: jq: command not found\n", exit_code=127)
    assert script.kind == "failed"
    assert script.error == "agent.sh exited with 127: agent.sh: line 3: jq: command not found"


def test_files_that_are_not_there_are_no_crash(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    assert read_outcome(AGENT, nothing, nothing, 0, None, nothing).ok
