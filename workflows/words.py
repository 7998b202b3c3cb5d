"""Why a loop pauses or has ended, in sentences for the person: pure functions."""

from __future__ import annotations

from beatctl.workflows.spec import LoopSpec
from beatctl.workflows.state import LoopState
from beatctl.workflows.stopping import Reason


def edited_words(loop: str, paths: list[str]) -> str:
    others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return (
        f"You edited {paths[0]}{others} while {loop} waited: paused, nothing overwritten. "
        f"beatctl resume {loop} takes your edits in, scores them, and goes on from there."
    )


def unchanged_words(spec: LoopSpec, state: LoopState) -> str:
    agent = spec.agent
    cost = f" ({'about ' if state.cost_estimated else ''}${state.cost_usd:.2f})" if state.cost_usd else ""
    said = f' It last said: "{state.last_words}".' if state.last_words else ""
    hint = " Try --permissions full." if agent.kind != "command" and agent.permissions == "workspace" else ""
    return f"{agent.name} changed nothing {state.unchanged} times{cost}.{said}{hint}"


def end_words(state: LoopState, reason: Reason) -> str:
    if reason == "max-failures":
        return f"{state.failures} failures in a row."
    if reason == "passed" and state.iteration == 0:
        return "Already passes; nothing spent. Flaky? --samples 5 wants five passes in a row."
    if reason == "target" and state.iteration == 0:
        return "The baseline meets the target already; nothing spent."
    return ""
