"""The evaluator runs of one iteration, and the judgement they come to."""

from __future__ import annotations

from beatctl.activities.run_evaluator import EvaluatorResult
from beatctl.workflows.calls import heed_cancel
from beatctl.workflows.iteration import Edited, Experiment, Loop
from beatctl.workflows.verdict import (
    Judgement,
    judge_check,
    judge_optimize,
    judge_retry,
    judge_unscored,
    score_of,
)


async def run_check(loop: Loop, it: Experiment) -> Judgement | None:
    """Run `--check` on what lies in the work tree; a verdict where it refuses it."""
    if loop.spec.check is None:
        return None
    loop.doing(f"#{it.number} check")
    result = await _run_evaluator(loop, it, "check", loop.spec.check, scored=False)
    return judge_check(result, loop.spec.strategy)


async def measure(loop: Loop, it: Experiment, kind: str = "evaluator") -> list[EvaluatorResult]:
    """Run the evaluator as many times as samples are wanted, and no more once one has decided."""
    spec = loop.spec
    runs: list[EvaluatorResult] = []
    for sample in range(1, spec.samples + 1):
        of = f" {sample} of {spec.samples}" if spec.samples > 1 else ""
        loop.doing(f"#{it.number} {kind}{of}")
        scored = spec.strategy == "optimize"
        runs.append(await _run_evaluator(loop, it, kind, spec.evaluator, scored=scored))
        if scored and runs[-1].score is None:
            break
        if not scored and judge_retry(runs, spec.samples) is not None:
            break
    return runs


async def _run_evaluator(loop: Loop, it: Experiment, kind: str, command: str, *, scored: bool) -> EvaluatorResult:
    """Raises Edited when the user has changed files while it waited for its turn."""
    limit = loop.state.limits.eval_timeout_s
    untouched = not it.touched and it.number > 0  # the baseline is taken when its turn has come
    it.running = True
    result = await loop.calls.run_evaluator(
        command, it.number, it.run_name(kind), limit, scored=scored, untouched=untouched
    )
    it.running = False
    it.waited_s += result.waited_s
    if not result.started:
        heed_cancel()
        raise Edited(result.edits, when="while it waited for its turn to be measured")
    it.touched = True
    return result


async def evaluate(loop: Loop, it: Experiment) -> Judgement:
    """Measure the snapshot in the work tree and judge it."""
    refused = await run_check(loop, it)
    if refused is not None:
        return refused
    if loop.spec.strategy == "retry":
        it.evaluations = await measure(loop, it)
        judged = judge_retry(it.evaluations, loop.spec.samples)
        assert judged is not None
        return judged
    return await _evaluate_score(loop, it)


async def _evaluate_score(loop: Loop, it: Experiment) -> Judgement:
    """Keep or discard by score. A candidate without one is told from a broken environment by scoring the best again."""
    spec, best = loop.spec, loop.state.best
    assert best is not None
    assert best.score is not None
    assert best.snapshot is not None
    assert spec.direction is not None
    while True:
        it.evaluations = await measure(loop, it)
        score = score_of(it.evaluations, spec.samples)
        if score is not None:
            return judge_optimize(score, best.score, spec.direction, changed=it.changed)
        unscored = judge_unscored(it.evaluations[-1])
        if not it.changed:
            again = it.evaluations
        else:
            await _put_back(loop, it, best.snapshot)
            again = await measure(loop, it, "best")
        if it.changed and score_of(again, spec.samples) is not None:
            return unscored
        await _put_back(loop, it, best.snapshot)
        detail = f"The evaluator gives the best version no score either ({again[-1].words()})."
        edits = await loop.pause("evaluator-broken", f"{detail} Mend it, then: beatctl resume {spec.id}")
        if edits:
            words = f"not judged, the evaluator was broken: {again[-1].words()}"
            return Judgement("inconclusive", words, edited=True)
        assert it.snapshot is not None
        await _put_back(loop, it, it.snapshot)


async def _put_back(loop: Loop, it: Experiment, snapshot: str) -> None:
    await loop.calls.restore(snapshot, it.left())
    it.touched = False
