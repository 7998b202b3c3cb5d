"""Turning telemetry on: the worker's own, and that of Temporal's SDK, which sends its metrics itself."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from temporalio.runtime import OpenTelemetryConfig, OpenTelemetryMetricTemporality, TelemetryConfig

from beatctl import __version__
from beatctl.activities.home import Home
from beatctl.worker.hosts import Host
from beatctl.worker.telemetry.settings import Settings, Signal

if TYPE_CHECKING:
    from beatctl.worker.telemetry.observing import Observing

log = logging.getLogger("beatctl.worker")


def describe(host: Host, connection: str) -> dict[str, str]:
    """What the worker is, as attributes of its resource. `connection`: the server's label."""
    return {
        "service.name": "beatctl",
        "service.version": __version__,
        # Of one home there may be a worker for each server, and each tells of its own loops.
        "service.instance.id": f"{host.queue}/{connection}",
        "host.name": socket.gethostname(),
        "beatctl.host": host.name,
    }


def observe(settings: Settings, home: Home, host: Host, connection: str) -> Observing | None:
    """The worker's telemetry, or None where nothing can be sent; what can't is said in the log."""
    for problem in settings.problems:
        log.warning("%s", problem)
    if not settings.on:
        return None
    try:
        # Here: all of opentelemetry comes with it.
        from beatctl.worker.telemetry.export import Export, resource
        from beatctl.worker.telemetry.observing import Observing

        export = Export(settings, resource(describe(host, connection)))
        for problem in export.problems:
            log.warning("%s", problem)
        return Observing(home, connection, host.name, export, content=settings.content)
    except Exception:  # whatever it is: loops go on without
        log.warning("telemetry could not be turned on; loops go on without it", exc_info=True)
        return None


def sdk_metrics(signal: Signal, environ: Mapping[str, str], host: Host, connection: str) -> TelemetryConfig:
    """Temporal's SDK metrics, to the same place. Raises ValueError."""
    from beatctl.worker.telemetry.export import headers, resource

    def given(name: str) -> str:
        return environ.get(f"OTEL_EXPORTER_OTLP_METRICS_{name}") or environ.get(f"OTEL_EXPORTER_OTLP_{name}") or ""

    url = signal.url("metrics")
    if signal.protocol == "grpc":
        insecure = given("INSECURE").lower() == "true"
        url = signal.endpoint if "://" in signal.endpoint else f"{'http' if insecure else 'https'}://{signal.endpoint}"
    interval = environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")
    delta = given("TEMPORALITY_PREFERENCE").lower() == "delta"
    about = resource(describe(host, connection)).attributes
    return TelemetryConfig(
        metrics=OpenTelemetryConfig(
            url=url,
            headers=headers(given("HEADERS")),
            metric_periodicity=timedelta(
                milliseconds=float(interval) if interval.isdigit() and int(interval) else 60_000
            ),
            metric_temporality=OpenTelemetryMetricTemporality.DELTA
            if delta
            else OpenTelemetryMetricTemporality.CUMULATIVE,
            durations_as_seconds=True,
            http=signal.protocol == "http/protobuf",
        ),
        global_tags={name: str(value) for name, value in about.items() if not name.startswith("telemetry.")},
        attach_service_name=False,
    )
