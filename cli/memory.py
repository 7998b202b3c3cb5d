"""`start`: what an agent remembers, and the prompt template: read, and refused where they can't be used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from beatctl.cli.problems import Usage
from beatctl.cli.start_options import Chosen, Typed

if TYPE_CHECKING:
    from beatctl.activities.agents.spec import AgentSpec

_LARGEST_TEMPLATE = 128 * 1024


def refuse_without_sessions(chosen: Chosen, agent: AgentSpec, fallback: AgentSpec | None) -> None:
    """Raises Usage where sessions are to go on and an agent has none."""
    if chosen.memory != "session":
        return
    from beatctl.activities import agents

    for flag, spec in (("--agent", agent), ("--fallback", fallback)):
        if spec is not None and not agents.has_sessions(spec):
            raise Usage(
                f"--memory session goes on with the agent's own session, and {spec.name} ({flag}) has none that "
                "beatctl can resume. Use claude, codex, gemini, opencode or a configured agent with resume and "
                "output.session; or --memory last.",
                help_of="start",
            )


def with_template(chosen: Chosen, typed: Typed) -> Chosen:
    """The choice with its prompt template's text, tried on an example. Raises Usage, with file and line."""
    if typed.prompt_template is None:
        return chosen
    named = typed.named("prompt_template")
    if not typed.prompt_template.strip():
        raise Usage(f"{named} is empty. It takes a file with a prompt.", help_of="start")
    path = Path(typed.prompt_template).expanduser()
    chosen = replace(chosen, template=_text(path, named))
    from beatctl.activities.prompt import Task, check_template
    from beatctl.activities.prompt_template import TemplateProblem

    task = Task(
        goal=chosen.goal,
        steps=chosen.steps,
        strategy=chosen.strategy,
        evaluator=chosen.evaluator,
        check=chosen.check,
        direction=chosen.direction,
        memory=chosen.memory,
        memory_budget=chosen.memory_budget,
        template=chosen.template,
    )
    try:
        check_template(task)
    except TemplateProblem as wrong:
        raise Usage(f"{path}:{wrong.line}: {wrong.words}.", help_of="start") from None
    return chosen


def _text(path: Path, named: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_TEMPLATE + 1)
    except OSError as problem:
        raise Usage(f"{named}: {path} can't be read: {problem.strerror or problem}.", help_of="start") from None
    if len(content) > _LARGEST_TEMPLATE:
        most = f"{_LARGEST_TEMPLATE // 1024} KiB"
        raise Usage(f"{named}: {path} is larger than {most}: that is no prompt.", help_of="start")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise Usage(f"{path}:{line}: not UTF-8. Save the file in that encoding.", help_of="start") from None
