"""Which signals are sent, by the standard OTEL_* variables. Pure; what concerns the exporters alone (headers, timeouts,
certificates, intervals) they read themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

SIGNALS = ("traces", "metrics", "logs")
Protocol = Literal["http/protobuf", "grpc"]


@dataclass(frozen=True)
class Signal:
    """One signal that is sent."""

    endpoint: str
    """As it was given."""
    whole: bool
    """It was given for this signal: with http the URL itself, else what `/v1/traces` and the like follow."""
    protocol: Protocol

    def url(self, name: str) -> str:
        """Where the signal `name` goes to, with http."""
        return self.endpoint if self.whole else f"{self.endpoint.rstrip('/')}/v1/{name}"


@dataclass(frozen=True)
class Settings:
    """What is sent; a signal that isn't is None."""

    traces: Signal | None = None
    metrics: Signal | None = None
    logs: Signal | None = None
    content: bool = False
    """Summaries are sent, too."""
    problems: tuple[str, ...] = ()
    """Why something that was asked for is not sent, in sentences."""

    @property
    def on(self) -> bool:
        return any((self.traces, self.metrics, self.logs))


def read(environ: Mapping[str, str]) -> Settings:
    """The settings. Unlike the standard's default, nothing is sent where no endpoint is named."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Settings()
    problems: list[str] = []
    traces, metrics, logs = (_signal(name, environ, problems) for name in SIGNALS)
    content = environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "").strip().lower() == "true"
    return Settings(traces, metrics, logs, content, tuple(dict.fromkeys(problems)))


def _signal(name: str, environ: Mapping[str, str], problems: list[str]) -> Signal | None:
    def given(end: str) -> tuple[str, str]:
        """The variable that holds for this signal, and its value; empty where none does."""
        for variable in (f"OTEL_EXPORTER_OTLP_{name.upper()}_{end}", f"OTEL_EXPORTER_OTLP_{end}"):
            if value := environ.get(variable, "").strip():
                return variable, value
        return "", ""

    variable, endpoint = given("ENDPOINT")
    if not endpoint:
        return None
    chooser = f"OTEL_{name.upper()}_EXPORTER"
    chosen = [word.strip() for word in environ.get(chooser, "").split(",") if word.strip()] or ["otlp"]
    unknown = [word for word in chosen if word not in ("otlp", "none")]
    if unknown:
        problems.append(f"{chooser} names {', '.join(unknown)}; beatctl knows otlp and none")
    if "otlp" not in chosen:
        return None
    where, protocol = given("PROTOCOL")
    if protocol not in ("", "http/protobuf", "grpc"):
        problems.append(f"{where} is {protocol!r}; beatctl knows http/protobuf and grpc: {name} are not sent")
        return None
    whole = variable == f"OTEL_EXPORTER_OTLP_{name.upper()}_ENDPOINT"
    return Signal(endpoint, whole, "grpc" if protocol == "grpc" else "http/protobuf")
