"""Whether a known agent is logged in, and which model it is set up with: what its own files and variables tell, without
running it."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beatctl.activities.agents.definition import Plain

Environ = Mapping[str, str]


@dataclass(frozen=True)
class Account:
    """What can be told of an agent's account."""

    logged_in: bool | None = None
    """None: it can't be told."""
    how: str = ""
    """By what, or how to log in."""
    model: str | None = None
    model_from: str = ""


def account(name: str, environ: Environ) -> Account:
    """What can be told of a known agent; of any other nothing."""
    ask = _ACCOUNTS.get(name)
    return ask(environ, Path(environ.get("HOME") or "~").expanduser()) if ask else Account()


def _claude(environ: Environ, home: Path) -> Account:
    folder = Path(environ.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    settings = _json(folder / "settings.json")
    model, model_from = _first(
        (environ.get("ANTHROPIC_MODEL"), "ANTHROPIC_MODEL"), (_text(settings, "model"), str(folder / "settings.json"))
    )
    by = _set(
        environ,
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_USE_VERTEX",
        "CLAUDE_CODE_USE_FOUNDRY",
    )
    if by is None and _json(folder / ".credentials.json"):
        by = str(folder / ".credentials.json")
    if by is None and _text(settings, "apiKeyHelper"):
        by = f"apiKeyHelper in {folder / 'settings.json'}"
    in_keychain = sys.platform == "darwin"
    return _told(by, "run claude once, or set ANTHROPIC_API_KEY", model, model_from, unsure=in_keychain)


def _codex(environ: Environ, home: Path) -> Account:
    folder = Path(environ.get("CODEX_HOME") or home / ".codex")
    config = _toml(folder / "config.toml")
    by = _set(environ, "CODEX_API_KEY")
    if by is None and _json(folder / "auth.json"):
        by = str(folder / "auth.json")
    provider = _text(config, "model_provider")
    key = _text(config, "model_providers", provider, "env_key") if provider else None
    if by is None and key:
        by = _set(environ, key)
    unsure = by is None and (
        (provider is not None and key is None) or bool(_text(config, "cli_auth_credentials_store"))
    )
    model, model_from = _first((_text(config, "model"), str(folder / "config.toml")))
    return _told(by, "run codex login, or set CODEX_API_KEY", model, model_from, unsure=unsure)


def _gemini(environ: Environ, home: Path) -> Account:
    folder = Path(environ.get("GEMINI_CLI_HOME") or home) / ".gemini"
    settings = _json(folder / "settings.json")
    by = _set(environ, "GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_GCA")
    if by is None and _json(folder / "oauth_creds.json"):
        by = str(folder / "oauth_creds.json")
    chosen = _text(settings, "security", "auth", "selectedType")
    model, model_from = _first(
        (environ.get("GEMINI_MODEL"), "GEMINI_MODEL"),
        (_text(settings, "model", "name"), str(folder / "settings.json")),
    )
    return _told(by, "run gemini once, or set GEMINI_API_KEY", model, model_from, unsure=chosen is not None)


def _opencode(environ: Environ, home: Path) -> Account:
    keys = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "opencode" / "auth.json"
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "opencode" / "opencode.json"
    by = str(keys) if _json(keys) else _set(environ, "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY")
    model, model_from = _first((_text(_json(config), "model"), str(config)))
    # It has models that need no account.
    return _told(by, "run opencode auth login", model, model_from, unsure=True)


_ACCOUNTS: dict[str, Callable[[Environ, Path], Account]] = {
    "claude": _claude,
    "codex": _codex,
    "gemini": _gemini,
    "opencode": _opencode,
}


def _told(by: str | None, otherwise: str, model: str | None, model_from: str, *, unsure: bool) -> Account:
    if by is not None:
        return Account(True, by, model, model_from)
    return Account(None if unsure else False, otherwise, model, model_from)


def _set(environ: Environ, *names: str) -> str | None:
    return next((name for name in names if environ.get(name, "").strip()), None)


def _first(*told: tuple[str | None, str]) -> tuple[str | None, str]:
    return next(((value, place) for value, place in told if value), (None, ""))


def _json(path: Path) -> dict[str, Any]:
    return _object(path, json.loads)


def _toml(path: Path) -> dict[str, Any]:
    return _object(path, tomllib.loads)


def _object(path: Path, read: Callable[[str], Any]) -> dict[str, Any]:
    try:
        found = read(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(found: Plain | dict[str, Any] | None, *keys: str) -> str | None:
    value: Any = found
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value.strip() or None if isinstance(value, str) else None
