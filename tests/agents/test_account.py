"""Whether an agent is logged in, and its model: from its own files and variables, nothing run."""

from __future__ import annotations

from pathlib import Path

import pytest

from beatctl.activities.agents.account import account

CASES = [
    ("claude", {}, {".claude/.credentials.json": '{"claudeAiOauth": {}}'}, True, None),
    ("claude", {"ANTHROPIC_API_KEY": "k"}, {".claude/settings.json": '{"model": "opus"}'}, True, "opus"),
    (
        "claude",
        {"CLAUDE_CONFIG_DIR": "{home}/c", "ANTHROPIC_MODEL": "x"},
        {"c/.credentials.json": '{"a": 1}'},
        True,
        "x",
    ),
    ("codex", {}, {".codex/auth.json": '{"tokens": {}}', ".codex/config.toml": 'model = "m"'}, True, "m"),
    ("codex", {"OPENAI_API_KEY": " "}, {}, False, None),
    ("codex", {}, {".codex/config.toml": 'cli_auth_credentials_store = "keyring"'}, None, None),
    (
        "codex",
        {"MY_KEY": "k", "CODEX_HOME": "{home}/x"},
        {"x/config.toml": 'model_provider = "p"\n[model_providers.p]\nenv_key = "MY_KEY"'},
        True,
        None,
    ),
    ("gemini", {"GEMINI_API_KEY": "k", "GEMINI_MODEL": "g"}, {}, True, "g"),
    ("gemini", {}, {".gemini/oauth_creds.json": '{"t": 1}', ".gemini/settings.json": "not JSON"}, True, None),
    ("gemini", {}, {".gemini/settings.json": '{"security": {"auth": {"selectedType": "x"}}}'}, None, None),
    ("gemini", {}, {}, False, None),
    ("opencode", {}, {".local/share/opencode/auth.json": '{"openai": {}}'}, True, None),
    ("opencode", {}, {}, None, None),
    ("somebody", {"ANTHROPIC_API_KEY": "k"}, {}, None, None),
]


@pytest.mark.parametrize(("name", "variables", "files", "logged_in", "model"), CASES)
def test_what_can_be_told_of_an_account_is_told_and_the_rest_is_unknown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    variables: dict[str, str],
    files: dict[str, str],
    logged_in: bool | None,
    model: str | None,
) -> None:
    monkeypatch.setattr("sys.platform", "linux")  # elsewhere claude keeps it where nobody can look
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    environ = {name: value.format(home=tmp_path) for name, value in variables.items()} | {"HOME": str(tmp_path)}
    told = account(name, environ)
    assert (told.logged_in, told.model) == (logged_in, model)
    assert bool(told.how) == (name != "somebody")
    assert bool(told.model_from) == (model is not None)
