"""What `start` understands: from what was typed to what will be in force, and the sentence for each mistake.

Pure: no file, process or network is touched here.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from beatctl.cli import units
from beatctl.cli.limit_options import TypedLimits, flag_of, starting_limits
from beatctl.cli.problems import Usage

if TYPE_CHECKING:
    from beatctl.activities.notify.happened import Event
    from beatctl.cli.notifications import Notifications

STEPS = range(2, 21)
MOST_SAMPLES = 200
"""Each is an activity of its own in the iteration's history, which stays below 5,000 events."""
_DIRECTIONS = ("minimize", "maximize")
DEFAULT_MEMORY_BUDGET = 4000
MEMORY_BUDGETS = range(250, 200_001)
"""Tokens, as activities/prompt_memory.py has them, which `start` has no time to import."""
_EVENTS: tuple[Event, ...] = ("finish", "failure", "pause", "waiting", "best")
"""As activities/notify/happened.py has them, which `start` has no time to import either."""
_TOLD = "finish,failure,pause,waiting"
_LARGEST_TEXT = 512 * 1024
"""Bytes of goal, steps and commands together: they travel through the workflow's history."""


@dataclass(frozen=True)
class Typed:
    """What `start` was told, by its flags and in files, as written. A field added here has its key in loop files."""

    goal: tuple[str, ...] = ()
    until: str | None = None
    eval: str | None = None
    minimize: bool = False
    maximize: bool = False
    direction: str | None = None
    pipeline: bool = False
    steps: tuple[str, ...] = ()
    check: str | None = None
    samples: str | None = field(default=None, metadata={"number": True})
    on_fail: str | None = None
    memory: str | None = None
    memory_budget: str | None = field(default=None, metadata={"number": True})
    prompt_template: str | None = None
    permissions: str | None = None
    agent: str | None = None
    model: str | None = None
    agent_args: str | None = None
    fallback: str | None = None
    limits: TypedLimits = field(default_factory=TypedLimits)
    directory: str | None = None
    on: str | None = None
    repo: str | None = None
    ref: str | None = None
    worktree: bool = False
    setup: str | None = None
    setup_timeout: str | None = field(default=None, metadata={"number": True})
    branch: str | None = None
    allow_large: bool = False
    notify: tuple[str, ...] = field(default=(), repr=False, metadata={"secret": True})
    notify_on: str | None = None
    notify_command: str | None = field(default=None, repr=False, metadata={"secret": True})
    detach: bool = False
    foreground: bool = False
    dry_run: bool = False
    names: Mapping[str, str] = field(default_factory=dict, compare=False)
    """How messages name what was not typed as a flag, by field: `{"memory": "loop.toml:4: memory"}`."""

    def named(self, name: str) -> str:
        """How a message names a field: by its flag, or by where it was written."""
        return self.names.get(name) or flag_of(name)


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
    memory: Literal["none", "last", "ledger", "session"]
    memory_budget: int
    """Tokens."""
    permissions: Literal["workspace", "full"] | None
    """None: as the agent is set up; without that, `workspace`."""
    agent: str | None
    model: str | None
    agent_args: list[str]
    """Further arguments of the agent's, the user's own."""
    fallback: str | None
    """The agent that works while the other's limit lasts."""
    limits: dict[str, Any]
    """Fields of Limits; those left out keep their defaults."""
    worktree: bool = False
    setup: str | None = None
    """Only with `worktree`."""
    setup_timeout_s: float | None = None
    """None: the evaluator's limit."""
    branch: str | None = None
    repo: str | None = None
    """The URL of the repository whose clone the loop works in."""
    ref: str | None = None
    """The branch, tag or commit that was made from."""
    template: str | None = None
    """The prompt template's text: `start` reads the file."""
    notify: Notifications | None = None
    """What is told, and where to: `start` reads variables and tries the addresses."""


def choose(typed: Typed, file: str | None = None) -> Chosen:
    """Check what `start` was told, each value and against each other. `file`: the loop file that was named. Raises
    Usage."""
    try:
        return _choose(typed, file)
    except units.BadValue as wrong:
        raise _usage(str(wrong)) from None


def check_values(typed: Typed) -> None:
    """Check each value alone, not what is missing or contradicts another. Raises Usage."""
    try:
        _values(typed)
        for name in ("until", "eval"):
            if (command := getattr(typed, name)) is not None:
                _command(command, typed.named(name))
        if typed.direction is not None:
            _one_of(typed.direction, typed.named("direction"), _DIRECTIONS)
    except units.BadValue as wrong:
        raise _usage(str(wrong)) from None


def _values(typed: Typed) -> dict[str, Any]:
    """Those fields of Chosen that each come from one value. Raises Usage, BadValue."""
    _refuse_unreadable(typed)
    notify_events(typed.notify_on, typed.named("notify_on"))
    if typed.notify_command is not None:
        _command(typed.notify_command, typed.named("notify_command"))
    return {
        "check": _command(typed.check, typed.named("check")) if typed.check is not None else None,
        "samples": _samples(typed),
        "on_fail": _one_of(typed.on_fail, typed.named("on_fail"), ("keep", "revert")),
        "memory": _one_of(typed.memory, typed.named("memory"), ("ledger", "last", "session", "none")),
        "memory_budget": _memory_budget(typed),
        "permissions": typed.permissions
        and _one_of(typed.permissions, typed.named("permissions"), ("workspace", "full")),
        "agent": _word(typed.agent, typed.named("agent")),
        "model": _word(typed.model, typed.named("model")),
        "agent_args": _arguments(typed.agent_args, typed.named("agent_args")),
        "fallback": _word(typed.fallback, typed.named("fallback")),
        "limits": starting_limits(typed.limits, typed.named),
        "worktree": typed.worktree,
        "setup": _command(typed.setup, typed.named("setup")) if typed.setup is not None else None,
        "setup_timeout_s": _setup_timeout(typed),
        "branch": _word(typed.branch, typed.named("branch")),
        "repo": _word(typed.repo, typed.named("repo")),
        "ref": _word(typed.ref, typed.named("ref")),
    }


def _choose(typed: Typed, file: str | None) -> Chosen:
    values = _values(typed)
    if file is not None and not (typed.goal or typed.steps):
        raise _usage(f'{file} has no goal. Write one: goal = "fix the failing test"')
    if file is not None and typed.until is None and typed.eval is None:
        raise _usage(f'{file} does not say how success is told. Write until = "npm test", or eval and direction.')
    steps = _steps(typed)
    goal = _goal(typed, steps)
    strategy, evaluator = _evaluator(typed)
    direction = _direction(typed, strategy)
    _refuse_for_retry(typed, strategy)
    if strategy == "optimize" and typed.on_fail is not None:
        raise _usage(f"{typed.named('on_fail')} goes with --until; with --eval every iteration starts from the best.")
    if typed.detach and typed.foreground:
        raise _usage("-d returns at once and --foreground stays to the end: give one of them.")
    if typed.dry_run and typed.detach:
        raise _usage("--dry-run starts no loop that could go on without you: leave -d out.")
    _refuse_setup_here(typed)
    chosen = Chosen(goal=goal, strategy=strategy, evaluator=evaluator, direction=direction, steps=steps, **values)
    if not chosen.worktree and chosen.repo is None:
        chosen = replace(chosen, setup=None)
    size = sum(len(text.encode()) for text in (goal, evaluator, chosen.check or "", chosen.setup or "", *steps))
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
        raise _usage(f'{typed.named("goal")} is empty. Say what the agent should do, such as "fix the failing test".')
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
        return "retry", _command(typed.until, typed.named("until"))
    if typed.eval is not None:
        return "optimize", _command(typed.eval, typed.named("eval"))
    raise _usage(
        "How is success told? Add --until CMD (repeat until it passes), "
        "or --eval CMD with --minimize or --maximize (look for the best score)."
    )


def _direction(typed: Typed, strategy: str) -> Literal["minimize", "maximize"] | None:
    told = {name: typed.named(name) for name in _DIRECTIONS if getattr(typed, name)}
    if typed.direction is not None:
        word = _one_of(typed.direction, typed.named("direction"), _DIRECTIONS)
        told.setdefault(word, typed.names.get("direction") or f"--{word}")
    if strategy == "retry":
        if told:
            raise _usage(f"{min(told.values())} goes with --eval; --until only passes or fails.")
        return None
    if not told:
        raise _usage("Is lower or higher better? Add --minimize or --maximize.")
    if len(told) > 1:
        raise _usage("--minimize and --maximize contradict each other: give one.")
    return "minimize" if "minimize" in told else "maximize"


def _refuse_for_retry(typed: Typed, strategy: str) -> None:
    if strategy == "optimize":
        return
    for name in ("target", "plateau"):
        if getattr(typed.limits, name) is not None:
            raise _usage(f"{typed.named(name)} goes with --eval, which gives a score; --until only passes or fails.")


def _refuse_setup_here(typed: Typed) -> None:
    """Typed without --worktree it is a mistake; written in a file it waits for a loop that has a worktree."""
    if typed.setup is not None and not (typed.worktree or typed.repo) and "setup" not in typed.names:
        raise _usage(
            "--setup goes with --worktree or --repo, whose folder is new and has nothing that git ignores. "
            "In your own folder run that command yourself, before the loop takes its baseline."
        )
    if typed.setup_timeout is not None and typed.setup is None and "setup_timeout" not in typed.names:
        raise _usage("--setup-timeout goes with --setup CMD.")


def _setup_timeout(typed: Typed) -> float | None:
    text, name = typed.setup_timeout, typed.named("setup_timeout")
    return None if text is None else units.duration(text, name, bare_milliseconds=False)


def _samples(typed: Typed) -> int:
    count = 1 if typed.samples is None else units.whole(typed.samples, typed.named("samples"), least=1)
    if count > MOST_SAMPLES:
        raise _usage(f"{typed.named('samples')} {count} is more than {MOST_SAMPLES}: let the evaluator itself repeat.")
    return count


def _memory_budget(typed: Typed) -> int:
    if typed.memory_budget is None:
        return DEFAULT_MEMORY_BUDGET
    flag, text = typed.named("memory_budget"), typed.memory_budget
    budget = units.tokens(text, flag, none="")
    if budget not in MEMORY_BUDGETS:
        least, most = MEMORY_BUDGETS[0], MEMORY_BUDGETS[-1]
        raise _usage(
            f"{flag} {text}: a prompt can tell of the past with {least} to {most:,} tokens, "
            f"{DEFAULT_MEMORY_BUDGET:,} by default. Nothing of it: --memory none."
        )
    return budget


def _command(text: str, flag: str) -> str:
    if not text.strip():
        such = f'{flag} "npm test"' if flag.startswith("--") else '"npm test"'
        raise _usage(f"{flag} is empty. It takes a command line for sh, such as {such}.")
    return text


def _word(text: str | None, flag: str) -> str | None:
    if text is not None and not text.strip():
        raise _usage(f"{flag} is empty.")
    return text.strip() if text is not None else None


def _arguments(text: str | None, flag: str) -> list[str]:
    """Split as a shell would, without one."""
    try:
        return shlex.split(text or "")
    except ValueError:
        raise _usage(f"{flag}: a quote or backslash in it is not closed: {text}") from None


def notify_events(text: str | None, flag: str) -> list[Event]:
    """What is told of, in one order. Raises Usage."""
    words = [word.strip().lower() for word in (_TOLD if text is None else text).split(",")]
    for word in words:
        if word not in set[str](_EVENTS):
            raise _usage(f'{flag} takes {", ".join(_EVENTS)}, with commas between them, not "{word}".')
    return [event for event in _EVENTS if event in words]


def _one_of(text: str | None, flag: str, words: tuple[str, ...]) -> str:
    """The word typed, or the first of `words` where none was."""
    if text is None:
        return words[0]
    if text not in words:
        *others, last = words
        raise _usage(f'{flag} takes {", ".join(others)} or {last}, not "{text}".')
    return text


def _refuse_unreadable(typed: Typed) -> None:
    """Bytes that are no UTF-8 arrive as lone surrogates, which neither JSON nor Temporal can carry."""
    names = ("goal", "until", "eval", "check", "agent", "model", "agent_args", "fallback", "setup", "branch", "steps")
    for name in (*names, "prompt_template", "notify_on", "notify_command", "on", "repo", "ref"):
        value = getattr(typed, name)
        for text in (value,) if isinstance(value, str) else value or ():
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise _usage(f"{typed.named(name)} holds bytes that are not UTF-8.")


def _usage(text: str) -> Usage:
    return Usage(text, help_of="start")
