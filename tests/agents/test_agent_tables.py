"""[agents.NAME] in the user's config.toml: what is understood, and what is refused with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.agents import AgentNotFound, again, command_line, resolve, tells
from beatctl.activities.agents.definition import AgentDefinition, AgentTables
from beatctl.cli import agent_tables, levels
from beatctl.cli.problems import Usage
from beatctl.cli.settings import level_of_environment
from tests.agents.test_resolve import environ, install, program  # noqa: F401  (a fixture)

MISTAKES = [
    ('[agents.x]\ncommand = "x"\nmodle = []', "config.toml:3: agents.x.modle: no such key. Did you mean model?"),
    ("[agents.x]", "config.toml:1: agents.x.command: is missing."),
    ("[agents.x]\ncommand = []", "config.toml:2: agents.x.command: "),
    ('[agents.x]\ncommand = "x \'open"', "config.toml:2: agents.x.command: has a quote"),
    ('[agents.x]\ncommand = "x"\nprompt = "pipe"', "config.toml:3: agents.x.prompt: should be 'argument'"),
    ('[agents.x]\ncommand = "x {prompt}"\nprompt = "stdin"', "config.toml:1: agents.x: the command says where"),
    ('[agents.x]\ncommand = "x"\nmodel = ["-m"]', "agents.x: model needs {model} where the value goes"),
    ('[agents.x]\ncommand = "x"\nrate_limit = "("', "config.toml:3: agents.x.rate_limit: is no regular expression"),
    (
        '[agents.x]\ncommand = "x"\n\n[agents.x.output]\n# read\ncost = { pattern = "[0-9]+" }',
        "config.toml:6: agents.x.output.cost.pattern: needs one group",
    ),
    (
        '[agents.x]\ncommand = "x"\n[agents.x.output]\ncosts = "a"',
        "toml:4: agents.x.output.costs: no such key. Did",
    ),
    ('[agents.x]\ncommand = "x"\n[agents.x.output]\ncost = 4', "config.toml:4: agents.x.output.cost: "),
    (
        '[agents.x]\ncommand = "x"\noutput.message = { sum = true }',
        ":3: agents.x.output.message: takes a path",
    ),
    ('[agents.x]\ncommand = "x"\nenvironment = { OPENAI_API_KEY = "k" }', "OPENAI_API_KEY looks like a secret"),
    ('[agents.claude]\ncommand = "claude"', "config.toml:2: agents.claude.command: claude is known: how it is run"),
    (
        '[agents.claude]\npermissions = "all"',
        ":2: agents.claude.permissions: should be 'workspace' or 'full'",
    ),
    ('agent = "x"\nagents = { x = 3 }', "config.toml:2: agents.x: is a table: [agents.x]"),
    ('[agents."a b"]\ncommand = "x"', "config.toml:1: agents.a b: a name has letters"),
]


def configured(tmp_path: Path, text: str) -> dict[str, str]:
    """An environment with this config.toml, named as `config.toml` in messages."""
    (tmp_path / "config.toml").write_text(text + "\n")
    return {"BEATCTL_CONFIG": str(tmp_path / "config.toml")}


@pytest.mark.parametrize(("text", "words"), MISTAKES)
def test_a_mistake_in_a_table_is_told_with_its_line_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given = configured(tmp_path, text)
    for read in (lambda: agent_tables.read(given), lambda: levels.standing(None, given)[0].read()):
        with pytest.raises(Usage) as raised:
            read()
        assert words in raised.value.text
    assert levels.examine(None, None, given)[1] == [raised.value.text]


@pytest.mark.parametrize("name", ["beatctl.toml", "loop.toml"])
def test_no_command_is_picked_up_from_a_repository_or_a_loop_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('[agents.x]\ncommand = "rm -rf x"\n')
    with pytest.raises(Usage, match=r":1: agents: .*stands in your own config\.toml"):
        levels.standing(tmp_path, {"BEATCTL_CONFIG": "/dev/null"})[0].read() if name == "beatctl.toml" else (
            levels.loop_file(str(tmp_path / name))
        )


def test_arguments_come_from_where_they_were_typed_and_never_from_a_repository(tmp_path: Path) -> None:
    (tmp_path / "beatctl.toml").write_text('agent_args = "--yolo"\n')
    with pytest.raises(Usage, match="agent_args: says what one loop is about"):
        levels.standing(tmp_path, {"BEATCTL_CONFIG": "/dev/null"})[0].read()
    (tmp_path / "loop.toml").write_text('agent_args = "--effort high"\n')
    assert levels.loop_file(str(tmp_path / "loop.toml"))["agent_args"].value == "--effort high"
    assert level_of_environment({"BEATCTL_AGENT_ARGS": "--effort low"})["agent_args"].value == "--effort low"


def spec(words: str = "my-agent", **more: Any) -> AgentTables:
    return AgentTables(defined={"mine": AgentDefinition.model_validate({"command": words, **more})})


def test_a_configured_name_wins_over_a_program_and_says_what_to_install(
    tmp_path: Path,
    environ: dict[str, str],  # noqa: F811
) -> None:
    program(tmp_path / "bin" / "mine")
    with pytest.raises(AgentNotFound, match=r'Agent "mine": its program "my-agent" is not on PATH\. Install it: npm i'):
        resolve("mine", environ, tables=spec(install="npm i"))
    program(tmp_path / "bin" / "my-agent", "echo my-agent 3.4.5")
    agent = resolve("mine", environ, tables=spec("my-agent --yes", version=["--version"]))
    assert (agent.kind, agent.name, agent.version) == ("configured", "mine", "3.4.5")
    assert agent.argv == [str(tmp_path / "bin" / "my-agent"), "--yes"]
    assert resolve("mine", environ).kind == "command"


def test_the_prompt_goes_where_the_table_says(tmp_path: Path, environ: dict[str, str]) -> None:  # noqa: F811
    program(tmp_path / "bin" / "my-agent")
    prompt_file = tmp_path / "prompt.md"

    def made(tables: AgentTables) -> tuple[list[str], str | None]:
        agent = resolve("mine", environ, tables=tables)
        line = command_line(agent, "do {prompt_file}", prompt_file, last_message_file=tmp_path / "last")
        return line.argv[1:], line.stdin

    assert made(spec()) == ([], str(prompt_file))
    assert made(spec(prompt="argument", args="-q")) == (["-q", "do {prompt_file}"], None)
    assert made(spec(prompt="file")) == ([str(prompt_file)], None)
    assert made(spec("my-agent {prompt} -o {output_file}")) == (
        ["do {prompt_file}", "-o", str(tmp_path / "last")],
        None,
    )


def test_a_model_or_arguments_that_could_not_reach_the_agent_are_refused(
    tmp_path: Path,
    environ: dict[str, str],  # noqa: F811
) -> None:
    program(tmp_path / "bin" / "my-agent")
    with pytest.raises(AgentNotFound, match=r'takes no model.*\[agents\.mine\]: model = \["--model", "\{model\}"\]'):
        resolve("mine", environ, tables=spec(), model="m")
    with pytest.raises(AgentNotFound, match="--agent-args goes with an agent that beatctl knows"):
        resolve("my-agent", environ, args=["-x"])


def test_settings_of_a_known_agent_hold_unless_something_else_is_asked(
    tmp_path: Path,
    environ: dict[str, str],  # noqa: F811
) -> None:
    install(tmp_path, "codex")
    (tmp_path / "bin" / "codex").rename(tmp_path / "bin" / "codex-beta")
    text = (
        '[agents.codex]\npath = "codex-beta"\nmodel = "gpt-5.5"\npermissions = "full"\n'
        'args = "-c a=b"\nenvironment = { RUST_LOG = "error" }\n'
    )
    tables = agent_tables.read(configured(tmp_path, text))
    for agent in (resolve(None, environ, tables=tables), resolve("codex", environ, tables=tables)):
        assert (agent.kind, agent.version) == ("codex", "0.169.0")
        assert (agent.model, agent.permissions, agent.args) == ("gpt-5.5", "full", ["-c", "a=b"])
        line = command_line(agent, "go", tmp_path / "p", last_message_file=tmp_path / "last")
        assert line.argv[0] == str(tmp_path / "bin" / "codex-beta")
        assert line.environment["RUST_LOG"] == "error"
        assert "cost" in tells(agent)
    asked = resolve("codex", environ, tables=tables, model="o9", permissions="workspace", args=["-x"])
    assert (asked.model, asked.permissions, asked.args) == ("o9", "workspace", ["-c", "a=b", "-x"])
    assert tells(asked) == {"tokens"}


def test_a_loop_that_goes_on_keeps_its_agent_as_it_was_asked_for(
    tmp_path: Path,
    environ: dict[str, str],  # noqa: F811
) -> None:
    install(tmp_path, "codex")
    (tmp_path / "bin" / "codex").rename(tmp_path / "bin" / "codex-beta")
    tables = agent_tables.read(configured(tmp_path, '[agents.codex]\npath = "codex-beta"\nargs = "-c a=b"'))
    program(tmp_path / "bin" / "my-agent", "echo 1.0")
    asked = [
        resolve("codex", environ, tables=tables, model="m", permissions="full", args=["-x"], directory=tmp_path),
        resolve("mine", environ, tables=spec(version="--version", model="-m {model}"), model="m", directory=tmp_path),
        resolve("my-agent {prompt}", environ, directory=tmp_path),
    ]
    assert [again(agent, environ, tmp_path) for agent in asked] == asked
    program(tmp_path / "bin" / "my-agent", "echo 2.0   # newer")
    assert again(asked[1], environ, tmp_path).version == "2.0"
    (tmp_path / "bin" / "codex-beta").rename(tmp_path / "bin" / "codex")
    assert again(asked[0], environ, tmp_path).argv == [str(tmp_path / "bin" / "codex")]
    (tmp_path / "bin" / "my-agent").unlink()
    for agent in asked[1:]:
        with pytest.raises(AgentNotFound):
            again(agent, environ, tmp_path)
