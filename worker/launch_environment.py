"""What the worker's own `beatctl` commands get: they have to lead to its home and its server."""

from __future__ import annotations

from collections.abc import Mapping

from beatctl.activities.home import Home
from beatctl.worker.connection import Connection

_LEADS_ELSEWHERE = ("TEMPORAL_ADDRESS", "BEATCTL_PROFILE")
_NOT_OURS = ("CI", "BEATCTL_LOOP_ID", "BEATCTL_LOOP_SCHEDULE", "BEATCTL_HOST")
"""The host's name is kept in its home, whatever the variable says by now."""
_THE_WORKERS = ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES")
"""What it calls itself where its telemetry goes: an agent that has telemetry, too, is another service."""


def launch_environment(home: Home, connection: Connection, environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` with this home and this server, whatever it names. Nobody waits for these commands, also where the
    worker itself runs in CI. Pure."""
    found = {name: value for name, value in environ.items() if name not in (*_NOT_OURS, *_THE_WORKERS)}
    if connection.embedded:
        found = {name: value for name, value in found.items() if name not in _LEADS_ELSEWHERE}
    return {**found, "BEATCTL_HOME": str(home.root)}
