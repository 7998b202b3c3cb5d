"""`agents` and `agents check`: what is there, what start would take, and whether it works."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.agents import program as programs
from beatctl.activities.agents import resolve
from beatctl.cli.agents import Line, shown
from tests.agents.test_resolve import VERSIONS, program
from tests.support import Beatctl, wait_until

TURN = {"type": "turn.completed", "usage": {"input_tokens": 200, "cached_input_tokens": 100, "output_tokens": 40}}
PONG = {"type": "item.completed", "item": {"type": "agent_message", "text": "pong"}}


def codex(folder: Path, *events: dict[str, Any], exits: int = 0, also: str = "") -> None:
    said = "".join(json.dumps(event) + "\n" for event in events)
    (folder / "said").write_text(said)
    program(
        folder / "bin" / "codex",
        f'if [ "$1" = --version ]; then {VERSIONS["codex"]}; exit; fi\n{also}\ncat {folder}/said; exit {exits}',
    )


@pytest.fixture
def env(place: Path) -> dict[str, str]:
    """Two of the agents are installed; the configuration defines one more and settings for one."""
    program(place / "bin" / "gemini", VERSIONS["gemini"])
    codex(place, PONG, TURN)
    (place / "config.toml").write_text(
        'agent = "codex"\n[agents.mine]\ncommand = "no-such-program"\ninstall = "npm i mine"\n'
        '[agents.codex]\nmodel = "gpt-5.5"\n'
    )
    (place / "tmp").mkdir()
    return {
        "PATH": f"{place / 'bin'}:/usr/bin:/bin",
        "BEATCTL_CONFIG": str(place / "config.toml"),
        "GEMINI_API_KEY": "k",
        "TMPDIR": str(place / "tmp"),
    }


def test_the_agents_there_are_are_listed_with_what_start_would_take(
    beatctl: Beatctl, place: Path, env: dict[str, str]
) -> None:
    done = beatctl("agents", cwd=place, expect=0, env=env)
    lines = done.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines[: lines.index("")])
    assert lines[0].split() == ["AGENT", "VERSION", "LOGGED", "IN", "MODEL", "PROGRAM"]
    told = {line[2:].split()[0]: line for line in lines[1 : lines.index("")]}
    assert told["codex"].split()[:5] == ["*", "codex", "0.169.0", "no", "gpt-5.5"]
    assert told["gemini"].split()[:4] == ["gemini", "0.61.0", "yes", "its"]
    assert "not installed" in told["claude"]
    assert "  mine       npm i mine" in lines
    assert "start takes codex (from ./config.toml:1)." in lines
    assert any(line.startswith("  codex: model gpt-5.5  from [agents.codex] in ") for line in lines)
    assert "codex is not logged in: run codex login, or set CODEX_API_KEY." in done.stderr
    found = beatctl("agents", "--json", cwd=place, expect=0, env={**env, "BEATCTL_AGENT": "gemini"}).json
    assert found["start"] == "gemini"
    [line] = [one for one in found["agents"] if one["name"] == "codex"]
    assert line["path"] == str(place / "bin" / "codex")
    assert (line["model"], line["logged_in"]) == ("gpt-5.5", False)
    assert line["model_from"].startswith("[agents.codex] in ")


def test_a_check_says_what_the_agent_answered_and_cost(beatctl: Beatctl, place: Path, env: dict[str, str]) -> None:
    lines = beatctl("agents", "check", "codex", cwd=place, expect=0, env=env).stdout.splitlines()
    assert lines[0] == "codex works."
    assert {line.split()[0]: " ".join(line.split()[1:]) for line in lines[1:] if "took" not in line} == {
        "version": "0.169.0",
        "model": "gpt-5.5",
        "said": "pong",
        "cost": "~$0.002, 240 tokens",
    }
    codex(place, {"type": "turn.failed", "error": {"message": "401 Unauthorized"}}, exits=1)
    done = beatctl("agents", "check", "codex", "-m", "o9", "--json", cwd=place, expect=3, env=env)
    assert (done.json["ok"], done.json["kind"], done.json["model"]) == (False, "authentication", "o9")
    assert "run `codex login`" in done.json["error"]
    beatctl("agents", "check", "claude", cwd=place, expect=3, env=env)
    beatctl("agents", "check", cwd=place, expect=2, env=env)
    assert list((place / "tmp").glob("beatctl-check-*")) == []


def test_ctrl_c_ends_everything_a_check_has_started(beatctl: Beatctl, place: Path, env: dict[str, str]) -> None:
    codex(place, also=f"setsid sleep 600 & echo $! > {place}/pid; sleep 600")
    asked = beatctl.popen("agents", "check", "codex", cwd=place, env=env)
    try:
        pid = wait_until(lambda: _text(place / "pid"), "the agent's start")
        asked.send_signal(signal.SIGINT)
        assert asked.wait(60) == 130
    finally:
        asked.kill()
        asked.communicate()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
    assert list((place / "tmp").iterdir()) == []


def _text(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def test_an_agent_that_updated_itself_is_told_by_its_new_version(place: Path) -> None:
    environ = {"PATH": f"{place / 'bin'}:/usr/bin:/bin", "HOME": str(place)}
    path = program(place / "bin" / "codex", f"echo asked >> {place}/asked; echo codex-cli 1.0.0")
    agent = resolve("codex", environ)
    assert programs.version_now(agent, environ) == "1.0.0"
    assert (place / "asked").read_text() == "asked\n"
    program(path, f"echo asked >> {place}/asked; echo codex-cli 2.0.0  # by night")
    assert [programs.version_now(agent, environ) for _ in range(3)] == ["2.0.0"] * 3
    assert (place / "asked").read_text() == "asked\n" * 2
    path.unlink()
    assert programs.version_now(agent, environ) == "1.0.0"


@pytest.mark.parametrize("columns", [80, 100])
def test_the_table_fits_whatever_the_names_are(columns: int) -> None:
    line = Line(
        name="codex",
        defined=False,
        path="/home/ada/" + "very-long/" * 12 + "codex",
        version="0.169.0-alpha.12",
        problem=None,
        logged_in=None,
        login="",
        model="accounts/somebody/models/" + "x" * 50,
        model_from="",
        permissions="workspace",
        permissions_from="",
    )
    texts = shown([line], "codex", columns=columns)
    assert max(map(len, texts)) <= columns
    assert texts[1].endswith("codex")
