"""How many agents and evaluators run at once on this host: what the worker is told in its environment.

The commands put it there (flag, environment or the user's configuration) for the supervisor, which hands it on to each
worker it starts. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from beatctl.worker.run_folder import RunFolder, read_json

AGENTS = "BEATCTL_MAX_CONCURRENT_AGENTS"
EVALUATORS = "BEATCTL_MAX_CONCURRENT_EVALUATORS"


class Concurrency(NamedTuple):
    """0: no limit."""

    agents: int = 0
    evaluators: int = 1


def read(environ: Mapping[str, str]) -> Concurrency:
    """What the environment says, else the defaults; what is no number there says nothing."""
    told = {"agents": environ.get(AGENTS, ""), "evaluators": environ.get(EVALUATORS, "")}
    return Concurrency(**{name: int(text) for name, text in told.items() if text.isascii() and text.isdigit()})


def of_worker(folder: RunFolder) -> Concurrency | None:
    """What the worker there goes by; None where none has said."""
    told = read_json(folder.worker).get("concurrency")
    return Concurrency(*told) if isinstance(told, list) and len(told) == 2 else None


def variables(told: Concurrency) -> dict[str, str]:
    """For the environment of supervisor and worker."""
    return {AGENTS: str(told.agents), EVALUATORS: str(told.evaluators)}
