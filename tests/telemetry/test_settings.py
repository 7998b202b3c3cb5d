"""What the standard variables turn on."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from beatctl.activities.home import Home
from beatctl.worker.connection import Connection
from beatctl.worker.launch_environment import launch_environment
from beatctl.worker.systemd import environment_for
from beatctl.worker.telemetry.settings import Settings, Signal, read

HTTP: Final = "http/protobuf"
HERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}


def test_nothing_is_sent_where_no_endpoint_is_named() -> None:
    others = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SERVICE_NAME": "x", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    for environ in ({}, others, {"OTEL_EXPORTER_OTLP_ENDPOINT": " "}):
        assert read(environ) == Settings()
        assert not read(environ).on


def test_one_endpoint_is_for_every_signal_and_one_of_its_own_goes_before_it() -> None:
    found = read({**HERE, "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "https://d/in"})
    assert found.traces == found.metrics == Signal("http://c:4318/", False, HTTP)
    assert found.logs == Signal("https://d/in", True, HTTP)
    assert found.metrics is not None
    assert found.metrics.url("metrics") == "http://c:4318/v1/metrics"
    assert found.logs is not None
    assert found.logs.url("logs") == "https://d/in"


def test_only_the_signal_whose_endpoint_is_named_is_sent() -> None:
    found = read({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c/m"})
    assert (found.traces, found.logs) == (None, None)
    assert found.metrics == Signal("http://c/m", True, HTTP)


@pytest.mark.parametrize(
    ("more", "sent"),
    [
        ({"OTEL_SDK_DISABLED": "TRUE"}, ()),
        ({"OTEL_SDK_DISABLED": "false"}, ("traces", "metrics", "logs")),
        ({"OTEL_TRACES_EXPORTER": "none"}, ("metrics", "logs")),
        ({"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "otlp"}, ("traces", "logs")),
    ],
)
def test_what_is_turned_off_is_not_sent(more: dict[str, str], sent: tuple[str, ...]) -> None:
    found = read(HERE | more)
    assert tuple(name for name in ("traces", "metrics", "logs") if getattr(found, name)) == sent
    assert found.problems == ()


def test_what_is_not_known_is_told_and_the_rest_is_sent() -> None:
    found = read(
        {**HERE, "OTEL_TRACES_EXPORTER": "zipkin", "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "json"}
        | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    )
    assert (found.traces, found.logs) == (None, None)
    assert found.metrics == Signal("http://c:4318/", False, "grpc")
    assert found.problems == (
        "OTEL_TRACES_EXPORTER names zipkin; beatctl knows otlp and none",
        "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL is 'json'; beatctl knows http/protobuf and grpc: logs are not sent",
    )


def test_summaries_are_sent_only_when_asked_for() -> None:
    assert not read(HERE).content
    assert read({**HERE, "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true"}).content


def test_an_installed_service_sends_where_the_shell_said_and_its_unit_holds_no_secret() -> None:
    shell = {
        **HERE,
        "PATH": "/bin",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer 0123",
        "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "x=y",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "https://ada:hunter2@d/in",
    }
    found = environment_for(shell)
    assert {name: value for name, value in found.items() if name.startswith("OTEL_")} == {
        **HERE,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }


def test_agents_of_a_loop_that_a_host_starts_do_not_pass_for_its_worker() -> None:
    connection = Connection(address="", embedded=True)
    host = {**HERE, "OTEL_SERVICE_NAME": "beatctl", "OTEL_RESOURCE_ATTRIBUTES": "beatctl.host=h", "PATH": "/bin"}
    assert launch_environment(Home(Path("/h")), connection, host) == {**HERE, "PATH": "/bin", "BEATCTL_HOME": "/h"}
