"""What an agent remembers of the iterations before: its own session, what was tried, by the user's template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.loops.conftest import Loops
from tests.loops.test_agent_limits import LOWER, Agents


@pytest.fixture
def claudes(place: Path) -> Agents:
    return Agents(place)


def asked(program: str) -> list[Any]:
    """What each run was to resume, its session and its prompt."""
    return [json.loads(line) for line in Path(program).with_name("asked").read_text().splitlines()]


def test_a_session_goes_on_and_one_that_is_gone_costs_no_iteration(own_loops: Loops, claudes: Agents) -> None:
    loops = own_loops
    claude = claudes.make("ok", "limit 3", "ok", "refuse", "ok")
    env = {"BEATCTL_CONTINUE_AS_NEW_EVENTS": "40", "BEATCTL_LIMIT_MARGIN_S": "1"}
    words = ("--agent", claude, "-n", "4", "--memory", "session")
    status = loops.start(*LOWER, *words, expect=0, env=env)
    loop = status["id"]
    assert (status["iteration"], status["failures"], status["best"]["score"]) == (4, 0, 46)
    runs = asked(claude)
    # The limit's run is repeated in the same session, the refused one in a new session.
    assert [run["resumes"] for run in runs] == [None, "session-1", "session-1", "session-1", None, "session-5"]
    rows = loops.rows(loop)
    assert [row["agent"]["session_id"] for row in rows[1:]] == ["session-1", "session-1", "session-5", "session-5"]
    assert "a new session was begun: claude" in rows[3]["reason"]
    assert "No conversation found" in rows[3]["reason"]
    assert [rows[number]["reason"] for number in (1, 2, 4)] == [None, None, None]
    for news in (runs[2], runs[5]):
        assert "You go on in your session" in news["prompt"]
        assert "lower n" not in news["prompt"].partition("## What came of it")[0]
    assert "#3 keep 47" in runs[5]["prompt"]
    assert "#2 keep 48" not in runs[5]["prompt"]
    assert runs[4]["prompt"].startswith("lower n\n")
    assert "#1 keep 49" in runs[4]["prompt"]
    shown = loops.beatctl("show", loop, "3", "--prompt", cwd=loops.repository.folder, expect=0).stdout
    assert shown.index("Prompt, run 1 of 2") < shown.index("your session of iteration 2")
    assert shown.index("Prompt, run 2 of 2") < shown.index("#1 keep 49")


def test_each_step_of_a_pipeline_has_its_session_also_after_the_loop_had_ended(loops: Loops, claudes: Agents) -> None:
    claude = claudes.make("ok")
    words = ("--step", "find it", "--step", "mend it", "--eval", "cat n", "--minimize", "--memory", "session")
    loop = loops.start(*words, "--agent", claude, "-n", "2", expect=0)["id"]
    loops.do("resume", loop, "-n", "+1")
    runs = asked(claude)
    one, two = "session-1", "session-2"
    assert [run["resumes"] for run in runs] == [None, None, one, two, one, two]
    assert "step 2 of 2 again" in runs[5]["prompt"]
    assert "session of iteration 2" in runs[5]["prompt"]


def test_what_was_tried_before_is_named_and_the_users_template_is_the_prompt(loops: Loops) -> None:
    repo = loops.repository
    template = repo.write("prompt.j2", "MINE {{ iteration }} of {{ max_iterations }}\n{{ default }}")
    repo.git("add", "-A")
    repo.git("commit", "-qm", "a template")
    agent = repo.agent("case $i in 1|3) n=41;; 2) n=40;; 4) exit 0;; 5) n=50;; esac; echo $n > n; echo tried $n")
    words = (*LOWER, "-a", agent, "-n", "5", "--prompt-template", str(template))
    loop = loops.start(*words, expect=0)["id"]
    rows = loops.rows(loop)
    assert [row["verdict"] for row in rows[1:]] == ["keep", "keep", "discard", "discard", "discard"]
    assert [row["repeat_of"] for row in rows] == [None, None, None, 1, 2, 0]
    assert rows[3]["tree"] == rows[1]["tree"]
    said = loops.beatctl("show", loop, cwd=repo.folder, expect=0).stdout.splitlines()
    assert "tried 41 (same as #1)" in said[3]
    assert "same as" not in said[4], "it changed nothing, and says so"
    assert "same as the baseline" in said[5]
    shown = loops.beatctl("show", loop, "5", "--prompt", cwd=repo.folder, expect=0).stdout
    assert "same as the baseline: it came to the same files" in shown
    assert "MINE 5 of 5\n  lower n\n" in shown
    assert "#3 discard 41 (the same change as #1): tried 41" in shown
    report = loops.beatctl("report", loop, cwd=repo.folder, expect=0).stdout
    assert "2 experiments came to the same files as an earlier one (#3 #1, #5 the baseline)" in report
