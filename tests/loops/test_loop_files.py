"""Loops that are started from files: what `init` wrote runs as it stands, and the strongest place holds."""

from __future__ import annotations

from pathlib import Path

from tests.loops.conftest import Loops


def uncommented(path: Path, **values: str) -> None:
    """Put these keys in force, as a person would in an editor."""
    lines = path.read_text().splitlines()
    for name, value in values.items():
        [at] = [number for number, line in enumerate(lines) if line.startswith(f"# {name} = ")]
        lines[at] = f"{name} = {value}"
    path.write_text("\n".join(lines) + "\n")


def test_a_written_loop_file_runs_and_each_setting_comes_from_where_it_should(loops: Loops) -> None:
    repository = loops.repository
    loops.beatctl("init", cwd=repository.folder, expect=0)
    agent = repository.agent('echo "$((50 - i))" > n')
    path = repository.folder / "loop.toml"
    uncommented(
        path,
        goal='"count down"',
        until="'test \"$(cat n)\" -le 48'",
        agent=f"'{agent}'",
        max_iterations="7",
        max_failures="7",
        max_unchanged="7",
    )
    (repository.folder / "beatctl.toml").write_text('max_failures = 8\nplateau = 5\neval_timeout = "1m"\n')
    env = {"BEATCTL_MAX_FAILURES": "6", "BEATCTL_MAX_UNCHANGED": "6"}
    status = loops.start("-f", "loop.toml", "--max-unchanged", "5", expect=0, env=env)
    assert (status["goal"], status["outcome"], status["iteration"]) == ("count down", "reached", 2)
    limits = {name: status["limits"][name] for name in ("max_iterations", "max_failures", "max_unchanged")}
    assert limits == {"max_iterations": 7, "max_failures": 6, "max_unchanged": 5}
    assert (status["limits"]["eval_timeout_s"], status["limits"]["plateau"]) == (60, 0)
    [told] = [line for line in status["said"].splitlines() if line.startswith("Settings from")]
    assert told == (
        "Settings from BEATCTL_MAX_FAILURES=6; loop.toml: goal, until, max-iterations, agent; "
        "./beatctl.toml: eval-timeout 1m"
    )


def test_a_flag_turns_a_files_loop_into_another_kind(loops: Loops) -> None:
    repository = loops.repository
    repository.write("steps/loop.toml", 'steps = ["one", "two"]\neval = "cat n"\nminimize = true\ndirectory = ".."\n')
    agent = repository.agent("echo 7 > n")
    words = ("-f", "steps/loop.toml", "--until", "grep -q 7 n", "--agent", agent)
    status = loops.start(*words, expect=0)
    assert (status["strategy"], status["outcome"], status["goal"]) == ("retry", "reached", "one → two")
    assert Path(status["directory"]) == repository.folder
    assert len(loops.rows(status["id"])[1]["agent"]["steps"]) == 2
