"""Sending: OpenTelemetry's own SDK and exporters, in threads of theirs that no loop waits for.

The only module that imports opentelemetry.
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Histogram, Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.util.re import parse_env_headers

from beatctl.worker.telemetry.ids import Ids
from beatctl.worker.telemetry.metrics import BUCKETS, Metric, Points
from beatctl.worker.telemetry.settings import Settings, Signal
from beatctl.worker.telemetry.spans import Span

SCOPE = "beatctl"
_PACKAGES = {
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http",
    "grpc": "opentelemetry.exporter.otlp.proto.grpc",
}
_EXPORTERS = {
    "traces": ("trace_exporter", "OTLPSpanExporter"),
    "metrics": ("metric_exporter", "OTLPMetricExporter"),
    "logs": ("_log_exporter", "OTLPLogExporter"),
}
_OWN = ("opentelemetry", "urllib3", "requests", "grpc")
"""Loggers of what sends: what they say of a collector that is away is not sent to it."""
_SEVERITIES = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
    logging.CRITICAL: SeverityNumber.FATAL,
}


class CannotSend(Exception):
    """A signal can't be sent as it is set up; the text says why, in a sentence."""


def resource(attributes: Mapping[str, str]) -> Resource:
    """What all of it is about; OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME go before `attributes`."""
    return Resource.create({**attributes, **OTELResourceDetector().detect().attributes})


def headers(text: str) -> dict[str, str]:
    """What a variable such as OTEL_EXPORTER_OTLP_HEADERS names."""
    return dict(parse_env_headers(text, liberal=True))


class Export:
    """What is sent, once it is set up; `problems` has why a signal is not."""

    def __init__(self, settings: Settings, about: Resource) -> None:
        self.problems: list[str] = []
        self._about = about
        self._stops: list[Callable[[], object]] = []
        self._ids = _GivenIds()
        self._tracer: trace.Tracer | None = None
        self._histograms: dict[str, Histogram] = {}
        self._meters: MeterProvider | None = None
        self.handler: logging.Handler | None = None
        """For the worker's log, where logs are sent."""
        for signal, set_up in (("traces", self._traces), ("metrics", self._metrics), ("logs", self._logs)):
            wanted: Signal | None = getattr(settings, signal)
            if wanted is None:
                continue
            try:
                set_up(_exporter(signal, wanted))
            except CannotSend as problem:
                self.problems.append(str(problem))

    @property
    def traces(self) -> bool:
        return self._tracer is not None

    def _traces(self, exporter: Any) -> None:
        provider = TracerProvider(resource=self._about, shutdown_on_exit=False, id_generator=self._ids)
        # A killed worker loses what it has not sent: a second's traces, where nothing else is asked for.
        asked = os.environ.get("OTEL_BSP_SCHEDULE_DELAY")
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=None if asked else 1000))
        self._tracer = provider.get_tracer(SCOPE)
        self._stops.append(provider.shutdown)

    def _metrics(self, exporter: Any) -> None:
        reader = PeriodicExportingMetricReader(exporter)
        self._meters = MeterProvider([reader], resource=self._about, shutdown_on_exit=False)
        self._stops.append(self._meters.shutdown)

    def _logs(self, exporter: Any) -> None:
        provider = LoggerProvider(resource=self._about, shutdown_on_exit=False)
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        self.handler = _Handler(provider)
        self._stops.append(provider.shutdown)

    def send(self, spans: Iterable[Span]) -> None:
        """One trace, its root first. To be called from one thread at a time."""
        if self._tracer is None:
            return
        sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
        for span in spans:
            context = Context()
            if span.parent is not None:
                above = trace.SpanContext(span.ids.trace, span.parent, False, sampled)
                context = trace.set_span_in_context(trace.NonRecordingSpan(above), context)
            self._ids.next = span.ids
            sent = self._tracer.start_span(
                span.name,
                context,
                attributes=span.attributes,
                links=[trace.Link(_context(span.link))] if span.link else [],
                start_time=_nanoseconds(span.start),
            )
            if not sent.is_recording() and span.parent is None:
                return  # not sampled: neither are its parts
            if span.error is not None:
                sent.set_status(trace.Status(trace.StatusCode.ERROR, span.error))
            sent.end(_nanoseconds(span.end))

    def observe(self, metrics: Mapping[Metric, Callable[[], Points]], histograms: Sequence[Metric]) -> None:
        """Look these up for each export; take `record` for those."""
        if self._meters is None:
            return
        meter = self._meters.get_meter(SCOPE)
        for metric, look in metrics.items():
            create = meter.create_observable_counter if metric.kind == "counter" else meter.create_observable_gauge
            create(metric.name, [_callback(look)], metric.unit, metric.description)
        for metric in histograms:
            self._histograms[metric.name] = meter.create_histogram(
                metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=BUCKETS
            )

    def record(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        """One value of a histogram."""
        if metric.name in self._histograms:
            self._histograms[metric.name].record(value, dict(labels))

    def close(self, patience_s: float) -> None:
        """Send what is left, for so long at most."""
        threads = [threading.Thread(target=_quietly, args=(stop,), daemon=True) for stop in self._stops]
        for thread in threads:
            thread.start()
        each_s = patience_s
        for thread in threads:
            thread.join(each_s)
            each_s = 0.0 if thread.is_alive() else each_s


class _GivenIds(IdGenerator):
    """The ids that the next span is to have."""

    next = Ids(1, 1)

    def generate_trace_id(self) -> int:
        return self.next.trace

    def generate_span_id(self) -> int:
        return self.next.span


class _Handler(logging.Handler):
    """The worker's log lines as records of their own, each with its loop and iteration and in that one's trace."""

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__()
        self._provider = provider

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(_OWN):
            return
        try:
            self._emit(record)
        except Exception:
            self.handleError(record)

    def _emit(self, record: logging.LogRecord) -> None:
        attributes: dict[str, Any] = {}
        if (loop := getattr(record, "beatctl_loop", None)) is not None:
            attributes["beatctl.loop.id"] = loop
        if (iteration := getattr(record, "beatctl_iteration", None)) is not None:
            attributes["beatctl.iteration"] = iteration
        ids: Ids | None = getattr(record, "beatctl_ids", None)
        context = Context()
        if ids is not None:
            context = trace.set_span_in_context(trace.NonRecordingSpan(_context(ids)), context)
        self._provider.get_logger(record.name).emit(
            LogRecord(
                timestamp=_nanoseconds(record.created),
                context=context,
                severity_text=record.levelname,
                severity_number=_SEVERITIES.get(record.levelno, SeverityNumber.INFO),
                body=record.getMessage(),
                attributes=attributes,
                exception=record.exc_info[1] if record.exc_info else None,
            )
        )


def _exporter(name: str, signal: Signal) -> Any:
    """The exporter of a signal; it reads what else is set by itself. Raises CannotSend."""
    package = _PACKAGES[signal.protocol]
    module, exporter = _EXPORTERS[name]
    try:
        return getattr(importlib.import_module(f"{package}.{module}"), exporter)()
    except ImportError as problem:
        wanted = package.replace("opentelemetry.exporter.otlp.", "opentelemetry-exporter-otlp-").replace(".", "-")
        raise CannotSend(
            f"{name} are not sent: {signal.protocol} needs the package {wanted} beside beatctl ({problem}); "
            "or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
        ) from problem
    except Exception as problem:  # whatever it makes of the variables it reads
        raise CannotSend(f"{name} are not sent, since the OTEL_* variables can't be used: {problem}") from problem


def _callback(look: Callable[[], Points]) -> Callable[[CallbackOptions], list[Observation]]:
    return lambda _options: [Observation(value, labels) for value, labels in look()]


def _context(ids: Ids) -> trace.SpanContext:
    return trace.SpanContext(ids.trace, ids.span, True, trace.TraceFlags(trace.TraceFlags.SAMPLED))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)


def _quietly(stop: Callable[[], object]) -> None:
    try:
        stop()
    except Exception:
        logging.getLogger("beatctl.worker").warning("telemetry could not be ended", exc_info=True)
