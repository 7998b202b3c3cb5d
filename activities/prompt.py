"""The prompt of one agent run: a pure function of the goal, the standing, and what was tried before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from beatctl.activities import packed
from beatctl.activities.ledger import Experiment
from beatctl.activities.run_files import tries_in

LEDGER_BUDGET = 12_000
"""Characters of the prompt given to the experiments tried."""
OUTPUT_BUDGET = 4_000
"""Characters of the prompt given to the end of the last evaluator output."""
NOTES_BUDGET = 12_000
"""Characters of the prompt given to the user's notes; the newest always fits."""
MOST_EXPERIMENTS = 150
"""Lines about experiments at most, so that a long night's prompts cost what a short one's do."""
_SUMMARY = 160


class Task(BaseModel):
    """A loop's texts, kept in its folder: they can be long, and a history holds thousands of runs."""

    goal: str
    steps: list[str] = []
    strategy: Literal["retry", "optimize"]
    evaluator: str
    check: str | None = None
    direction: Literal["minimize", "maximize"] | None = None
    memory: Literal["none", "ledger"] = "ledger"


class Standing(BaseModel):
    """Where the loop stands when an agent starts."""

    iteration: int
    max_iterations: int = 0
    step: int = 1
    baseline: float | None = None
    best: float | None = None
    best_iteration: int | None = None
    target: float | None = None
    samples: int = 1
    notes: int = 0
    """How many of the user's notes the prompt carries."""


def compose(
    task: Task, standing: Standing, rows: Sequence[Experiment], last_output: str, notes: Sequence[str] = ()
) -> str:
    """The prompt. `rows` newest first; `last_output` the end of what the last evaluator (or check) printed; `notes` the
    user's, oldest first, which are sent whatever the agent is told of the past."""
    work = task.steps[standing.step - 1] if task.steps else task.goal
    if task.memory == "none":
        return f"{work.rstrip()}\n\n{_notes(notes)}\n" if notes else work
    parts = [work.strip(), _rules(task, standing)]
    if notes:
        parts.append(_notes(notes))
    if last_output.strip():
        parts.append(f"## The end of the last evaluator output\n```\n{last_output.strip()[-OUTPUT_BUDGET:]}\n```")
    tried = _experiments(rows)
    if tried:
        parts.append(
            "## Experiments so far, newest first\n"
            "Discarded and failed ones are not in the files any more unless said otherwise: don't repeat them.\n"
            if task.strategy == "optimize"
            else "## Tries so far, newest first\n"
        )
        parts[-1] += tried
    return "\n\n".join(parts) + "\n"


def _rules(task: Task, standing: Standing) -> str:
    limit = f" of at most {standing.max_iterations}" if standing.max_iterations else ""
    lines = [f"## How this is judged\nThis is iteration {standing.iteration}{limit}."]
    when = "after the last step" if task.steps else "when you are done"
    if task.steps:
        lines.append(f"You do step {standing.step} of {len(task.steps)}; the other steps are not yours.")
    if task.check:
        lines.append(f"First `{task.check}` has to exit 0, else the work is not accepted.")
    if task.strategy == "retry":
        passes = f" {standing.samples} times in a row" if standing.samples > 1 else ""
        lines.append(f"The evaluator `{task.evaluator}` runs {when}; it has to exit 0{passes}.")
    else:
        lower = "lower" if task.direction == "minimize" else "higher"
        lines.append(f"The evaluator `{task.evaluator}` runs {when} and prints a score: {lower} is better.")
        if standing.best is not None:
            which = "the baseline" if not standing.best_iteration else f"experiment {standing.best_iteration}"
            lines.append(f"Score to beat: {number(standing.best)} ({which}); baseline: {number(standing.baseline)}.")
        if standing.target is not None:
            lines.append(f"Target: {number(standing.target)}.")
        lines.append("The files are the best version so far. Try one idea, and say in your last message which.")
    lines.append(
        "Change files in this folder only, leave the evaluator and git's history alone, and ask nothing: "
        "nobody is there to answer."
    )
    return "\n".join(lines)


def _notes(notes: Sequence[str]) -> str:
    lines: list[str] = []
    used = 0
    for note in reversed(notes):
        line = "- " + note.strip().replace("\n", "\n  ")
        used += len(line) + 1
        if lines and used > NOTES_BUDGET:
            lines.append(f"({len(notes) - len(lines)} older ones left out)")
            break
        lines.append(line)
    head = "## Notes from the user, newest last\nWhere two contradict each other, the later one holds.\n"
    return head + "\n".join(reversed(lines))


def _experiments(rows: Sequence[Experiment]) -> str:
    lines: list[str] = []
    used = 0
    for row in rows:
        line = experiment_line(row)
        used += len(line) + 1
        if used > LEDGER_BUDGET or len(lines) == MOST_EXPERIMENTS:
            lines.append(f"… and {row.iteration} older ones.")
            break
        lines.append(line)
    return "\n".join(lines)


def experiment_line(row: Experiment) -> str:
    """One experiment in one line."""
    words = " ".join((row.summary or "").split())
    words = words if len(words) <= _SUMMARY else words[: _SUMMARY - 1] + "…"
    why = " ".join((row.reason or "").split())[:_SUMMARY]
    score = "" if row.score is None else f" {number(row.score)}"
    return f"#{row.iteration} {row.verdict}{score}" + (f" ({why})" if why else "") + (f": {words}" if words else "")


def number(value: float | None) -> str:
    """A score as people write it: 171204, 0.4213, never 171204.0."""
    if value is None:
        return "none"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def last_evaluator_output(iteration: Path) -> str:
    """The end of what an iteration's last evaluator run (else its check) printed; empty when none ran."""
    runs = [one for one in tries_in(iteration) if one.run.name.startswith(("check", "evaluator"))]
    newest = max(runs, key=lambda one: (one.began, one.run.name, one.number), default=None)
    if newest is None:
        return ""
    return (tail(newest.stdout, OUTPUT_BUDGET) + "\n" + tail(newest.stderr, OUTPUT_BUDGET)).strip()


def tail(path: Path, characters: int) -> str:
    """The end of a text file that may be huge; invalid UTF-8 is replaced. Empty when there is none."""
    return packed.tail(path, 4 * characters).decode("utf-8", "replace")[-characters:]
