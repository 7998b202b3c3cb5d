"""The user's own edits, made while no child ran: they become a row of their own, and the loop goes on from there."""

from __future__ import annotations

from beatctl.workflows.evaluating import measure
from beatctl.workflows.iteration import Edited, Loop, begun, mark
from beatctl.workflows.verdict import Judgement, judge_retry, score_of


async def take_in(loop: Loop, paths: list[str], *, again: bool = False) -> None:
    """Take the edits as a snapshot and score it, whatever it comes to: what the user did stays.

    `again`: their snapshot was taken before the server forgot it; what measures it may run still.
    """
    state, spec = loop.state, loop.spec
    it = loop.current = begun(loop)
    it.changed = it.edits = True
    it.summary = f"your edits: {', '.join(paths[:5])}"
    assert state.base is not None
    while True:
        taken = await loop.calls.snapshot(it.name, child_ran=False, again=again)
        again = False
        it.take(taken.snapshot, it.name, taken.tree)
        try:
            it.evaluations = await measure(loop, it)
        except Edited:
            continue
        if spec.strategy == "retry":
            judged = judge_retry(it.evaluations, spec.samples)
            assert judged is not None
            it.judgement = Judgement(judged.verdict, judged.reason or "your edits")
            break
        score = score_of(it.evaluations, spec.samples)
        if score is not None:
            it.judgement = Judgement("keep", "your edits", score)
            break
        await loop.calls.restore(taken.snapshot, it.left())
        it.touched = False
        said = it.evaluations[-1].words()
        await loop.pause("evaluator-broken", f"With your edits there is no score: {said}.")
    parent = state.base.iteration
    state.base = mark(it)
    state.unchanged = state.failures = 0
    state.edit_rows += 1
    if spec.strategy == "optimize":
        state.best = state.base
        state.since_keep = 0
    elif it.judgement.verdict == "pass":
        state.best, state.passed = state.base, True
    await loop.write(it, parent, it.snapshot)
    loop.current = None
