"""The real claude, codex, gemini and opencode, driven against the scripted model: run with `-m real_agents`."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.agents.drive import CASES, Case, Driven, drive, path_with_agents
from tests.agents.test_recordings import read

pytestmark = pytest.mark.real_agents

SUBSTITUTION = "test $(cat n) -lt 5"
EVALUATORS = [
    "./score.sh",
    "./score.sh --min 90",
    "./score.sh 'a, b (c)' \"d\\e\"",
    "./score.sh ')' a,b",
    "python3 -c 'print(1, 2)'",
    "node -e 'console.log((1) + 2)' | ./score.sh 'x )' y",
    "./score.sh | tail -1",
    './score.sh 2>&1 | ./score.sh "x, y" && ./score.sh',
    "LIMIT=3 ./score.sh",
]
SCORE = "#!/bin/sh\necho 7\n"


@pytest.fixture
def path(original_environment: dict[str, str]) -> str:
    return path_with_agents(original_environment)


def run(case: Case, place: Path, path: str) -> Driven:
    if not shutil.which(case.agent, path=path):
        pytest.skip(f"{case.agent} is not installed; BEATCTL_TEST_AGENTS=folder says where")
    return drive(case, place / "run", path)


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_real_program_ends_as_its_recording_does(name: str, place: Path, path: str) -> None:
    driven = run(CASES[name], place, path)
    outcome, recorded = driven.outcome, read(name)
    same = ("ok", "kind", "model", "tokens", "cost_usd")
    assert {key: getattr(outcome, key) for key in same} == {key: getattr(recorded, key) for key in same}, outcome
    assert bool(outcome.session_id) == bool(recorded.session_id)
    assert outcome.summary == recorded.summary or not outcome.ok
    assert (outcome.reset_at is None) == (recorded.reset_at is None)


@pytest.mark.parametrize("agent", ["claude", "codex", "gemini", "opencode"])
def test_the_real_program_edits_the_workspace(agent: str, place: Path, path: str) -> None:
    driven = run(CASES[f"{agent}-ok"], place, path)
    assert (driven.workspace / "made-by-agent.txt").read_text() == "hello\n"


@pytest.mark.parametrize("agent", ["claude", "codex", "gemini", "opencode"])
def test_full_permissions_let_it_run_what_it_likes(agent: str, place: Path, path: str) -> None:
    case = Case(agent, command="mkfifo made && echo made", permissions="full", environ={"IS_SANDBOX": "1"})
    driven = run(case, place, path)
    assert driven.outcome.ok, driven.outcome
    assert (driven.workspace / "made").exists()


@pytest.mark.parametrize("agent", ["claude", "codex", "gemini", "opencode"])
@pytest.mark.parametrize("prompt", ["- lower n", "review", "x y z\n" * 9000 + "THE END"], ids=["dash", "word", "long"])
def test_the_whole_prompt_reaches_the_model(agent: str, prompt: str, place: Path, path: str) -> None:
    driven = run(replace(CASES[f"{agent}-ok"], prompt=prompt), place, path)
    assert driven.outcome.ok, driven.outcome
    assert prompt.splitlines()[-1] in str(driven.script.prompts)


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("agent", ["claude", "gemini", "opencode"])
def test_the_evaluator_may_be_run_however_it_is_written(agent: str, evaluator: str, place: Path, path: str) -> None:
    work = place / "run" / "work"
    work.mkdir(parents=True)
    (work / "score.sh").write_text(SCORE)
    (work / "score.sh").chmod(0o755)
    outcome = run(Case(agent, command=evaluator, allowed=[evaluator]), place, path).outcome
    assert outcome.ok, outcome
    assert "not allowed" not in outcome.summary


@pytest.mark.parametrize("agent", ["claude", "codex", "gemini", "opencode"])
def test_the_agents_own_session_goes_on(agent: str, place: Path, path: str) -> None:
    first = run(replace(CASES[f"{agent}-ok"], prompt="The word is heliotrope."), place, path)
    assert first.outcome.ok, first.outcome
    again = replace(CASES[f"{agent}-ok"], prompt="Which word?", session=first.outcome.session_id)
    second = run(again, place, path)
    assert second.outcome.ok, second.outcome
    assert second.outcome.session_id == first.outcome.session_id
    assert "heliotrope" in str(second.script.prompts)


def test_a_command_substitution_is_never_allowed_by_claude(place: Path, path: str) -> None:
    outcome = run(Case("claude", command=SUBSTITUTION, allowed=[SUBSTITUTION]), place, path).outcome
    assert outcome.summary.endswith(f"(It was not allowed: {SUBSTITUTION}.)")


def test_a_loop_inside_an_agent_does_not_inherit_its_session(place: Path, path: str) -> None:
    session = {"CLAUDECODE": "1", "CLAUDE_CODE_SESSION_ID": "outer", "CLAUDE_CODE_ENTRYPOINT": "cli"}
    case = Case("claude", command="env > environment.txt", allowed=["env > environment.txt"], environ=session)
    driven = run(case, place, path)
    assert "=outer" not in (driven.workspace / "environment.txt").read_text()
    assert driven.outcome.session_id != "outer"


def test_the_programs_are_found(path: str) -> None:
    assert any(shutil.which(name, path=path) for name in ("claude", "codex", "gemini")), os.environ.get("PATH")
