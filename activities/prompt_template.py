"""The user's own prompt template: Jinja2, in a sandbox, with these variables and no others. Jinja2 is imported where it
is used: few loops have a template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

VARIABLES = {
    "goal": "the loop's goal; of a pipeline without one, its steps with → between them",
    "work": "what this run is to do: the step's text, else the goal",
    "step": "the step's number, 1 where there is no pipeline",
    "steps": "a list of the steps' texts, empty where there is no pipeline",
    "iteration": "the iteration's number",
    "max_iterations": "the last number allowed, 0 for no limit",
    "strategy": "`retry` (--until) or `optimize` (--eval)",
    "evaluator": "the command of --until or --eval",
    "check": "the command of --check, or none",
    "samples": "the number of --samples",
    "direction": "`minimize`, `maximize`, or none",
    "baseline": "the baseline's score, or none",
    "best": "the score to beat, or none",
    "best_iteration": "the experiment that has it (0 is the baseline), or none",
    "target": "the score of --target, or none",
    "memory": "`none`, `last`, `ledger` or `session`",
    "resumed": "true where the agent's own session goes on, and knows what was said before",
    "last_output": "the end of what the last evaluator (else the check) printed, or nothing",
    "experiments": "a list, newest first, each with `iteration`, `verdict`, `score`, `summary`, `reason`, `parent` and "
    "`repeat_of` (the number of the experiment with the same files, or none); what fits the budget, and empty with "
    "memory none",
    "left_out": "how many experiments did not fit",
    "last": "the newest of them, or none",
    "notes": "a list of the user's notes, oldest first",
    "default": "the whole prompt that beatctl would have sent",
}
"""Each variable with what it holds. docs/prompts.md shows them; a test compares."""

_NAME = "<template>"


class TemplateProblem(ValueError):
    """A template that can't be used. `line` counts from 1."""

    def __init__(self, line: int, words: str) -> None:
        super().__init__(f"line {line}: {words}")
        self.line = line
        self.words = words


def render(template: str, variables: Mapping[str, object]) -> str:
    """The prompt. Raises TemplateProblem."""
    from jinja2 import TemplateSyntaxError

    try:
        text = _environment().from_string(template).render(variables)
    except TemplateSyntaxError as wrong:
        raise TemplateProblem(wrong.lineno, wrong.message or "it can't be read") from None
    except Exception as wrong:  # whatever an expression comes to: 1 / 0, a list for a number
        raise TemplateProblem(_line_of(wrong), str(wrong) or type(wrong).__name__) from None
    if not text.strip():
        raise TemplateProblem(1, "it comes to nothing: the prompt would be empty")
    return text


def check_names(template: str) -> None:
    """Raises TemplateProblem where it does not parse or uses a variable that there is not, in any of its branches."""
    from jinja2 import TemplateSyntaxError, meta, nodes

    environment = _environment()
    try:
        tree = environment.parse(template)
        unknown = meta.find_undeclared_variables(tree) - set(VARIABLES) - set(environment.globals)
    except TemplateSyntaxError as wrong:
        raise TemplateProblem(wrong.lineno, wrong.message or "it can't be read") from None
    used = sorted((name.lineno, name.name) for name in tree.find_all(nodes.Name) if name.name in unknown)
    if used:
        line, name = used[0]
        raise TemplateProblem(line, f"there is no variable {name}. There are: {', '.join(VARIABLES)}")


def _environment() -> SandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )


def _line_of(wrong: BaseException) -> int:
    """The template's line where it went wrong: Jinja2 puts it into the traceback."""
    line, frame = 1, wrong.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == _NAME:
            line = frame.tb_lineno
        frame = frame.tb_next
    return line
