"""The prompt of one agent run: a pure function of the goal, the standing, and what was tried before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from beatctl.activities import packed, prompt_memory, prompt_template
from beatctl.activities.figures import number
from beatctl.activities.prompt_memory import DEFAULT_BUDGET, Heads, Told
from beatctl.activities.records import Experiment
from beatctl.activities.run_files import tries_in

Memory = Literal["none", "last", "ledger", "session"]

_EXPERIMENTS_HEAD = (
    "## Experiments so far, newest first\n"
    "Discarded and failed ones are not in the files any more unless said otherwise: don't repeat them.\n"
)


class Task(BaseModel):
    """A loop's texts, kept in its folder: they can be long, and a history holds thousands of runs."""

    goal: str
    steps: list[str] = []
    strategy: Literal["retry", "optimize"]
    evaluator: str
    check: str | None = None
    direction: Literal["minimize", "maximize"] | None = None
    memory: Memory = "ledger"
    memory_budget: int = DEFAULT_BUDGET
    """Tokens that notes, evaluator output and experiments may take together."""
    template: str | None = None
    """The user's own (Jinja2), in place of what is composed here."""


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
    resumes: int | None = None
    """The iteration whose session the agent goes on with; None: it knows nothing of any before."""
    notes_told: int = 0
    """How many of the notes that session has been told."""
    notes_taken_back: bool = False
    """Notes that it was told have been cleared."""


def compose(
    task: Task, standing: Standing, rows: Sequence[Experiment], last_output: str, notes: Sequence[str] = ()
) -> str:
    """The prompt. `rows` newest first, with gaps where they are not all; `last_output` the end of what the last
    evaluator (or check) printed; `notes` the user's, oldest first, which are sent whatever the agent is told of the
    past. Raises prompt_template.TemplateProblem."""
    resumed = standing.resumes is not None
    total = rows[0].iteration if rows else 0
    if standing.resumes is not None:
        rows = [row for row in rows if row.iteration >= standing.resumes]
        total -= max(0, standing.resumes - 1)
        notes = notes[standing.notes_told :]
    elif task.memory == "last":
        rows, total = rows[:1], min(1, total)
    elif task.memory == "none":
        rows, total, last_output = (), 0, ""
    told = prompt_memory.told(
        rows,
        last_output,
        notes,
        budget=task.memory_budget,
        heads=_heads(task, standing),
        total=total,
        whole=task.memory == "last",
    )
    text = _news(task, standing, told) if resumed else _whole(task, standing, told)
    if task.template is None:
        return text
    return prompt_template.render(task.template, _variables(task, standing, told, text))


def _work(task: Task, standing: Standing) -> str:
    return task.steps[standing.step - 1] if task.steps else task.goal


def _heads(task: Task, standing: Standing) -> Heads:
    if standing.resumes is not None:
        since = f"## What came of it\n#{standing.resumes} was your last in this session.\n"
        return Heads(prompt_memory.NEW_NOTES_HEAD, prompt_memory.OUTPUT_HEAD, since)
    if task.memory == "last":
        experiments = "## The last try\n"
    else:
        experiments = _EXPERIMENTS_HEAD if task.strategy == "optimize" else "## Tries so far, newest first\n"
    return Heads(prompt_memory.NOTES_HEAD, prompt_memory.OUTPUT_HEAD, experiments)


def _whole(task: Task, standing: Standing, told: Told) -> str:
    """All that an agent with a clean context has to know."""
    work = _work(task, standing)
    if task.memory == "none":
        return f"{work.rstrip()}\n\n{told.sections['notes']}\n" if told.notes else work
    return "\n\n".join([work.strip(), _rules(task, standing), *told.sections.values()]) + "\n"


def _news(task: Task, standing: Standing, told: Told) -> str:
    """What is new since the agent's session was left."""
    lines = [f"## What is new\n{_which(standing)} You go on in your session of iteration {standing.resumes}."]
    lines.append("The goal, how it is judged and what you must leave alone are as before.")
    if task.steps:
        lines.append(f"You do step {standing.step} of {len(task.steps)} again.")
    if task.strategy == "optimize":
        lines += _to_beat(standing)
        lines.append(
            "The files have been put back to the best version so far: what was not kept is not in them any more. "
            "Look at them before you edit. Try one new idea, and say in your last message which."
        )
    else:
        lines.append("It does not pass yet. The files may have been put back or changed since: look before you edit.")
    if standing.notes_taken_back:
        lines.append("The user has taken back the earlier notes.")
    sections = {name: told.sections[name] for name in ("experiments", "notes", "output") if name in told.sections}
    return "\n\n".join(["\n".join(lines), *sections.values()]) + "\n"


def _which(standing: Standing) -> str:
    limit = f" of at most {standing.max_iterations}" if standing.max_iterations else ""
    return f"This is iteration {standing.iteration}{limit}."


def _to_beat(standing: Standing) -> list[str]:
    lines = []
    if standing.best is not None:
        which = "the baseline" if not standing.best_iteration else f"experiment {standing.best_iteration}"
        lines.append(f"Score to beat: {number(standing.best)} ({which}); baseline: {number(standing.baseline)}.")
    if standing.target is not None:
        lines.append(f"Target: {number(standing.target)}.")
    return lines


def _rules(task: Task, standing: Standing) -> str:
    lines = [f"## How this is judged\n{_which(standing)}"]
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
        lines += _to_beat(standing)
        lines.append("The files are the best version so far. Try one idea, and say in your last message which.")
    lines.append(
        "Change files in this folder only, leave the evaluator and git's history alone, and ask nothing: "
        "nobody is there to answer."
    )
    return "\n".join(lines)


def _variables(task: Task, standing: Standing, told: Told, default: str) -> dict[str, object]:
    experiments = [row.model_dump() for row in told.experiments]
    return {
        "goal": task.goal,
        "work": _work(task, standing),
        "step": standing.step,
        "steps": task.steps,
        "iteration": standing.iteration,
        "max_iterations": standing.max_iterations,
        "strategy": task.strategy,
        "evaluator": task.evaluator,
        "check": task.check,
        "samples": standing.samples,
        "direction": task.direction,
        "baseline": _plain(standing.baseline),
        "best": _plain(standing.best),
        "best_iteration": standing.best_iteration,
        "target": _plain(standing.target),
        "memory": task.memory,
        "resumed": standing.resumes is not None,
        "last_output": told.output,
        "experiments": [{**row, "score": _plain(row["score"])} for row in experiments],
        "left_out": told.left_out,
        "last": {**experiments[0], "score": _plain(experiments[0]["score"])} if experiments else None,
        "notes": told.notes,
        "default": default,
    }


def _plain(score: float | None) -> float | int | None:
    """A score that a template shows as people write it."""
    return int(score) if score is not None and score == int(score) and abs(score) < 1e15 else score


EXAMPLE = (
    Task(
        goal="reduce bundle size of the dashboard module",
        strategy="optimize",
        evaluator="node scripts/measure-bundle.js",
        check="npm test",
        direction="minimize",
    ),
    Standing(iteration=4, max_iterations=50, baseline=239107, best=204880, best_iteration=2, notes=1),
    [
        Experiment(iteration=3, verdict="discard", score=206112, summary="inlined the chart icons", parent=2),
        Experiment(iteration=2, verdict="keep", score=204880, summary="replaced moment with date-fns", parent=0),
        Experiment(iteration=1, verdict="crash", reason="claude was ended after its time limit of 1800 s", parent=0),
    ],
    "dist/dashboard.js 206112 bytes\n206112",
    ["try lazy loading of the chart"],
)
"""A loop's fourth prompt, as docs/prompts.md shows it: what `compose` takes."""


def check_template(task: Task) -> None:
    """Try a task's template at its first iteration, with a past, and in a session that goes on. Raises
    prompt_template.TemplateProblem."""
    prompt_template.check_names(task.template or "")
    _, standing, rows, output, notes = EXAMPLE
    compose(task, Standing(iteration=1, max_iterations=10), [], "")
    compose(task, standing, rows, output, notes)
    if task.memory == "session":
        compose(task, standing.model_copy(update={"resumes": 3}), rows, output, notes)


def last_evaluator_output(iteration: Path, characters: int) -> str:
    """The end of what an iteration's last evaluator run (else its check) printed; empty when none ran."""
    runs = [one for one in tries_in(iteration) if one.run.name.startswith(("check", "evaluator"))]
    newest = max(runs, key=lambda one: (one.began, one.run.name, one.number), default=None)
    if newest is None:
        return ""
    return (tail(newest.stdout, characters) + "\n" + tail(newest.stderr, characters)).strip()


def tail(path: Path, characters: int) -> str:
    """The end of a text file that may be huge; invalid UTF-8 is replaced. Empty when there is none."""
    return packed.tail(path, 4 * characters).decode("utf-8", "replace")[-characters:]
