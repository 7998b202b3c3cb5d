"""The real claude, codex and gemini as clients of `beatctl mcp`, as `init --mcp` sets them up: run with
`-m real_agents`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from beatctl.activities.ledger import Ledger
from tests.agents.drive import MODELS, environment, path_with_agents
from tests.agents.scripted_llm import Script, serve
from tests.support import Beatctl

pytestmark = pytest.mark.real_agents

LINES = {
    "claude": ["claude", "-p", "--mcp-config", ".mcp.json", "--allowedTools", "mcp__beatctl", "Bash(sleep:*)"],
    "codex": ["codex", "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"],
    "gemini": ["gemini", "--yolo"],
}
GIVEN = {"gemini": {"GEMINI_CLI_TRUST_WORKSPACE": "true"}}


@pytest.mark.parametrize("agent", LINES)
def test_the_real_program_starts_a_loop_waits_for_it_and_reads_its_report(
    agent: str, beatctl: Beatctl, place: Path, original_environment: dict[str, str]
) -> None:
    path = path_with_agents(original_environment)
    if not shutil.which(agent, path=path):
        pytest.skip(f"{agent} is not installed; BEATCTL_TEST_AGENTS=folder says where")
    work = place / "work"
    work.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=work, check=True, env=beatctl.environ)
    (work / "agent.sh").write_text("#!/bin/sh\necho found > word\necho 'found the word'\n")
    (work / "agent.sh").chmod(0o755)
    start = {"goal": "find the word", "until": "grep -q found word", "agent": "./agent.sh", "max_iterations": 2}
    script = Script(command="sleep 1", calls=[("start_loop", start), ("wait_for_loop", {}), ("loop_report", {})])
    with serve(script) as address:
        own = environment(agent, address, place, f"{beatctl.program.parent}:{path}")
        environ = {**beatctl.environ, **own, **GIVEN.get(agent, {})}
        beatctl("init", "--mcp", agent, cwd=work, env=environ, expect=0)
        if agent == "codex":  # its only turn would not wait for a server that takes a second to start
            with (place / "home" / ".codex" / "config.toml").open("a") as settings:
                settings.write("required = true\n")
        done = subprocess.run(
            [*LINES[agent], "--model", MODELS[agent]],
            input=b"Find the word.",
            cwd=work,
            env=environ,
            capture_output=True,
            timeout=60,
            check=False,
        )
    said = (done.stdout + done.stderr).decode()
    loops = Ledger(beatctl.home / "ledger.db").statuses()
    assert [(loop.outcome, loop.iteration, loop.directory) for loop in loops] == [("reached", 1, str(work))], said
    assert done.returncode == 0, said
    assert script.last_words in said
    # What the model was shown last: the report, in the words of the loop's agent.
    assert "found the word" in str(script.prompts[-1])
    assert (work / "word").read_text() == "found\n"
