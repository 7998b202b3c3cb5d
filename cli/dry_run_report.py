"""What `start --dry-run` found out, in words and as JSON: pure functions."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from beatctl.cli import render
from beatctl.cli.limit_options import unbounded_warning
from beatctl.cli.output import visible
from beatctl.cli.units import in_words

if TYPE_CHECKING:
    from beatctl.activities.run_evaluator import EvaluatorResult
    from beatctl.cli.measuring import Measured
    from beatctl.workflows.spec import LoopSpec

_SMALL = 0.01
"""An improvement of one percent is one that people want to see kept."""


def noise(scores: Sequence[float]) -> float | None:
    """How far measurements of the same thing are apart, relative to their median; None where that is 0."""
    middle = statistics.median(scores)
    spread = max(scores) - min(scores)
    if spread == 0:
        return 0.0
    return spread / abs(middle) if middle else None


def at_most(spec: LoopSpec) -> dict[str, float | int | None]:
    """The most that can run: agent runs, evaluator runs, seconds; None: nothing bounds it but the user."""
    limits = spec.limits
    iterations = limits.max_iterations or None
    steps = max(1, len(spec.steps))
    # A candidate without a score has the best measured again.
    evaluations = spec.samples * (2 if spec.strategy == "optimize" else 1)
    first_s = spec.samples * limits.eval_timeout_s
    first_s += (limits.eval_timeout_s if spec.check else 0) + (spec.setup_timeout_s if spec.setup else 0)
    one_s = steps * limits.agent_timeout_s + (evaluations + bool(spec.check)) * limits.eval_timeout_s
    bounded = limits.agent_timeout_s and limits.eval_timeout_s and (spec.setup_timeout_s or not spec.setup)
    total = None
    if bounded and iterations is not None:
        total = first_s + iterations * (one_s + limits.cooldown_s)
    if bounded and limits.for_s:  # what has begun is finished
        total = min(limits.for_s + one_s, total if total is not None else float("inf"))
    return {
        "agent_runs": iterations * steps if iterations is not None else None,
        "evaluator_runs": spec.samples + iterations * evaluations if iterations is not None else None,
        "seconds": total,
    }


def at_most_words(spec: LoopSpec) -> str:
    most = at_most(spec)
    if most["agent_runs"] is None:
        until = f"{in_words(spec.limits.for_s)}, and what runs then" if spec.limits.for_s else "you stop it"
        return f"no number of runs is set: until {until}"
    agents, evaluations = most["agent_runs"], most["evaluator_runs"]
    words = f"{agents:,} agent run{'s' if agents != 1 else ''}, {evaluations:,} evaluator runs"
    return words + (f", {in_words(most['seconds'])} if each takes its whole time" if most["seconds"] else "")


def lines(measured: Measured, *, where: str) -> list[str]:
    """The report: prompt first, since it is long; what was measured last."""
    spec = measured.spec
    fields: list[tuple[str, str]] = []
    if measured.setup is not None:
        fields.append(("setup", _ended(measured.setup)))
    if measured.check is not None:
        fields.append(("check", _ended(measured.check)))
    fields += _score_fields(spec, measured.runs) if spec.strategy == "optimize" else _pass_fields(measured.runs)
    if measured.runs:
        took = [run.duration_s for run in measured.runs]
        fields.append(
            ("each took", f"{in_words(statistics.median(took))} ({in_words(min(took))} to {in_words(max(took))})")
        )
    if measured.problem is not None:
        fields.append(("problem", visible(measured.problem)))
    fields += [("note", visible(hint)) for hint in hints(measured)]
    fields.append(("agent", render.agent_words(spec.agent)))
    if measured.command is not None:
        fields.append(("command", command_words(measured)))
    fields.append(("limits", render.limits_line(spec.limits.model_dump(), strategy=spec.strategy)))
    fields.append(("at most", at_most_words(spec)))
    fields.append(("folder", where))
    found = [f"{name:<10}{text}" for name, text in fields]
    prompts: list[str] = []
    for number, prompt in enumerate(measured.prompts, 1):
        step = f", step {number}" if spec.steps else ""
        prompts += [f"--- The prompt of iteration 1{step}", *prompt.rstrip().split("\n")]
    return [*prompts, *(["---"] if prompts else []), *found]


def hints(measured: Measured) -> list[str]:
    """What to think of before the loop is started."""
    spec, runs = measured.spec, measured.runs
    found = list(measured.warnings)
    if measured.put_back:
        paths = ", ".join(measured.put_back[:3]) + (", …" if len(measured.put_back) > 3 else "")
        kept = f"; kept as {measured.kept[0]}" if measured.kept else ""
        found.append(f"What changed while commands ran was put back: {paths}{kept}.")
    scores = [run.score for run in runs if run.score is not None]
    unbounded = unbounded_warning(spec.limits.model_dump())
    if unbounded:
        found.append(unbounded)
    if measured.problem is not None or not runs:
        return found
    if spec.strategy == "optimize":
        relative = noise(scores)
        if relative is None or relative >= _SMALL:
            much = f"{relative:.1%}" if relative is not None else "more than its own size"
            more = "" if spec.samples > 1 else ", or add --samples 5: the median of five counts then"
            found.append(
                f"The same files score up to {much} apart: a smaller gain may be luck. Steady the evaluator{more}."
            )
        if spec.limits.target is not None and _met(spec, statistics.median(scores)):
            found.append("The baseline meets the target already: a loop would end at once.")
        return found
    passes = sum(run.exit_code == 0 for run in runs)
    if passes == len(runs):
        found.append("Already passes: a loop would end at once, nothing spent.")
    elif passes:
        found.append(
            f"Flaky: {passes} of {len(runs)} runs passed on the same files. --samples 5 wants five passes in a row."
        )
    return found


def as_json(measured: Measured) -> dict[str, Any]:
    """The same for programs."""
    spec = measured.spec
    scores = [run.score for run in measured.runs if run.score is not None]
    summary = None
    if scores:
        summary = {
            "min": min(scores),
            "median": statistics.median(scores),
            "max": max(scores),
            "noise": noise(scores),
        }
    return {
        "goal": spec.goal,
        "strategy": spec.strategy,
        "direction": spec.direction,
        "problem": measured.problem,
        "score": summary,
        "evaluations": [_run_json(run) for run in measured.runs],
        "passes": sum(run.exit_code == 0 for run in measured.runs) if spec.strategy == "retry" else None,
        "setup": _run_json(measured.setup) if measured.setup else None,
        "check": _run_json(measured.check) if measured.check else None,
        "notes": hints(measured),
        "put_back": measured.put_back,
        "kept": measured.kept,
        "agent": {
            "name": spec.agent.name,
            "version": spec.agent.version,
            "model": spec.agent.model,
            "permissions": spec.agent.permissions if spec.agent.kind != "command" else None,
            "command": _command(measured) if measured.command else None,
        },
        "limits": spec.limits.model_dump(),
        "at_most": at_most(spec),
        "prompts": measured.prompts,
        "worktree": spec.origin is not None,
    }


def command_words(measured: Measured) -> str:
    """The agent's command line, as a shell would take it, but for the prompt's place."""
    assert measured.command is not None
    words = shlex.join(_command(measured))
    return visible(words) + (" < {prompt_file}" if measured.command.stdin else "")


def _command(measured: Measured) -> list[str]:
    assert measured.command is not None
    prompt = measured.prompts[0]
    return [
        "{prompt}"
        if word.strip() == prompt.strip()
        else word.replace(prompt, "{prompt}").replace(measured.prompt_file, "{prompt_file}")
        for word in measured.command.argv
    ]


def _score_fields(spec: LoopSpec, runs: Sequence[EvaluatorResult]) -> list[tuple[str, str]]:
    scores = [run.score for run in runs if run.score is not None]
    if not scores:
        return []
    better = "lower" if spec.direction == "minimize" else "higher"
    text = f"{render.score(statistics.median(scores))} ({better} is better)"
    if len(set(scores)) == 1:
        return [("score", f"{text}, the same {len(scores)} times")]
    relative = noise(scores)
    spread = f", {relative:.2%} apart" if relative is not None else ""
    return [("score", f"{text}, from {render.score(min(scores))} to {render.score(max(scores))}{spread}")]


def _pass_fields(runs: Sequence[EvaluatorResult]) -> list[tuple[str, str]]:
    if not runs:
        return []
    words = ["pass" if run.exit_code == 0 else "fail" for run in runs]
    last = next((run.words() for run in reversed(runs) if run.exit_code != 0), "")
    return [("result", ", ".join(words) + (f" ({visible(last)})" if last else ""))]


def _ended(run: EvaluatorResult) -> str:
    return f"{visible(run.words())}, {in_words(run.duration_s)}"


def _met(spec: LoopSpec, score: float) -> bool:
    target = spec.limits.target
    assert target is not None
    return score <= target if spec.direction == "minimize" else score >= target


def _run_json(run: EvaluatorResult) -> dict[str, Any]:
    code = run.exit_code if run.signal is None else -run.signal
    return {
        "ended_by": run.ended_by,
        "exit_code": code,
        "score": run.score,
        "duration_s": run.duration_s,
        "line": run.line,
        "problem": run.problem,
    }
