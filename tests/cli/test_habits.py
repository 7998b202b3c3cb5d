"""What people's fingers know from elsewhere: understood, or answered with beatctl's own way; never taken wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest

from beatctl.cli import habits
from beatctl.cli.app import COMMANDS, every_command, made
from beatctl.cli.limit_options import TypedLimits, changed_limits
from beatctl.cli.problems import Usage
from tests.support import Beatctl

FLAGS = {"-C": True, "--until": True, "--branch": True, "--max-failures": True, "-d": False, "-f": True}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["loop", "fix it", "--until", "x"], ["start", "fix it", "--until", "x"]),
        (["loop", "status", "k3f9"], ["status", "k3f9"]),
        (["loop", "list"], ["list"]),
        (["loop"], ["start"]),
        (["ls", "--json"], ["list", "--json"]),
        (["help"], ["--help"]),
        (["help", "start"], ["start", "--help"]),
        (["start", "run"], ["start", "run"]),
        (["--version"], ["--version"]),
        ([], []),
    ],
)
def test_commands_of_another_name_are_understood(typed: list[str], meant: list[str]) -> None:
    assert habits.command(typed, COMMANDS) == meant


@pytest.mark.parametrize("word", ["run", "pipeline", "orchestrate", "dashboard", "migrate", "config"])
def test_commands_that_are_not_there_get_a_hint(word: str) -> None:
    with pytest.raises(Usage, match=f"^beatctl {word}: "):
        habits.command([word, "x"], COMMANDS)
    assert habits.command([word, "x"], {word}) == [word, "x"], "beatctl's own command comes first"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["g", "-w", "/a", "-d"], ["g", "-C", "/a", "-d"]),
        (["--working-directory", "/a", "g"], ["-C", "/a", "g"]),
        (["--working-directory=/a=b"], ["-C", "/a=b"]),
        (["--git-branch", "try"], ["--branch", "try"]),
        (["--max-consecutive-failures", "5"], ["--max-failures", "5"]),
        (["--until", "-w", "g"], ["--until", "-w", "g"]),
        (["--until=x", "-w", "a"], ["--until=x", "-C", "a"]),
        (["-w", "--priority"], ["-C", "--priority"]),
        (["-w"], ["-C"]),
        (["--", "-w", "--eval-mode"], ["--", "-w", "--eval-mode"]),
        (["-d", "-w", "a"], ["-d", "-C", "a"]),
        (["-d", "--checkpoint", "g"], ["-d", "--memory", "last", "g"]),
        (["--unknown", "x"], ["--unknown", "x"]),
    ],
)
def test_flags_of_another_name_are_understood_and_values_are_left_alone(typed: list[str], meant: list[str]) -> None:
    assert habits.flags("start", typed, FLAGS) == (meant, [])


@pytest.mark.parametrize(
    ("name", "flag", "way"),
    [
        ("start", "--eval-mode", "--until"),
        ("start", "--eval-type=judge", "--eval"),
        ("start", "--judge-agent", "--until"),
        ("start", "--strategy", "--eval looks for the best score"),
        ("start", "--system-prompt", "CLAUDE.md"),
        ("start", "-p", "one folder has one loop"),
        ("list", "--status", "beatctl list --json"),
        ("status", "--history", "beatctl show"),
        ("pause", "--force", "beatctl cancel"),
        ("resume", "--context", "beatctl note"),
        ("logs", "--tail", "tail -n 100"),
    ],
)
def test_flags_that_are_not_there_get_a_hint(name: str, flag: str, way: str) -> None:
    with pytest.raises(Usage) as error:
        habits.flags(name, ["x", flag, "y"], {"-C": True})
    assert way in error.value.text
    assert "\n" not in error.value.text
    known = {flag.partition("=")[0]: True}
    assert habits.flags(name, ["x", flag, "y"], known)[0] == ["x", flag, "y"], "beatctl's own flag comes first"


def test_the_last_of_two_holds_but_for_commands_that_may_both_be_meant() -> None:
    known = {"--until": True, "-n": True}
    assert habits.flags("start", ["-n", "3", "-n", "5"], known)[0] == ["-n", "3", "-n", "5"]
    for words in (["--until", "a", "x", "--until", "b"], ["--until=a", "--until=b"]):
        with pytest.raises(Usage, match=r'is there twice.*: --until "first && second"'):
            habits.flags("start", words, known)
    assert habits.flags("start", ["--until", "--until"], known)[0] == ["--until", "--until"]


def test_a_needless_flag_is_left_out_with_a_word() -> None:
    words, said = habits.flags("cancel", ["k3f9", "--cancel-tasks"], {"--json": False})
    assert words == ["k3f9"]
    assert said == ["cancel always ends what runs: --cancel-tasks is not needed."]


def test_a_bare_cooldown_is_milliseconds_and_bare_timeouts_say_so() -> None:
    assert changed_limits(TypedLimits(cooldown="5000")) == {"cooldown_s": 5.0}
    with pytest.raises(ValueError, match="--eval-timeout 60000 needs a unit: 60000ms, 60000s or 60000m"):
        changed_limits(TypedLimits(eval_timeout="60000"))


def test_habits_are_understood_by_the_command_and_clutter_no_help(beatctl: Beatctl, place: Path) -> None:
    project = place / "project"
    project.mkdir()
    done = beatctl("loop", "x", "--until", "true", "-w", "gone", cwd=project, expect=2)
    assert "There is no folder gone." in done.stderr
    assert beatctl("ls", "--json", cwd=project, expect=0).json == []
    done = beatctl("start", "x", "--eval-mode", "agent", cwd=project, expect=2)
    assert done.stdout == ""
    assert done.stderr.splitlines()[1:] == ["Help: beatctl start --help"]
    for typed, meant in (
        (("strat",), "Did you mean start"),
        (("start", "x", "--maxiterations", "3"), "mean --max-iterations?"),
    ):
        [said, _] = beatctl(*typed, cwd=project, expect=2).stderr.splitlines()
        assert meant in said
    helps = beatctl("--help", cwd=project, expect=0).stdout + beatctl("start", "--help", cwd=project, expect=0).stdout
    for word in ("--working-directory", "--git-branch", "--checkpoint", "--eval-mode", "  loop ", "  ls "):
        assert word not in helps
    assert not beatctl.home.exists()


def test_no_habit_stands_in_the_way_of_a_flag_of_our_own() -> None:
    for name in every_command():
        own = {flag for param in made(name).params for flag in (*param.opts, *param.secondary_opts)}
        words, said = habits.flags(name, sorted(own), dict.fromkeys(own, False))
        assert (words, said) == (sorted(own), [])
