"""What `start` and `set` understand: from what was typed to what will be in force, and the sentence for each mistake.

Pure: no file, process or network is touched here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from beatctl.cli import units
from beatctl.cli.problems import Usage

STEPS = range(2, 21)
_LARGEST_TEXT = 512 * 1024
"""Bytes of goal, steps and commands together: they travel through the workflow's history."""


@dataclass(frozen=True)
class TypedLimits:
    """The limits as typed; None = not given."""

    max_iterations: str | None = None
    max_failures: str | None = None
    max_unchanged: str | None = None
    cooldown: str | None = None
    agent_timeout: str | None = None
    eval_timeout: str | None = None
    for_: str | None = None
    target: str | None = None
    plateau: str | None = None

    def given(self) -> bool:
        return any(value is not None for value in vars(self).values())


@dataclass(frozen=True)
class Typed:
    """`start`'s flags as typed."""

    goal: tuple[str, ...] = ()
    until: str | None = None
    eval: str | None = None
    minimize: bool = False
    maximize: bool = False
    direction: str | None = None
    pipeline: bool = False
    steps: tuple[str, ...] = ()
    check: str | None = None
    samples: str | None = None
    on_fail: str | None = None
    memory: str | None = None
    permissions: str | None = None
    agent: str | None = None
    model: str | None = None
    limits: TypedLimits = field(default_factory=TypedLimits)
    detach: bool = False
    foreground: bool = False


@dataclass(frozen=True)
class Chosen:
    """What `start` was told, checked and complete; what only the machine can tell (agent, folder) is not in it."""

    goal: str
    strategy: Literal["retry", "optimize"]
    evaluator: str
    direction: Literal["minimize", "maximize"] | None
    steps: list[str]
    check: str | None
    samples: int
    on_fail: Literal["keep", "revert"]
    memory: Literal["none", "ledger"]
    permissions: Literal["workspace", "full"]
    agent: str | None
    model: str | None
    limits: dict[str, Any]
    """Fields of Limits; those left out keep their defaults."""


def choose(typed: Typed) -> Chosen:
    """Check the flags of `start` against each other. Raises Usage."""
    try:
        return _choose(typed)
    except units.BadValue as wrong:
        raise _usage(str(wrong)) from None


def _choose(typed: Typed) -> Chosen:
    _refuse_unreadable(typed)
    steps = _steps(typed)
    goal = _goal(typed, steps)
    strategy, evaluator = _evaluator(typed)
    direction = _direction(typed, strategy)
    _refuse_for_retry(typed, strategy)
    if strategy == "optimize" and typed.on_fail is not None:
        raise _usage("--on-fail goes with --until; with --eval every iteration starts from the best.")
    if typed.detach and typed.foreground:
        raise _usage("-d returns at once and --foreground stays to the end: give one of them.")
    chosen = Chosen(
        goal=goal,
        strategy=strategy,
        evaluator=evaluator,
        direction=direction,
        steps=steps,
        check=_command(typed.check, "--check") if typed.check is not None else None,
        samples=_samples(typed.samples),
        on_fail=cast(Any, _one_of(typed.on_fail, "--on-fail", ("keep", "revert"))),
        memory=cast(Any, _one_of(typed.memory, "--memory", ("ledger", "none"))),
        permissions=cast(Any, _one_of(typed.permissions, "--permissions", ("workspace", "full"))),
        agent=_word(typed.agent, "--agent"),
        model=_word(typed.model, "--model"),
        limits=starting_limits(typed.limits),
    )
    size = sum(len(text.encode()) for text in (goal, evaluator, chosen.check or "", *steps))
    if size > _LARGEST_TEXT:
        raise _usage(
            f"Goal, steps and commands are {size // 1024} KiB together; {_LARGEST_TEXT // 1024} is the most. "
            "Put the long part into a file in the folder and name the file in the goal."
        )
    return chosen


def _steps(typed: Typed) -> list[str]:
    if not typed.steps:
        if typed.pipeline:
            raise _usage('A pipeline has 2 to 20 steps: add --step "…" for each of them.')
        return []
    if len(typed.steps) not in STEPS:
        count = "one" if len(typed.steps) == 1 else str(len(typed.steps))
        instead = " For a single one, give it as the goal." if len(typed.steps) == 1 else ""
        raise _usage(f"A pipeline has 2 to 20 steps, this one has {count}.{instead}")
    for number, step in enumerate(typed.steps, 1):
        if not step.strip():
            raise _usage(f"Step {number} is empty. Say what the agent should do in it.")
    return [step.strip() for step in typed.steps]


def _goal(typed: Typed, steps: list[str]) -> str:
    if len(typed.goal) > 1:
        words = " ".join(typed.goal)
        raise _usage(f'The goal is one argument: put it in quotes: "{words}".')
    if typed.goal and typed.goal[0].strip():
        return typed.goal[0].strip()
    if typed.goal:
        raise _usage('The goal is empty. Say what the agent should do, such as "fix the failing test".')
    if steps:
        return " → ".join(steps)
    raise _usage('What is the goal? beatctl start "fix the failing test" --until "npm test"')


def _evaluator(typed: Typed) -> tuple[Literal["retry", "optimize"], str]:
    if typed.until is not None and typed.eval is not None:
        raise _usage(
            "Give --until or --eval, not both: --until repeats until the command passes, "
            "--eval looks for the best score."
        )
    if typed.until is not None:
        return "retry", _command(typed.until, "--until")
    if typed.eval is not None:
        return "optimize", _command(typed.eval, "--eval")
    raise _usage(
        "How is success told? Add --until CMD (repeat until it passes), "
        "or --eval CMD with --minimize or --maximize (look for the best score)."
    )


def _direction(typed: Typed, strategy: str) -> Literal["minimize", "maximize"] | None:
    word = _one_of(typed.direction, "--direction", ("minimize", "maximize")) if typed.direction is not None else None
    told = {name for name, is_told in (("minimize", typed.minimize), ("maximize", typed.maximize)) if is_told}
    if word:
        told.add(word)
    if strategy == "retry":
        if told:
            raise _usage(f"--{min(told)} goes with --eval; --until only passes or fails.")
        return None
    if not told:
        raise _usage("Is lower or higher better? Add --minimize or --maximize.")
    if len(told) > 1:
        raise _usage("--minimize and --maximize contradict each other: give one.")
    return "minimize" if told == {"minimize"} else "maximize"


def _refuse_for_retry(typed: Typed, strategy: str) -> None:
    if strategy == "optimize":
        return
    for value, flag in ((typed.limits.target, "--target"), (typed.limits.plateau, "--plateau")):
        if value is not None:
            raise _usage(f"{flag} goes with --eval, which gives a score; --until only passes or fails.")


def _samples(text: str | None) -> int:
    return 1 if text is None else units.whole(text, "--samples", least=1)


def starting_limits(typed: TypedLimits) -> dict[str, Any]:
    """The limits a loop starts with, as fields of Limits. The ten iterations of the default hold only where no
    duration is given. Raises BadValue."""
    limits = changed_limits(typed)
    if limits.get("for_s") and "max_iterations" not in limits:
        limits["max_iterations"] = 0
    return limits


def changed_limits(typed: TypedLimits, *, iterations: int | None = None) -> dict[str, Any]:
    """Only the limits that were typed, as fields of Limits. `-n +N` adds to `iterations`. Raises BadValue."""
    limits: dict[str, Any] = {}
    if iterations is not None and (typed.max_iterations or "").strip().startswith("+"):
        more = units.whole((typed.max_iterations or "").strip()[1:], "--max-iterations +N", least=1)
        if not iterations:
            raise units.BadValue(f"--max-iterations +{more}: the loop has no limit on iterations to add to.")
        typed = replace(typed, max_iterations=str(iterations + more))
    for name, flag in (
        ("max_iterations", "--max-iterations"),
        ("max_failures", "--max-failures"),
        ("max_unchanged", "--max-unchanged"),
        ("plateau", "--plateau"),
    ):
        text = getattr(typed, name)
        if text is not None:
            limits[name] = units.whole(text, flag)
    for name, key, flag in (
        ("cooldown", "cooldown_s", "--cooldown"),
        ("agent_timeout", "agent_timeout_s", "--agent-timeout"),
        ("eval_timeout", "eval_timeout_s", "--eval-timeout"),
        ("for_", "for_s", "--for"),
    ):
        text = getattr(typed, name)
        if text is not None:
            limits[key] = units.duration(text, flag, bare_milliseconds=name == "cooldown")
    if typed.target is not None:
        limits["target"] = None if typed.target.strip().lower() == "none" else units.number(typed.target, "--target")
    return limits


def unbounded_warning(limits: dict[str, Any]) -> str:
    """How to bound a loop with these Limits, where nothing does; else empty."""
    if limits.get("max_iterations") or limits.get("cooldown_s") or limits.get("for_s"):
        return ""
    return (
        "No limit on iterations or time and no cooldown: this loop spends until it is stopped. "
        "Bound it: beatctl set --for 8h, --max-iterations 100 or --cooldown 1m"
    )


def _command(text: str, flag: str) -> str:
    if not text.strip():
        raise _usage(f'{flag} is empty. It takes a command line for sh, such as {flag} "npm test".')
    return text


def _word(text: str | None, flag: str) -> str | None:
    if text is not None and not text.strip():
        raise _usage(f"{flag} is empty.")
    return text.strip() if text is not None else None


def _one_of(text: str | None, flag: str, words: tuple[str, ...]) -> str:
    """The word typed, or the first of `words` where none was."""
    if text is None:
        return words[0]
    if text not in words:
        raise _usage(f'{flag} takes {" or ".join(words)}, not "{text}".')
    return text


def _refuse_unreadable(typed: Typed) -> None:
    """Bytes that are no UTF-8 arrive as lone surrogates, which neither JSON nor Temporal can carry."""
    for flag, text in (
        *(("The goal", word) for word in typed.goal),
        ("--until", typed.until),
        ("--eval", typed.eval),
        ("--check", typed.check),
        ("--agent", typed.agent),
        ("--model", typed.model),
        *(("--step", step) for step in typed.steps),
    ):
        if text is not None and any("\ud800" <= character <= "\udfff" for character in text):
            raise _usage(f"{flag} holds bytes that are not UTF-8.")


def _usage(text: str) -> Usage:
    return Usage(text, help_of="start")
