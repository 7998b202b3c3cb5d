"""The baseline: the untouched workspace, taken and evaluated before any agent runs. Row 0 of the ledger."""

from __future__ import annotations

from temporalio.exceptions import FailureError, is_cancelled_exception

from beatctl.activities.conclude import ConcludeInput
from beatctl.activities.records import Mark
from beatctl.activities.run_evaluator import EvaluatorResult
from beatctl.workflows.calls import problem_of
from beatctl.workflows.evaluating import measure, run_check
from beatctl.workflows.iteration import Experiment, Loop
from beatctl.workflows.spec import LoopSpec
from beatctl.workflows.stopping import Reason
from beatctl.workflows.verdict import Judgement, evaluator_crashed, judge_retry, score_of


async def baseline(loop: Loop, it: Experiment) -> tuple[Reason, str] | None:
    """Take the baseline and score it. A reason to end, with its sentence, where the loop cannot begin."""
    state, spec = loop.state, loop.spec
    if spec.setup is not None:
        loop.doing("setup")
        done = await loop.calls.run_setup(spec.setup)
        if done.ended_by != "exit" or done.exit_code != 0:
            words = f"The setup failed; no agent ran. {done.sentence()} Command: {spec.setup}"
            return "no-baseline", f"{words} (all it printed: beatctl logs {spec.id})"
    loop.doing("baseline snapshot")
    try:
        opened = await loop.calls.open()
    except FailureError as error:
        if is_cancelled_exception(error):
            raise
        return "no-baseline", f"The folder could not be taken as a baseline; no agent ran. {problem_of(error)[1]}"
    it.take(opened.baseline, it.name, opened.tree)
    it.waited_s = opened.waited_s
    state.first, state.warnings = opened.baseline, opened.warnings
    state.baseline = state.base = Mark(iteration=0, snapshot=opened.baseline)
    refused = await run_check(loop, it)
    if refused is not None:
        problem: str | None = _check_problem(refused.reason or "")
    else:
        it.evaluations = await measure(loop, it)
        problem = baseline_problem(spec, it.evaluations)
    missing = ""
    if spec.origin is not None and (problem is not None or _red(loop, it.evaluations)):
        missing = await loop.calls.find_missing(spec.origin)
    if problem is not None and missing:
        problem = f"{problem}{'' if problem.endswith('.') else '.'} {missing}"
    it.judgement = Judgement("baseline", problem or missing or None, score_of(it.evaluations, loop.spec.samples))
    state.baseline = Mark(iteration=0, score=it.judgement.score, snapshot=opened.baseline)
    state.base = state.baseline.model_copy()
    if loop.spec.strategy == "optimize":
        state.best = state.baseline.model_copy() if problem is None else None
    elif problem is None:
        judged = judge_retry(it.evaluations, loop.spec.samples)
        state.passed = judged is not None and judged.verdict == "pass"
        state.best = state.baseline.model_copy() if state.passed else None
    state.opened = state.cooled = True
    row = it.row(loop, None)
    state.count(row)
    it.written = row
    status = state.status(loop.spec, loop.time())
    label = ConcludeInput(row=row, status=status, label=it.ref, restore=opened.baseline, keep=it.left())
    snapshot = await loop.calls.conclude(label)
    state.first = snapshot
    for held in (state.best, state.base, state.baseline):
        if held is not None:
            held.snapshot = snapshot
    return ("no-baseline", problem) if problem is not None else None


def _check_problem(reason: str) -> str:
    words = reason.removeprefix("check: ")
    return f"The check fails on the untouched folder ({words}); no agent ran. Mend what it finds, or the check."


def _red(loop: Loop, runs: list[EvaluatorResult]) -> bool:
    """Whether a retry evaluator does not pass yet: what it was started for, or a sign that something is missing."""
    return loop.spec.strategy == "retry" and bool(runs) and runs[-1].exit_code != 0


def baseline_problem(spec: LoopSpec, runs: list[EvaluatorResult]) -> str | None:
    """Why no loop can begin after these evaluator runs on the untouched folder; None where it can."""
    last = runs[-1]
    if spec.strategy == "retry":
        if evaluator_crashed(last):
            return f"The evaluator cannot run; no agent ran. {last.sentence()} Command: {spec.evaluator}"
        return None
    if last.score is not None:
        return None
    ended = last.ended_by != "exit" or last.exit_code != 0
    words = last.sentence("The evaluator") if ended else f"{last.problem}."
    hint = "Mend it, then start again." if ended else "Print the number last, or write it to $BEATCTL_SCORE_FILE."
    return f"No score from the baseline; no agent ran. {words} {hint}"
