"""The prompt of a run from what the loop's folder and the ledger hold."""

from __future__ import annotations

from pathlib import Path

from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.activities.prompt import Standing, Task
from beatctl.activities.records import Row, Status
from beatctl.activities.run_agent import RunAgentInput, prompt_of

COUNT = 400


class Night:
    """A loop's home after many iterations, of which some early ones were kept."""

    def __init__(self, place: Path) -> None:
        self.home = Home(place)
        self.folder = self.home.loop("k3f9")
        self.folder.root.mkdir(parents=True)
        self.ledger = Ledger(place / "ledger.db")
        status = Status(id="k3f9", goal="x", strategy="optimize", state="running", directory="/w")
        rows = [
            {"iteration": n, "verdict": "keep" if n in (3, 7) else "discard", "summary": f"tried {n}"}
            for n in range(1, COUNT + 1)
        ]
        self.ledger.write(status, *(Row.model_validate(row | {"started_at": "", "duration_s": 1}) for row in rows))

    def prompt(self, **more: object) -> tuple[str, str | None]:
        task = {"goal": "lower n", "strategy": "optimize", "evaluator": "cat n", "direction": "minimize", **more}
        self.folder.task.write_text(Task.model_validate(task).model_dump_json())
        given = RunAgentInput(
            loop="k3f9",
            run="agent",
            agent=AgentSpec(kind="command", name="x", argv=["x"]),
            timeout_s=1,
            directory="/w",
            worktree="/w",
            standing=Standing(iteration=COUNT + 1),
        )
        return prompt_of(self.home, self.ledger, given)


def test_what_was_kept_long_ago_is_told_after_a_long_night(place: Path) -> None:
    text, problem = Night(place).prompt()
    assert problem is None
    for number in (3, 7):
        assert f"#{number} keep: tried {number}" in text
    told = text.count(": tried ")
    assert f"… and {COUNT - told} others left out." in text
    assert f"#{COUNT} discard" in text


def test_a_template_that_fails_in_the_night_costs_no_iteration(place: Path) -> None:
    night = Night(place)
    text, problem = night.prompt(template="lower it\n{{ 1 / (401 - iteration) }}")
    assert text == night.prompt()[0]
    assert problem == "the prompt template failed (line 2: division by zero)"
