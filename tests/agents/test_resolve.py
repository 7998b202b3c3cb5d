"""Finding the agent: what is typed, what is on PATH, and what is said when it is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from beatctl.activities.agents import AgentNotFound, AgentSpec, found, resolve

VERSIONS = {
    "claude": "echo '2.1.197 (Claude Code)'",
    "codex": "echo 'codex-cli 0.169.0'",
    "gemini": "echo 0.61.0",
    "opencode": "echo 1.18.33",
}


def program(path: Path, body: str = "true") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "bin").mkdir()
    return {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "HOME": str(tmp_path)}


def install(tmp_path: Path, *names: str) -> None:
    for name in names:
        program(tmp_path / "bin" / name, VERSIONS[name])


def test_a_known_agent_is_resolved_with_its_path_and_version(tmp_path: Path, environ: dict[str, str]) -> None:
    install(tmp_path, "codex")
    agent = resolve("codex", environ, model="m", permissions="full", allowed_commands=["npm test"])
    assert agent.model_copy(update={"program": None}) == AgentSpec(
        kind="codex",
        name="codex",
        argv=[str(tmp_path / "bin" / "codex")],
        version="0.169.0",
        model="m",
        permissions="full",
        allowed_commands=["npm test"],
    )


def test_the_default_is_the_first_of_claude_codex_gemini_opencode(tmp_path: Path, environ: dict[str, str]) -> None:
    for name in ("opencode", "gemini", "codex", "claude"):
        install(tmp_path, name)
        assert resolve(None, environ).name == name


def test_the_default_is_not_one_that_does_not_run(tmp_path: Path, environ: dict[str, str]) -> None:
    install(tmp_path, "gemini")
    program(tmp_path / "bin" / "claude", "echo 'native binary not installed' >&2; exit 1")
    assert resolve(None, environ).name == "gemini"
    with pytest.raises(AgentNotFound, match=r"claude.*does not run: native binary not installed\. Install it again"):
        resolve("claude", environ)


def test_no_agent_at_all_says_what_to_install(environ: dict[str, str]) -> None:
    with pytest.raises(AgentNotFound) as raised:
        resolve(None, environ)
    assert "npm install -g @anthropic-ai/claude-code" in raised.value.text
    assert "--agent" in raised.value.text


def test_an_agent_that_is_not_installed_is_named_with_those_that_are(tmp_path: Path, environ: dict[str, str]) -> None:
    install(tmp_path, "claude")
    with pytest.raises(AgentNotFound) as raised:
        resolve("codex", environ)
    assert raised.value.text == (
        'Agent "codex" is not on PATH. Found: claude. Install it: npm install -g @openai/codex'
    )


def test_an_unknown_agent_says_what_can_be_named(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(AgentNotFound, match=r'Agent "cluade" is not on PATH\. Found: none of .* Name claude'):
        resolve("cluade", environ, directory=tmp_path)
    program(tmp_path / "agent.sh")
    with pytest.raises(AgentNotFound, match=r"--agent \./agent\.sh"):
        resolve("agent.sh {prompt}", environ, directory=tmp_path)


def test_a_command_is_split_without_a_shell(tmp_path: Path, environ: dict[str, str]) -> None:
    program(tmp_path / "bin" / "my-agent")
    agent = resolve("my-agent --say '{prompt} $HOME' {prompt_file}", environ)
    assert agent.argv == [str(tmp_path / "bin" / "my-agent"), "--say", "{prompt} $HOME", "{prompt_file}"]
    assert (agent.kind, agent.name, agent.version) == ("command", "my-agent", None)


def test_a_relative_program_is_looked_up_where_the_agent_will_run(tmp_path: Path, environ: dict[str, str]) -> None:
    program(tmp_path / "here" / "agent.sh", "echo ran >> ran.txt")
    agent = resolve("./agent.sh {prompt}", environ, directory=tmp_path / "here")
    assert agent.argv == ["./agent.sh", "{prompt}"]
    assert agent.name == "agent.sh"
    assert not (tmp_path / "here" / "ran.txt").exists()
    with pytest.raises(AgentNotFound, match=r'"\./agent\.sh" is not there'):
        resolve("./agent.sh {prompt}", environ, directory=tmp_path)


def test_a_program_that_can_not_be_run_says_why(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "agent.sh").write_text("#!/bin/sh\n")
    with pytest.raises(AgentNotFound, match=r"is not executable\. Make it so: chmod \+x"):
        resolve("./agent.sh", environ, directory=tmp_path)
    with pytest.raises(AgentNotFound, match="is a folder"):
        resolve("./bin", environ, directory=tmp_path)


@pytest.mark.parametrize("word", ["", "  ", "./agent.sh 'open", "a \\"])
def test_words_that_name_nothing_are_refused(word: str, environ: dict[str, str]) -> None:
    with pytest.raises(AgentNotFound, match="--agent"):
        resolve(word, environ)


def test_a_home_folder_in_quotes_is_understood(tmp_path: Path, environ: dict[str, str]) -> None:
    program(tmp_path / "agent.sh")
    assert resolve("~/agent.sh {prompt}", environ).argv == [str(tmp_path / "agent.sh"), "{prompt}"]


def test_a_known_agent_given_by_its_path_is_that_agent(tmp_path: Path, environ: dict[str, str]) -> None:
    program(tmp_path / "opt" / "claude", VERSIONS["claude"])
    agent = resolve(str(tmp_path / "opt" / "claude"), environ)
    assert (agent.kind, agent.argv, agent.version) == ("claude", [str(tmp_path / "opt" / "claude")], "2.1.197")
    assert resolve(f"{tmp_path}/opt/claude -p {{prompt}}", environ).kind == "command"


def test_doctor_sees_every_installed_agent(tmp_path: Path, environ: dict[str, str]) -> None:
    install(tmp_path, "gemini", "claude")
    assert [(agent.name, agent.version) for agent in found(environ)] == [("claude", "2.1.197"), ("gemini", "0.61.0")]
    assert found({"PATH": "/nonexistent"}) == []


def test_an_agent_that_hangs_when_asked_its_version_is_ended_and_still_usable(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    program(tmp_path / "bin" / "claude", f"echo $$ > {tmp_path}/pid; exec sleep 600")
    assert resolve("claude", environ).version is None
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_version_is_asked_without_what_an_outer_agent_added(tmp_path: Path, environ: dict[str, str]) -> None:
    program(tmp_path / "bin" / "claude", 'test -z "$CLAUDECODE" && echo 1.2.3')
    assert resolve("claude", environ | {"CLAUDECODE": "1"}).version == "1.2.3"


@pytest.mark.skipif(os.getuid() != 0, reason="claude refuses root only")
def test_claude_with_full_permissions_as_root_is_refused_before_anything_starts(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    install(tmp_path, "claude", "codex")
    with pytest.raises(AgentNotFound, match="refuses --permissions full to root"):
        resolve("claude", environ, permissions="full")
    assert resolve("claude", environ | {"IS_SANDBOX": "1"}, permissions="full").permissions == "full"
    assert resolve("codex", environ, permissions="full").permissions == "full"
