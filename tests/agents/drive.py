"""Running the real agent programs against the scripted model, as beatctl would."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from beatctl.activities import agents
from beatctl.activities.agents.spec import Permissions
from tests.agents.scripted_llm import Outcome, Script, serve
from tests.support import wait_until

MODELS = {
    "claude": "claude-sonnet-4-5",
    "codex": "gpt-5",
    "gemini": "gemini-2.5-pro",
    "opencode": "scripted/scripted-1",
}
TIME_LIMIT_S = 120.0


@dataclass(frozen=True)
class Case:
    """One thing that can happen to one agent."""

    agent: str
    outcome: Outcome = "ok"
    command: str = "echo hello > made-by-agent.txt"
    allowed: list[str] = field(default_factory=list)
    permissions: Permissions = "workspace"
    environ: dict[str, str] = field(default_factory=dict)
    """Variables that differ from the usual ones; an empty value takes one away."""
    words: list[str] = field(default_factory=list)
    """Words put at the end of the command line."""
    prompt: str = "Run the command."
    session: str | None = None
    """The agent's own, of an earlier run in the same folder, to go on with."""
    model: str | None = None
    """Another than the usual one."""
    killed: bool = False
    """Told to end by SIGTERM once it waits for the model."""


CASES = {
    "claude-ok": Case("claude"),
    "claude-429": Case("claude", "429"),
    "claude-limit": Case("claude", "429", environ={"ANTHROPIC_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": "scripted"}),
    "claude-401": Case("claude", "401"),
    "claude-login": Case("claude", environ={"ANTHROPIC_API_KEY": ""}),
    "claude-529": Case("claude", "529"),
    "claude-turns": Case("claude", "loop", words=["--max-turns", "2"]),
    "claude-denied": Case("claude", command="npm install left-pad"),
    "claude-command": Case("claude", prompt="/fix-it"),
    "claude-killed": Case("claude", "hang", killed=True),
    "codex-ok": Case("codex"),
    "codex-429": Case("codex", "429"),
    "codex-401": Case("codex", "401"),
    "codex-login": Case("codex", environ={"SCRIPTED_KEY": ""}),
    "codex-500": Case("codex", "500"),
    "codex-killed": Case("codex", "hang", killed=True),
    "gemini-ok": Case("gemini", allowed=["echo hello"]),
    "gemini-429": Case("gemini", "429"),
    "gemini-401": Case("gemini", "401"),
    "gemini-login": Case("gemini", environ={"GEMINI_API_KEY": ""}),
    "gemini-denied": Case("gemini", command="npm install left-pad", allowed=["npm test"]),
    "gemini-killed": Case("gemini", "hang", killed=True),
    "opencode-ok": Case("opencode", allowed=["echo hello"]),
    "opencode-429": Case("opencode", "429"),
    "opencode-401": Case("opencode", "401"),
    "opencode-500": Case("opencode", "500"),
    "opencode-denied": Case("opencode", command="npm install left-pad", allowed=["npm test"]),
    "opencode-killed": Case("opencode", "hang", killed=True),
    "opencode-model": Case("opencode", model="scripted/no-such-model"),
}


@dataclass(frozen=True)
class Driven:
    """What came of a run."""

    spec: agents.AgentSpec
    folder: Path
    exit_code: int | None
    signal: int | None
    script: Script

    @property
    def workspace(self) -> Path:
        return self.folder / "work"

    @property
    def outcome(self) -> agents.AgentOutcome:
        return agents.read_outcome(
            self.spec,
            self.folder / "stdout",
            self.folder / "stderr",
            self.exit_code,
            self.signal,
            self.folder / "last-message.txt",
        )


def path_with_agents(environ: Mapping[str, str]) -> str:
    """The PATH on which the real programs are found: `$BEATCTL_TEST_AGENTS` is the folder they are installed in."""
    named = environ.get("BEATCTL_TEST_AGENTS")
    path = environ.get("PATH", os.defpath)
    if not named:
        return path
    folder = Path(named).absolute()
    places = (folder / ".bin", folder / "node_modules" / ".bin", folder)
    return os.pathsep.join([*(str(place) for place in places if place.is_dir()), path])


def environment(agent: str, address: str, folder: Path, path: str) -> dict[str, str]:
    """An environment in which this agent talks to the scripted model, with a home folder of its own in `folder`."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    environ = {"PATH": path, "HOME": str(home), "TMPDIR": str(temporary), "LANG": "C.UTF-8", "TZ": "UTC"}
    environ["PWD"] = str(folder / "work")
    if agent == "claude":
        return environ | {
            "ANTHROPIC_BASE_URL": address,
            "ANTHROPIC_API_KEY": "scripted",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "1",
        }
    if agent == "codex":
        settings = home / ".codex"
        settings.mkdir(exist_ok=True)
        (settings / "config.toml").write_text(
            'model_provider = "scripted"\n[model_providers.scripted]\nname = "scripted"\n'
            f'base_url = "{address}/v1"\nenv_key = "SCRIPTED_KEY"\nwire_api = "responses"\n'
            "request_max_retries = 1\nstream_max_retries = 1\n"
        )
        return environ | {"CODEX_HOME": str(settings), "SCRIPTED_KEY": "scripted"}
    if agent == "opencode":
        model = {"name": "scripted", "cost": {"input": 1, "output": 2}, "limit": {"context": 100_000, "output": 1000}}
        provider = {
            "npm": "@ai-sdk/openai-compatible",
            "name": "scripted",
            "options": {"baseURL": f"{address}/v1", "apiKey": "scripted"},
            "models": {"scripted-1": model},
        }
        return environ | {
            "OPENCODE_CONFIG_CONTENT": json.dumps({"provider": {"scripted": provider}}),
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
        }
    settings = home / ".gemini"
    settings.mkdir(exist_ok=True)
    told = {"security": {"auth": {"selectedType": "gemini-api-key"}}, "general": {"maxAttempts": 1}}
    (settings / "settings.json").write_text(json.dumps(told))
    return environ | {"GOOGLE_GEMINI_BASE_URL": address, "GEMINI_API_KEY": "scripted"}


def drive(case: Case, folder: Path, path: str) -> Driven:
    """Run the real program in `folder`, to its end."""
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    prompt_file = folder / "prompt.md"
    prompt_file.write_text(case.prompt)
    script = Script(case.outcome, case.command)
    with serve(script) as address:
        environ = environment(case.agent, address, folder, path)
        for name, value in case.environ.items():
            environ.pop(name, None)
            if value:
                environ[name] = value
        spec = agents.resolve(
            case.agent,
            environ,
            model=case.model or MODELS[case.agent],
            permissions=case.permissions,
            allowed_commands=case.allowed,
            directory=work,
        )
        given = agents.command_line(
            spec, case.prompt, prompt_file, last_message_file=folder / "last-message.txt", session=case.session
        )
        with (
            (folder / "stdout").open("wb") as stdout,
            (folder / "stderr").open("wb") as stderr,
            Path(given.stdin or os.devnull).open("rb") as stdin,
            subprocess.Popen(
                [*given.argv, *case.words],
                cwd=work,
                env=agents.child_environment(environ) | given.environment,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            ) as process,
        ):
            try:
                if case.killed:
                    wait_until(lambda: script.prompts, f"a request of {case.agent}", TIME_LIMIT_S)
                    os.killpg(process.pid, signal.SIGTERM)
                code = process.wait(TIME_LIMIT_S)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
    return Driven(spec, folder, code if code >= 0 else None, -code if code < 0 else None, script)


def without_traces(text: str, folder: Path, path: str) -> str:
    """What a program printed, without ids, paths, times, and what makes it long and says nothing."""
    for place, name in ((folder / "work", "/work"), (folder / "home", "/home/ada"), (folder, "/tmp")):
        text = text.replace(str(place), name)
    for programs in path.split(os.pathsep):
        if programs.endswith("/.bin"):
            text = text.replace(programs.removesuffix("/.bin"), "/lib")
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1234", text)
    text = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "00000000-0000-4000-8000-000000000000", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d[:-]\d\d[:-]\d\d[.-]\d+Z", "2026-01-01T00:00:00.000Z", text)
    text = re.sub(r'("(?:duration|ttft|time_to_request|retry_delay)\w*":)[\d.]+', r"\g<1>1", text)
    text = re.sub(r"(__run_shell_command)_\d+_", r"\1_1_", text)
    text = re.sub(r'("resetsAt":)\d+', r"\g<1>1767229200", text)
    text = re.sub(r"\b(ses|msg|prt)_\w{20,}", r"\1_1", text)
    text = re.sub(r'("(?:timestamp|start|end)":)\d{13}', r"\g<1>1767225600000", text)
    text = re.sub(r"(level=\w+ run)=[0-9a-f]{8}\b", r"\1=1", text)
    text = re.sub(r'(?:\\n +at [^"\\]*)+', "", text)
    text = re.sub(r"err_[0-9a-f]{8}\b", "err_1", text)
    text = re.sub(r'"date":"[^"]*"', '"date":"Thu, 01 Jan 2026 00:00:00 GMT"', text)
    text = re.sub(r"(resets_at\W+)\d{10}", r"\g<1>1767229200", text)
    text = re.sub(r"\b\d\d?:\d\d ?([aApP][mM])", r"1:00 \1", text)
    lines = [_short(line) for line in text.splitlines() if not re.match(r"\s+at ", line)]
    return "".join(f"{line}\n" for line in lines)


_LONG = ("tools", "slash_commands", "agents", "skills", "plugins", "memory_paths", "mcp_servers")


def _short(line: str) -> str:
    try:
        event = json.loads(line)
    except ValueError:
        return line
    if not isinstance(event, dict):
        return line
    return json.dumps({key: value for key, value in event.items() if key not in _LONG}, ensure_ascii=False)
