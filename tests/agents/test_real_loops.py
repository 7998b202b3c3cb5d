"""Loops with the real claude, codex, gemini and opencode in a Node project, the scripted model behind them: run with
`-m real_agents`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.agents.dialects import Action, Read, Shell, Write
from tests.agents.drive import MODELS, environment, path_with_agents
from tests.agents.scripted_llm import Limit, Script
from tests.loops.conftest import Loops, Repository
from tests.support import Beatctl

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(600)]

AGENTS = ["claude", "codex", "gemini", "opencode"]
PROJECT = {
    "package.json": json.dumps({"name": "project", "scripts": {"test": "node --test", "measure": "node measure.js"}}),
    "sum.js": "exports.sum = (a, b) => a - b; // to be mended\n",
    "sum.test.js": """\
const test = require('node:test')
const assert = require('node:assert')
const { sum } = require('./sum.js')
test('three and four', () => assert.strictEqual(sum(3, 4), 7))
""",
    "measure.js": """\
const { sum } = require('./sum.js')
if (typeof sum(1, 1) !== 'number') throw new Error('sum is broken')
console.log(require('node:fs').statSync(__dirname + '/sum.js').size)
""",
}
SMALLER = ("make sum.js smaller", "--eval", "npm run --silent measure", "--minimize")
MENDED = "exports.sum = (a, b) => a + b\n"
SHORT = "exports.sum=(a,b)=>a+b//short\n"
SHORTER = "exports.sum=(a,b)=>a+b\n"
TIME_LIMIT_S = 400.0


@dataclass
class Real:
    """A real agent that works in a Node project, and the model behind it."""

    name: str
    loops: Loops
    script: Script
    environ: dict[str, str]

    @property
    def folder(self) -> Path:
        return self.loops.repository.folder

    def writing(self, text: str, then: str) -> list[Action]:
        """What the model asks for in a run: to look at the file, write it anew, and run the evaluator."""
        path = str(self.folder / "sum.js")
        return [Read(path), Write(path, text), Shell(then)]

    def begin(self, *words: str) -> str:
        """Start a loop with this agent; its id."""
        told = ("--agent", self.name, "--model", MODELS[self.name])
        done = self.loops.beatctl("start", *words, *told, "-d", "--json", cwd=self.folder, env=self.environ, expect=0)
        return str(done.json["id"])

    def waiting(self, loop: str) -> Any:
        return self.loops.until(loop, "the wait", lambda s: s["waiting_until"], TIME_LIMIT_S)

    def finished(self, loop: str) -> Any:
        return self.loops.finished(loop, TIME_LIMIT_S)

    def sum_js(self) -> str:
        return self.loops.repository.read("sum.js")

    def asked(self) -> list[str]:
        """What the model was sent, each request as text."""
        return [json.dumps(prompt) for prompt in self.script.prompts]


@pytest.fixture
def real(
    place: Path,
    shared_beatctl: Beatctl,
    environment: dict[str, str],
    original_environment: dict[str, str],
    scripted_llm: Callable[[Script], str],
) -> Callable[[str], Real]:
    """Makes the project and the model of an agent; what the model says is set by the test."""
    path = path_with_agents(original_environment)

    def make(name: str) -> Real:
        if not shutil.which(name, path=path):
            pytest.skip(f"{name} is not installed; BEATCTL_TEST_AGENTS=folder says where")
        repository = Repository(place / "project", environment)
        for file, text in PROJECT.items():
            repository.write(file, text)
        repository.git("add", "-A")
        repository.git("commit", "-qm", "a project")
        script = Script(last_words="I changed sum.js.")
        (place / "agent").mkdir()
        environ = agent_environment(name, scripted_llm(script), place / "agent", path)
        return Real(name, Loops(shared_beatctl, repository), script, environ)

    return make


def agent_environment(name: str, address: str, folder: Path, path: str) -> dict[str, str]:
    """The environment of a shell that starts loops with this agent."""
    environ = environment(name, address, folder, path)
    del environ["PWD"]
    return environ | {"BEATCTL_LIMIT_MARGIN_S": "1"}


def seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def verdicts(rows: Sequence[Any]) -> list[str]:
    return [row["verdict"] for row in rows]


@pytest.mark.parametrize("name", AGENTS)
def test_a_retry_loop_goes_on_until_the_tests_pass(name: str, real: Callable[[str], Real]) -> None:
    agent = real(name)
    agent.script.runs = [
        agent.writing("exports.sum = (a, b) => a * b\n", "npm test"),
        agent.writing(MENDED, "npm test"),
    ]
    loop = agent.begin("make the tests pass", "--until", "npm test", "-n", "5")
    status = agent.finished(loop)
    assert (status["outcome"], status["reason"], status["iteration"]) == ("reached", "passed", 2), status
    assert verdicts(rows := agent.loops.rows(loop)) == ["baseline", "fail", "pass"]
    assert agent.sum_js() == MENDED
    assert {row["summary"] for row in rows[1:]} == {"I changed sum.js."}
    assert all(row["agent"]["tokens"] > 0 and row["agent"]["session_id"] for row in rows[1:])
    second = [text for text in agent.asked() if "This is iteration 2" in text]
    assert "12 !== 7" in second[0]  # what the evaluator said of the first try
    assert "a * b" not in second[0]  # a clean context: nothing of the first conversation


@pytest.mark.parametrize("name", AGENTS)
def test_an_optimize_loop_ends_with_the_best_version(name: str, real: Callable[[str], Real]) -> None:
    agent = real(name)
    measure = "npm run --silent measure"
    agent.script.runs = [agent.writing(text, measure) for text in (SHORT, SHORTER, MENDED)]
    loop = agent.begin(*SMALLER, "-n", "3")
    status = agent.finished(loop)
    assert (status["outcome"], status["best"]["iteration"]) == ("improved", 2), status
    rows = agent.loops.rows(loop)
    assert verdicts(rows) == ["baseline", "keep", "keep", "discard"]
    assert [row["score"] for row in rows] == [len(text) for text in (PROJECT["sum.js"], SHORT, SHORTER, MENDED)]
    assert agent.sum_js() == SHORTER
    assert "not allowed" not in str(rows)
    assert (status["cost_usd"] or 0) > 0 or status["tokens"] > 0


@pytest.mark.parametrize("name", ["claude", "codex", "gemini"])  # opencode sits out a limit itself
def test_a_limit_with_a_reset_is_waited_out_and_costs_no_iteration(name: str, real: Callable[[str], Real]) -> None:
    agent = real(name)
    if name == "claude":  # a subscription's limit tells its reset, an API key's does not
        del agent.environ["ANTHROPIC_API_KEY"]
        agent.environ["CLAUDE_CODE_OAUTH_TOKEN"] = "scripted"
    if name == "codex":  # it tells the minute alone: what comes after it is needed
        del agent.environ["BEATCTL_LIMIT_MARGIN_S"]
    agent.script.runs = [agent.writing(text, "npm run --silent measure") for text in (SHORT, SHORTER)]
    agent.script.limit = Limit(run=2, lasts_s=20)
    loop = agent.begin(*SMALLER, "-n", "2")
    shown = agent.waiting(loop)
    assert (shown["reason"], shown["iteration"], shown["failures"]) == ("rate-limit", 1, 0)
    status = agent.finished(loop)
    assert (status["outcome"], status["iteration"], status["failures"]) == ("improved", 2, 0), status
    rows = agent.loops.rows(loop)
    assert verdicts(rows) == ["baseline", "keep", "keep"]
    assert [len(row["waits"]) for row in rows] == [0, 0, 1], rows[2]["waits"]
    (wait,) = rows[2]["waits"]
    assert wait["agent"] == name
    assert wait["reason"] == "rate-limit"
    assert agent.script.refused
    assert agent.script.reset_at <= seconds(wait["until"]) <= agent.script.reset_at + 120, wait
    assert agent.sum_js() == SHORTER


def test_claudes_limit_without_a_reset_ends_when_resume_says_so(real: Callable[[str], Real]) -> None:
    agent = real("claude")
    agent.script.outcome = "429"
    agent.script.runs = [agent.writing(SHORT, "npm run --silent measure")]
    loop = agent.begin(*SMALLER, "-n", "1")
    assert agent.waiting(loop)["reason"] == "rate-limit"
    agent.script.outcome = "ok"
    agent.loops.do("resume", loop)
    assert agent.finished(loop)["outcome"] == "improved"
    assert len(agent.loops.rows(loop)[1]["waits"]) == 1


REPAIRS = {
    "claude": "run `claude` once",
    "codex": "run `codex login`",
    "gemini": "run `gemini` once",
    "opencode": "run `opencode auth login`",
}


@pytest.mark.parametrize("name", AGENTS)
def test_a_missing_login_pauses_the_loop_with_what_repairs_it(name: str, real: Callable[[str], Real]) -> None:
    agent = real(name)
    agent.script.outcome = "401"
    agent.script.runs = [agent.writing(MENDED, "npm test")]
    loop = agent.begin("make the tests pass", "--until", "npm test", "-n", "2")
    status = agent.loops.until(loop, "the pause", lambda s: s["state"] == "paused", TIME_LIMIT_S)
    assert (status["reason"], status["iteration"], status["failures"]) == ("authentication", 0, 0), status
    assert REPAIRS[name] in status["detail"]
    agent.script.outcome = "ok"
    agent.loops.do("resume", loop)
    status = agent.finished(loop)
    assert (status["outcome"], status["iteration"]) == ("reached", 1), status
    assert agent.sum_js() == MENDED


@pytest.mark.parametrize("name", AGENTS)
def test_with_memory_session_the_second_run_knows_what_the_first_did(name: str, real: Callable[[str], Real]) -> None:
    agent = real(name)
    agent.script.runs = [agent.writing(text, "npm run --silent measure") for text in (SHORT, SHORTER)]
    loop = agent.begin(*SMALLER, "-n", "2", "--memory", "session")
    status = agent.finished(loop)
    assert (status["outcome"], status["best"]["iteration"]) == ("improved", 2), status
    first, second = (row["agent"]["session_id"] for row in agent.loops.rows(loop)[1:])
    assert first
    assert first == second
    # The same conversation goes on: before its prompt stands what the first run wrote, and said.
    before = next(text for text in agent.asked() if "iteration 2" in text).split("iteration 2")[0]
    assert SHORT.strip() in before
    assert "I changed sum.js." in before
