"""What Prometheus calls OpenTelemetry's metrics and attributes, by its rules for names. Pure."""

from __future__ import annotations

import re

from beatctl.worker.telemetry.metrics import Metric

_UNITS = {"s": "seconds"}


def names(metric: Metric) -> tuple[str, ...]:
    """The series of a metric: a histogram has three."""
    name = re.sub(r"[^a-zA-Z0-9_:]", "_", metric.name)
    if metric.unit in _UNITS:
        name += f"_{_UNITS[metric.unit]}"
    if metric.kind == "counter":
        return (f"{name}_total",)
    return tuple(f"{name}_{end}" for end in ("bucket", "sum", "count")) if metric.kind == "histogram" else (name,)


def label(attribute: str) -> str:
    """The label of an attribute."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", attribute)
