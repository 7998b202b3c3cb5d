"""Completion, asked as the shells ask it: through their own scripts, in the shells that are here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from beatctl.activities.agents.registry import KNOWN
from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Status
from beatctl.cli.app import COMMANDS
from beatctl.cli.arguments import AGENTS
from beatctl.cli.completion import SHELLS
from tests.support import Beatctl

BASH = """
eval "$(beatctl completion bash)"
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_TYPE=${LISTS:-9}
"$(complete -p beatctl | sed 's/.*-F \\([^ ]*\\).*/\\1/')" beatctl
printf '%s\\n' "${COMPREPLY[@]}"
"""


class Shell:
    def __init__(self, beatctl: Beatctl, place: Path) -> None:
        self.beatctl, self.place = beatctl, place
        self.environ = {
            **beatctl.environ,
            "PATH": f"{beatctl.program.parent}{os.pathsep}{beatctl.environ['PATH']}",
            "LANG": "C.UTF-8",
        }
        ledger = Ledger(beatctl.home / "ledger.db")
        for started, (loop, state) in enumerate((("k3f9", "finished"), ("m222", "running"), ("m333", "paused"))):
            ledger.add_loop(
                Status.model_validate(
                    {
                        "id": loop,
                        "goal": f"make {loop} faster: $(touch harm) `touch harm` 'x\ty",
                        "strategy": "retry",
                        "state": state,
                        "outcome": "reached" if state == "finished" else None,
                        "directory": str(place),
                    }
                ),
                "{}",
                float(started),
            )

    def run(self, program: str, *words: str, **env: str) -> list[str]:
        done = subprocess.run(
            [program, *words], cwd=self.place, env={**self.environ, **env}, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        assert not (self.place / "harm").exists()
        return [line for line in done.stdout.splitlines() if line]

    def bash(self, *words: str, lists: bool = False) -> list[str]:
        """What bash would offer for the last word."""
        return self.run("bash", "--norc", "-c", BASH, "bash", "beatctl", *words, LISTS="63" if lists else "9")


@pytest.fixture
def shell(beatctl: Beatctl, place: Path) -> Shell:
    return Shell(beatctl, place)


def test_bash_completes_commands_flags_values_and_loops(shell: Shell) -> None:
    assert shell.bash("") == list(COMMANDS)
    assert shell.bash("und") == ["undo"]
    assert shell.bash("start", "--dir") == ["--direction"]
    assert shell.bash("start", "--direction", "") == ["minimize", "maximize"]
    # bash makes words of their own of what stands around an equals sign.
    assert shell.bash("start", "--direction", "=", "min") == ["minimize"]
    assert shell.bash("start", "--direction", "=") == ["minimize", "maximize"]
    assert shell.bash("start", "fix it", "--until", "npm test", "-a", "c") == ["claude", "codex"]
    assert "--minimize" not in shell.bash("start", "--minimize", "--m")
    assert shell.bash("status", "") == ["m333", "m222", "k3f9"]
    assert shell.bash("status", "--json", "k") == ["k3f9"]
    assert shell.bash("cancel", "") == ["m333", "m222"]
    assert shell.bash("set", "-n", "") == []
    assert shell.bash("nonsense", "") == []


def test_bash_shows_goals_where_it_lists_and_only_ids_where_it_inserts(shell: Shell) -> None:
    [first, _] = shell.bash("cancel", "m", lists=True)
    assert first.startswith("m333  (paused: make m333 faster: $(touch harm)")
    assert shell.bash("cancel", "m3", lists=True) == ["m333"]


def test_fish_completes_with_descriptions(shell: Shell) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not here")
    script = "beatctl completion fish | source; complete -C 'beatctl cancel m3'"
    [line] = shell.run("fish", "--no-config", "-c", script)
    assert line.startswith("m333\tpaused: make m333 faster")


def test_zsh_understands_its_script(shell: Shell) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not here")
    # Outside of a line that is edited: what would be offered is printed.
    script = (
        "compdef() { }; _files() { echo files }; _describe() { print -l -- ${(P)3} };"
        'eval "$(beatctl completion zsh)"; words=(beatctl cancel m3); CURRENT=3; _beatctl'
    )
    [line] = shell.run("zsh", "-f", "-c", script)
    assert line.startswith("m333:paused: make m333 faster")


def test_a_damaged_ledger_spoils_no_prompt(shell: Shell) -> None:
    for part in shell.beatctl.home.glob("ledger.db*"):
        part.unlink()
    (shell.beatctl.home / "ledger.db").write_bytes(b"no database\n" * 100)
    assert shell.bash("status", "") == []
    assert shell.bash("und") == ["undo"]


def test_nothing_is_made_by_asking(beatctl: Beatctl, place: Path) -> None:
    done = beatctl("status", "", cwd=place, env={"_BEATCTL_COMPLETE": "zsh"}, expect=0)
    assert (done.stdout, done.stderr) == (
        "words\n--json\tPrint JSON on stdout.\n--help\tShow this message and exit.\n",
        "",
    )
    assert not beatctl.home.exists()


def test_every_shell_has_its_script_and_another_one_is_told(beatctl: Beatctl, place: Path) -> None:
    for name in SHELLS:
        named = beatctl("completion", name, cwd=place, expect=0).stdout
        assert f"beatctl completion {name}" in named
        assert beatctl("completion", cwd=place, env={"SHELL": f"/bin/{name}"}, expect=0).stdout == named
        assert f"beatctl completion {name}" in beatctl("completion", "--help", cwd=place, expect=0).stdout
    refused = beatctl("completion", "tcsh", cwd=place, expect=2)
    assert 'not "tcsh"' in refused.stderr


def test_the_agents_it_knows_are_the_agents_there_are() -> None:
    assert set(AGENTS) == set(KNOWN)
