"""The real claude, codex and gemini as clients of `beatctl mcp`, as `init --mcp` sets them up: run with
`-m real_agents`."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.agents.dialects import Json, Tool
from tests.agents.drive import MODELS, environment, path_with_agents
from tests.agents.scripted_llm import Script, serve
from tests.loops.conftest import Repository
from tests.support import Beatctl

pytestmark = pytest.mark.real_agents

LINES = {
    "claude": ["claude", "-p", "--mcp-config", ".mcp.json", "--allowedTools", "mcp__beatctl", "Bash(sleep:*)"],
    "codex": ["codex", "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"],
    "gemini": ["gemini", "--yolo"],
}
GIVEN = {"gemini": {"GEMINI_CLI_TRUST_WORKSPACE": "true"}}
GOAL = "lower n, as an agent asked for"


def wait_for_it(results: Sequence[str]) -> Json:
    """The arguments of wait_for_loop: the loop that start_loop told of."""
    found = re.search(r'"loop":\s*\{\s*"id":\s*"(\w+)"', plain(results[0]))
    return {"loop": found[1] if found else "none"}


def what_came(results: Sequence[str]) -> str:
    """The model's last words: outcome and best score, as wait_for_loop told them."""
    text = plain(results[1])
    outcome = re.search(r'"outcome":\s*"(\w+)"', text)
    best = re.search(r'"best":\s*\{[^{}]*?"score":\s*([\d.]+)', text)
    return f"It {outcome[1]} n to {float(best[1]):g}." if outcome and best else f"I can't read: {text}"


def plain(result: str) -> str:
    """A tool's result, which one of them hands on as a string within JSON."""
    return result.replace('\\"', '"').replace("\\n", "\n")


@pytest.mark.parametrize("agent", LINES)
def test_the_real_program_starts_a_loop_waits_for_it_and_tells_its_best_score(
    agent: str,
    shared_beatctl: Beatctl,
    place: Path,
    original_environment: dict[str, str],
) -> None:
    path = path_with_agents(original_environment)
    if not shutil.which(agent, path=path):
        pytest.skip(f"{agent} is not installed; BEATCTL_TEST_AGENTS=folder says where")
    repository = Repository(place / "work", shared_beatctl.environ)
    start: Json = {"goal": GOAL, "eval": "cat n", "direction": "minimize", "max_iterations": 2}
    start["agent"] = repository.agent("echo $(($(cat n) - 10)) > n")
    calls = [Tool("beatctl", "start_loop", start), Tool("beatctl", "wait_for_loop", wait_for_it)]
    calls.append(Tool("beatctl", "loop_report", wait_for_it))
    script = Script(runs=[calls], last_words=what_came)
    with serve(script) as address:
        own = environment(agent, address, place, f"{shared_beatctl.program.parent}:{path}")
        environ = {**shared_beatctl.environ, **own, **GIVEN.get(agent, {})}
        shared_beatctl("init", "--mcp", agent, cwd=repository.folder, env=environ, expect=0)
        if agent == "codex":  # its only turn would not wait for a server that takes a second to start
            with (place / "home" / ".codex" / "config.toml").open("a") as settings:
                settings.write("required = true\n")
        done = subprocess.run(
            [*LINES[agent], "--model", MODELS[agent]],
            input=b"Lower n.",
            cwd=repository.folder,
            env=environ,
            capture_output=True,
            timeout=120,
            check=False,
        )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    assert b"It improved n to 30." in done.stdout, said
    (loop,) = [each for each in shared_beatctl.look_at_all().values() if each["directory"] == str(repository.folder)]
    assert (loop["state"], loop["outcome"], loop["goal"]) == ("finished", "improved", GOAL)
    rows = shared_beatctl("show", loop["id"], "--json", cwd=repository.folder, expect=0).json
    assert [(row["verdict"], row["score"]) for row in rows] == [("baseline", 50), ("keep", 40), ("keep", 30)]
    assert GOAL in str(script.prompts[-1])  # the report, the last thing the model was shown
