"""What the Temporal Web UI shows of a loop: a short Markdown page, a pure function of its state."""

from __future__ import annotations

from beatctl.activities.figures import number
from beatctl.workflows.spec import LoopSpec
from beatctl.workflows.state import LoopState


def details(spec: LoopSpec, state: LoopState) -> str:
    """Goal, iteration, best, and what the loop is doing."""
    limit = f" of {state.limits.max_iterations}" if state.limits.max_iterations else ""
    lines = [f"### {_escaped(spec.goal)}", "", f"**{_state(state)}**", ""]
    lines.append(f"- iteration: {state.iteration}{limit}, failures in a row: {state.failures}")
    if spec.strategy == "optimize":
        base = state.baseline.score if state.baseline else None
        best = f"{number(state.best.score)} (#{state.best.iteration})" if state.best else "none yet"
        lines.append(f"- best: {best}, baseline: {number(base)}, {spec.direction}, kept: {state.kept}")
        lines.append(f"- evaluator: `{spec.evaluator}`")
    else:
        lines.append(f"- until: `{spec.evaluator}` exits 0{' (passed)' if state.passed else ''}")
    for position, step in enumerate(spec.steps, 1):
        lines.append(f"- step {position}: {_escaped(step)}")
    lines.append(f"- agent: {spec.agent.name}, folder: `{spec.directory}`")
    if state.counts:
        lines.append("- " + ", ".join(f"{verdict}: {count}" for verdict, count in state.counts.items()))
    if state.notes:
        lines.append(f"- notes: {'; '.join(_escaped(note.text) for note in state.notes[-3:])}")
    if state.cost_usd:
        about = "about " if state.cost_estimated else ""
        lines.append(f"- cost: {about}${state.cost_usd:.2f}")
    return "\n".join(lines)


def _state(state: LoopState) -> str:
    if state.state == "finished":
        return f"{state.outcome} ({state.reason}) {_escaped(state.detail)}".strip()
    words = f"{state.state}: {state.reason}. {_escaped(state.detail)}" if state.state != "running" else state.now
    return f"{words or state.state}{f', {state.asked} asked for' if state.asked else ''}"


def _escaped(text: str) -> str:
    flat = " ".join(text.split())[:300]
    return "".join(f"\\{c}" if c in "\\`*_[]<>#" else c for c in flat)
