"""What the worker's own `beatctl` commands get: they have to lead to its home and its server."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from beatctl.activities.home import Home
from beatctl.worker.connection import Connection

_OF_SERVER = re.compile(r"TEMPORAL_.*|BEATCTL_PROFILE|BEATCTL_PAYLOAD_KEY(_FILE)?")
_LEADS_ELSEWHERE = ("TEMPORAL_ADDRESS", "BEATCTL_PROFILE")
_NOT_OURS = ("CI", "BEATCTL_LOOP_ID", "BEATCTL_LOOP_SCHEDULE", "BEATCTL_HOST")
"""The host's name is kept in its home, whatever the variable says by now."""
_THE_WORKERS = ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES")
"""What it calls itself where its telemetry goes: an agent that has telemetry, too, is another service."""


def launch_environment(
    home: Home, connection: Connection, environ: Mapping[str, str], saved: Mapping[str, str] | None = None
) -> dict[str, str]:
    """`environ`, the worker's own, with this home and this server whatever it names; what is `saved` of the shell that
    made a schedule instead, but for the way to the server.

    Nobody waits for these commands, also where the worker itself runs in CI. Pure.
    """
    found = {name: value for name, value in environ.items() if name not in _THE_WORKERS}
    if saved is not None:
        found = {name: value for name, value in saved.items() if not _OF_SERVER.fullmatch(name)}
        found |= {name: value for name, value in environ.items() if _OF_SERVER.fullmatch(name)}
    left_out = (*_NOT_OURS, *(_LEADS_ELSEWHERE if connection.embedded else ()))
    return {name: value for name, value in found.items() if name not in left_out} | {"BEATCTL_HOME": str(home.root)}


def saved_environment(path: Path) -> dict[str, str] | None:
    """What `save_environment` has kept; None where there is nothing."""
    try:
        return {str(name): str(value) for name, value in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError):
        return None
