"""Child processes that outlive the worker: one shim each, forked by a spawner; see attempts.py for the protocol."""

from .attempts import (
    CommandSpec,
    Lost,
    RunResult,
    Try,
    TryState,
    every_try,
    latest_try,
    new_try,
    save_environment,
    save_private,
)
from .client import Spawner, StartFailed
from .waiting import end, end_remains, wait

__all__ = [
    "CommandSpec",
    "Lost",
    "RunResult",
    "Spawner",
    "StartFailed",
    "Try",
    "TryState",
    "end",
    "end_remains",
    "every_try",
    "latest_try",
    "new_try",
    "save_environment",
    "save_private",
    "wait",
]
