"""How many agents and evaluators run at once on this host: from flags, the environment and the user's configuration.

They belong to the worker, not to a loop: neither a loop file nor a repository's beatctl.toml may give them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from beatctl.cli import levels, units
from beatctl.cli.problems import Usage
from beatctl.cli.settings import HOST_KEYS, Setting, level_of_environment, merge
from beatctl.worker.concurrency import Concurrency, of_worker, variables

if TYPE_CHECKING:
    from beatctl.activities.home import Home

MaxConcurrentAgents = Annotated[
    str | None,
    typer.Option(
        "--max-concurrent-agents",
        metavar="N",
        help="Agents at once on this host, of all loops together; 0: no limit (the default).",
        show_default=False,
    ),
]
MaxConcurrentEvaluators = Annotated[
    str | None,
    typer.Option(
        "--max-concurrent-evaluators",
        metavar="N",
        help="Evaluators at once on this host; 0: no limit. Default 1, so that scores are measured undisturbed.",
        show_default=False,
    ),
]


def chosen(environ: Mapping[str, str], agents: str | None = None, evaluators: str | None = None) -> Concurrency:
    """What holds for a worker that is started now: flag, else environment, else config.toml. Raises Usage."""
    typed = {"max_concurrent_agents": agents, "max_concurrent_evaluators": evaluators}
    flags = {
        name: Setting(text, f"--{name.replace('_', '-')}", f"--{name.replace('_', '-')}", "flag")
        for name, text in typed.items()
        if text is not None
    }
    held = merge([flags, level_of_environment(environ), *(place.read() for place in levels.standing(None, environ))])
    found = {}
    for name in HOST_KEYS:
        if name in held:
            try:
                found[name.removeprefix("max_concurrent_")] = units.whole(str(held[name].value), held[name].named)
            except units.BadValue as wrong:
                raise Usage(str(wrong), help_of="up") from None
    return Concurrency(**found)


def with_variables(home: Home, environ: Mapping[str, str]) -> Mapping[str, str]:
    """`environ` as the supervisor is to be started with; as it is where one runs. One that is to be replaced, being of
    an earlier version, hands on what it was told. Raises Usage."""
    from beatctl.worker import what_runs

    folder = what_runs.folder_of(home, environ)
    state = folder.read_state()
    if not state:
        return {**environ, **variables(chosen(environ))}
    if what_runs.is_outdated(state):
        return {**variables(of_worker(folder) or chosen(environ)), **environ}
    return environ


def words(told: Concurrency) -> str:
    """`4 agents and 1 evaluator at once`, or `any number of agents …`."""

    def count(number: int, one: str) -> str:
        return f"{number or 'any number of'} {one}{'' if number == 1 else 's'}"

    return f"{count(told.agents, 'agent')} and {count(told.evaluators, 'evaluator')} at once"
