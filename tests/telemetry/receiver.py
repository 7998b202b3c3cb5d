"""An OTLP receiver on loopback: takes what is sent over HTTP, and decodes it with OpenTelemetry's own messages."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

Attributes = dict[str, Any]


@dataclass(frozen=True)
class Span:
    """A span as it was received. Times are unix nanoseconds, ids hexadecimal."""

    name: str
    trace: str
    id: str
    parent: str
    links: tuple[tuple[str, str], ...]
    """Trace and span."""
    start: int
    end: int
    attributes: Attributes = field(hash=False)
    status: int
    """2: an error."""
    message: str
    resource: Attributes = field(hash=False)
    scope: str


@dataclass(frozen=True)
class Point:
    """A value of a metric; of a histogram how many values it has, with their sum."""

    name: str
    kind: str
    """`sum`, `gauge` or `histogram`."""
    unit: str
    value: float
    attributes: Attributes = field(hash=False)
    total: float = 0.0
    monotonic: bool = False
    scope: str = ""


@dataclass(frozen=True)
class Line:
    """A log record."""

    text: str
    severity: str
    logger: str
    attributes: Attributes = field(hash=False)
    trace: str
    span: str


@dataclass
class Receiver:
    """What has come in so far."""

    address: str
    spans: list[Span] = field(default_factory=list)
    metrics: list[list[Point]] = field(default_factory=list)
    """A list for each export."""
    lines: list[Line] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    resources: list[Attributes] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which a worker sends everything here, at once."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.address,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_BLRP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "300",
        }

    def of_loop(self, loop: str) -> list[Span]:
        return [span for span in list(self.spans) if span.attributes.get("beatctl.loop.id") == loop]

    def named(self, name: str) -> list[Point]:
        """A metric's points in the latest export that has it."""
        for points in reversed(list(self.metrics)):
            if found := [point for point in points if point.name == name]:
                return found
        return []

    def value(self, name: str, **labels: str) -> float | None:
        """The latest value of the one point of a metric that has these attributes (`__` for a dot)."""
        wanted = {label.replace("__", "."): value for label, value in labels.items()}
        found = [point for point in self.named(name) if wanted.items() <= point.attributes.items()]
        assert len(found) < 2, found
        return found[0].value if found else None

    def take(self, path: str, body: bytes) -> None:
        self.paths.append(path)
        if path == "/v1/traces":
            self.spans += _spans(ExportTraceServiceRequest.FromString(body))
        elif path == "/v1/metrics":
            self._take_metrics(ExportMetricsServiceRequest.FromString(body))
        elif path == "/v1/logs":
            self.lines += _lines(ExportLogsServiceRequest.FromString(body))

    def _take_metrics(self, request: Any) -> None:
        self.resources += [_attributes(of.resource.attributes) for of in request.resource_metrics]
        self.metrics.append(
            [
                point
                for of in request.resource_metrics
                for scope in of.scope_metrics
                for metric in scope.metrics
                for point in _points(metric, scope.scope.name)
            ]
        )


def _attributes(pairs: Iterable[Any]) -> Attributes:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}


def _spans(request: Any) -> Iterator[Span]:
    for of in request.resource_spans:
        resource = _attributes(of.resource.attributes)
        for scope in of.scope_spans:
            for span in scope.spans:
                yield Span(
                    name=span.name,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    attributes=_attributes(span.attributes),
                    status=span.status.code,
                    message=span.status.message,
                    resource=resource,
                    scope=scope.scope.name,
                )


def _points(metric: Any, scope: str) -> Iterator[Point]:
    kind = metric.WhichOneof("data")
    for point in getattr(metric, kind).data_points if kind else ():
        if kind == "histogram":
            value, total = float(point.count), point.sum
        else:
            value, total = float(getattr(point, point.WhichOneof("value") or "as_double")), 0.0
        yield Point(
            name=metric.name,
            kind=kind,
            unit=metric.unit,
            value=value,
            attributes=_attributes(point.attributes),
            total=total,
            monotonic=kind == "sum" and metric.sum.is_monotonic,
            scope=scope,
        )


def _lines(request: Any) -> Iterator[Line]:
    for of in request.resource_logs:
        for scope in of.scope_logs:
            for record in scope.log_records:
                yield Line(
                    text=record.body.string_value,
                    severity=record.severity_text,
                    logger=scope.scope.name,
                    attributes=_attributes(record.attributes),
                    trace=record.trace_id.hex(),
                    span=record.span_id.hex(),
                )


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.headers.append(dict(self.headers))
            receiver.take(self.path, body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Tests print what they need."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
