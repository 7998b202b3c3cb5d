"""What the tests of deploy/ read: its files, as YAML, and how long a host may take to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from beatctl.activities.processes import shim
from beatctl.activities.processes.attempts import CommandSpec
from beatctl.worker import supervisor
from beatctl.workflows.spec import Limits

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


def read(path: Path) -> Any:
    """A YAML file's one document."""
    return yaml.safe_load(path.read_text())


def files() -> list[Path]:
    """Every file of deploy/ that is kept in the repository."""
    return [path for path in sorted(DEPLOY.rglob("*")) if path.is_file() and "secrets" not in path.parent.parts]


def longest_end_s() -> float:
    """How long a host may take to end with nothing lost: what runs comes to its time limit, its shim ends it, and the
    supervisor ends worker and server."""
    limits = Limits.model_fields
    limit = max(limits["agent_timeout_s"].default, limits["eval_timeout_s"].default)
    ending = CommandSpec.model_fields["grace_s"].default + shim._DAEMON_GRACE_S
    return float(limit + ending + 2 * supervisor.PATIENCE_S)


def seconds(text: str) -> int:
    """`31m`, `90s`, `1m` as Compose writes them."""
    number, unit = int(text[:-1]), text[-1]
    return number * {"s": 1, "m": 60, "h": 3600}[unit]
