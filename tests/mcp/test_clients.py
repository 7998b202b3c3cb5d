"""`init --mcp`: the entry is there, everything else is as it was, and what can't be read is left alone."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from beatctl.cli.mcp.clients import Client, client_of, command, passed_on, write_entry
from beatctl.cli.mcp.entries import Taken, Unreadable, in_json, in_toml
from beatctl.cli.problems import Usage
from tests.support import Beatctl

ENTRY = {"command": "beatctl", "args": ["mcp"]}
OTHER = (
    '{\n    "mcpServers": {\n        "docs": {"command": "npx", "args": ["-y", "docs"]}\n    },\n    "theme": "é"\n}\n'
)

JSON = {
    "no file": "",
    "an empty object": "{}",
    "an empty object over lines": "{\n}\n",
    "other settings alone": '{\n\t"theme": "dark", "list": [1, 2]\n}\n',
    "another server": OTHER,
    "no server yet": '{"mcpServers": {  }, "a": "}"}',
    "all on a line": '{"a":{"mcpServers":{"b":1}},"mcpServers":{"docs":{"command":"x"}}}',
    "a key twice: the second counts": '{"mcpServers": {}, "mcpServers": {"a": 1}}',
    "windows line ends": '{\r\n  "a": 1\r\n}\r\n',
}


@pytest.mark.parametrize("before", JSON.values(), ids=JSON)
def test_json_settings_gain_the_entry_and_keep_every_character_they_had(before: str) -> None:
    after = in_json(before, ENTRY, force=False)
    found = json.loads(after)
    assert found["mcpServers"].pop("beatctl") == ENTRY
    old: dict[str, Any] = {"mcpServers": {}, **json.loads(before or "{}")}
    assert found == old
    assert in_json(after, ENTRY, force=False) == after
    kept = iter(after)
    assert all(character in kept for character in before if not character.isspace())


def test_json_keeps_its_own_indentation() -> None:
    assert in_json(OTHER, ENTRY, force=False) == OTHER.replace(
        '"docs"]}\n',
        '"docs"]},\n        "beatctl": {\n            "command": "beatctl",\n            "args": [\n'
        '                "mcp"\n            ]\n        }\n',
    )


TOML = {
    "no file": "",
    "comments and another server": '# mine\nmodel = "o5" # the good one\n\n[mcp_servers.docs]\nurl = "u" # slow\n',
    "a table of servers on a line": '# mine\nmcp_servers = { docs = { command = "npx" } } # slow\n',
    "no line end": "model = 'o5'",
    "a list of tables last": '[[rules]]\nname = "a"\n',
}


@pytest.mark.parametrize("before", TOML.values(), ids=TOML)
def test_toml_settings_gain_the_entry_and_keep_comments_and_order(before: str) -> None:
    after = in_toml(before, ENTRY, force=False)
    found = tomllib.loads(after)
    assert found["mcp_servers"].pop("beatctl") == ENTRY
    assert found == {"mcp_servers": {}, **tomllib.loads(before)}
    assert in_toml(after, ENTRY, force=False) == after
    for comment in ("# mine", "# the good one", "# slow"):
        assert (comment in before) == (comment in after)
    if "mcp_servers =" not in before:
        assert after.startswith(before)


def test_an_entry_of_the_same_name_is_replaced_with_force_alone_and_ones_own_settings_in_it_stay() -> None:
    mine = '{"mcpServers": {"beatctl": {"command": "other"}, "docs": {}}}'
    with pytest.raises(Taken):
        in_json(mine, ENTRY, force=False)
    assert in_json(mine, ENTRY, force=True).startswith('{"mcpServers": {"beatctl": {\n')
    assert json.loads(in_json(mine, ENTRY, force=True)) == {"mcpServers": {"beatctl": ENTRY, "docs": {}}}
    table = '[mcp_servers.beatctl]\ncommand = "beatctl"\nargs = ["mcp"]\ntool_timeout_sec = 600 # long\n'
    assert in_toml(table, ENTRY, force=False) == table
    other = table.replace('"beatctl"\n', '"uvx"\n')
    with pytest.raises(Taken):
        in_toml(other, ENTRY, force=False)
    assert in_toml(other, ENTRY, force=True) == table


UNREADABLE = {
    "claude": ["{", "[]", '{"mcpServers": []}', '// c\n{"a": 1}'],
    "codex": ["a = ", "mcp_servers = 1\n", "a = 1\na = 2\n"],
}


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in UNREADABLE.items() for text in texts], ids=str
)
def test_a_file_that_cannot_be_read_is_not_touched_and_what_to_add_is_said(name: str, text: str, place: Path) -> None:
    client = client_of(name, place, {"CODEX_HOME": str(place)})
    client.path.write_text(text)
    with pytest.raises(Unreadable):
        client.edit(text, ENTRY, force=True)
    with pytest.raises(Usage) as told:
        write_entry(client, ENTRY, force=True)
    assert "by hand" in told.value.text
    assert "mcpServers" in told.value.text or "[mcp_servers.beatctl]" in told.value.text
    assert client.path.read_text() == text
    assert sorted(os.listdir(place)) == sorted({client.path.name, "home"})


def test_a_link_into_ones_dotfiles_stays_a_link_and_the_mode_stays(place: Path) -> None:
    real = place / "dotfiles.toml"
    real.write_text("model = 'o5'\n")
    real.chmod(0o600)
    client = client_of("codex", place, {"CODEX_HOME": str(place / "codex")})
    client.path.parent.mkdir()
    client.path.symlink_to(real)
    written = write_entry(client, ENTRY, force=False)
    assert client.path.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600
    assert written.kept is not None
    assert written.kept.read_text() == "model = 'o5'\n"
    assert "beatctl" in real.read_text()


def test_the_command_is_one_that_is_still_there_tomorrow(place: Path) -> None:
    def program(name: str) -> Path:
        path = place / name
        path.parent.mkdir(parents=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return path.parent

    installed, uv = program("bin/beatctl"), program("uv/uvx")
    passing = program("cache/uv/archive-v0/abc/bin/beatctl")
    assert command({"PATH": f"{installed}:{uv}"}) == ENTRY
    for path in (uv, f"{passing}:{uv}"):
        assert command({"PATH": str(path)}) == {"command": "uvx", "args": ["beatctl", "mcp"]}
    assert Path(command({"PATH": str(place)})["command"]).is_absolute()


def test_init_tells_three_agents_once_and_the_second_time_changes_nothing(shared_beatctl: Beatctl, place: Path) -> None:
    below = place / "project" / "src"
    below.mkdir(parents=True)
    (below.parent / ".git").mkdir()
    codex = place / "home" / ".codex" / "config.toml"
    codex.parent.mkdir()
    codex.write_text("# mine\n")
    environ = {"HOME": str(place / "home"), "PATH": f"{shared_beatctl.program.parent}:{os.environ['PATH']}"}
    first = shared_beatctl("init", "--mcp", "all", "--json", cwd=below, env=environ, expect=0).json
    assert first["entry"] == ENTRY
    assert [one["changed"] for one in first["mcp"]] == [True] * 3
    assert [one["kept"] for one in first["mcp"]] == [None, f"{codex}.old", None]
    files = [below.parent / ".mcp.json", codex, below.parent / ".gemini" / "settings.json"]
    assert [Path(one["file"]) for one in first["mcp"]] == files
    texts = [file.read_text() for file in files]
    assert texts[0] == texts[2] == json.dumps({"mcpServers": {"beatctl": ENTRY}}, indent=2) + "\n"
    assert texts[1].startswith(
        '# mine\n\n[mcp_servers.beatctl]\ncommand = "beatctl"\nargs = ["mcp"]\nenv_vars = ["BEATCTL_HOME"'
    )
    again = shared_beatctl("init", "--mcp", "all", cwd=below, env=environ, expect=0).stderr
    assert again.count("has it already") == 3
    assert [file.read_text() for file in files] == texts


def test_a_client_that_is_not_known_and_a_file_beside_it_are_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from beatctl.cli.init import init

    monkeypatch.chdir(place)
    with pytest.raises(Usage, match="claude, codex, gemini or all"):
        init(mcp="vim")
    with pytest.raises(Usage, match=r"leave out other\.toml"):
        init(file="other.toml", mcp="claude")
    assert os.listdir(place) == ["home"]


def test_codex_passes_on_where_beatctl_keeps_its_loops_and_no_secrets() -> None:
    environ = {"BEATCTL_HOME": "/there", "XDG_STATE_HOME": "", "ANTHROPIC_API_KEY": "secret", "PATH": "/bin"}
    assert passed_on("codex", environ) == {"env_vars": ["BEATCTL_HOME"]}
    assert passed_on("codex", {}) == passed_on("claude", environ) == {}
    text = in_toml("", {**ENTRY, "env_vars": ["BEATCTL_HOME"]}, force=False)
    assert in_toml(text, ENTRY, force=False) == text


def test_a_client_writes_where_its_documentation_says(place: Path) -> None:
    def path(name: str) -> Client:
        return client_of(name, place, {})

    assert path("claude").path == place / ".mcp.json"
    assert path("gemini").path == place / ".gemini" / "settings.json"
    assert path("codex").path == Path.home() / ".codex" / "config.toml"
