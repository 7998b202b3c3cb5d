"""Telemetry where something is wrong: a killed worker, a collector that is away, settings that can't be used."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from beatctl.activities.home import Home
from beatctl.worker.what_runs import running
from tests.support import Beatctl, wait_until
from tests.telemetry import three
from tests.telemetry.receiver import receiving

SLOW = """#!/bin/sh
echo $BEATCTL_ITERATION >> {began}
while [ "$BEATCTL_ITERATION" = 2 ] && [ ! -e {go} ]; do sleep 0.05; done
echo $((50 - BEATCTL_ITERATION)) > n
"""


def test_a_worker_killed_in_the_middle_of_an_iteration_leaves_one_trace_of_it(
    environment: dict[str, str], place: Path
) -> None:
    began, go = place / "began", place / "go"
    with receiving() as receiver:
        beatctl = Beatctl({**environment, **receiver.environment})
        try:
            folder = three.repository(place / "repo", environment)
            agent = place / "agent.sh"
            agent.write_text(SLOW.format(began=began, go=go))
            agent.chmod(0o755)
            words = ("start", "less", "--eval", "cat n", "--minimize", "--agent", str(agent), "-n", "3", "-d", "--json")
            loop = str(beatctl(*words, cwd=folder, expect=0).json["id"])
            wait_until(lambda: began.exists() and began.read_text().split()[-1:] == ["2"], "the second agent")
            wait_until(lambda: len({span.trace for span in receiver.of_loop(loop)}) == 2, "what came before it")
            found = running(Home(beatctl.home), beatctl.environ)
            assert found is not None
            assert found.worker_pid is not None
            os.kill(found.worker_pid, signal.SIGKILL)
            wait_until(
                lambda: (now := running(Home(beatctl.home), beatctl.environ)) and now.worker_pid != found.worker_pid,
                "another worker",
            )
            go.touch()
            beatctl.until(loop, "its end", lambda s: s["state"] == "finished", cwd=folder, timeout_s=120)
            wait_until(lambda: any(s.name == "loop" for s in receiver.of_loop(loop)), "the loop's span")
            spans = receiver.of_loop(loop)
            whole = [span.attributes["beatctl.iteration"] for span in spans if span.name == "iteration"]
            assert sorted(whole) == [0, 1, 2, 3]
            assert len({span.id for span in spans}) == len(spans)
            second = {s.name: s for s in spans if s.attributes.get("beatctl.iteration") == 2}
            assert second["invoke_agent agent.sh"].attributes["beatctl.adopted"] is True
            assert second["iteration"].start <= second["invoke_agent agent.sh"].start
            assert began.read_text().split() == ["1", "2", "3"]
            wait_until(lambda: sum(p.value for p in receiver.named("beatctl.iterations")) == 4, "the count of all")
        finally:
            beatctl.close()


def test_a_collector_that_is_away_or_silent_disturbs_no_loop_and_holds_up_no_end(beatctl: Beatctl, place: Path) -> None:
    silent = socket.create_server(("127.0.0.1", 0))  # takes connections, and never answers
    away = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
    }
    beatctl.environ |= away | {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_BLRP_SCHEDULE_DELAY": "100"}
    folder = three.repository(place / "repo", beatctl.environ)
    loop = three.run(beatctl, folder, cooldown="0")
    assert beatctl.look(loop)["outcome"] == "improved"
    assert beatctl.look(loop)["counts"] == {"baseline": 1, "keep": 1, "discard": 1, "crash": 1}
    beatctl("down", cwd=folder, expect=0)
    silent.close()
    supervisor = (beatctl.home / "logs" / "supervisor.log").read_text()
    assert supervisor.splitlines()[-1].endswith("ended")
    (log,) = (beatctl.home / "logs").glob("worker.log")
    said = log.read_text()
    assert "stopping" in said
    assert "Traceback" not in said
    complaints = [line for line in said.splitlines() if "opentelemetry" in line]
    assert 0 < len(complaints) < 9, said


HOST = """
import sys
from beatctl.worker import main
code = main.main(sys.argv[1:])
print(*sorted(name for name in sys.modules if name.startswith("opentelemetry")))
sys.stdout.flush()
import os; os._exit(code)
"""


def hosting(shared: Beatctl, environ: dict[str, str], place: Path) -> tuple[set[str], str]:
    """Let a worker host loops on the shared server for a moment; what it has loaded of opentelemetry, and its log."""
    shared("up", "-d", cwd=place, expect=0)
    server = running(Home(shared.home), shared.environ)
    assert server is not None
    connection = f'{{"address": "{server.connection.address}", "embedded": true}}'
    worker = subprocess.Popen(
        [sys.executable, "-I", "-c", HOST, "--home", str(place / "state"), "--connection", connection],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert worker.stderr is not None
        said = []
        for line in iter(worker.stderr.readline, ""):
            said.append(line)
            if "takes work from" in line:
                break
        worker.send_signal(signal.SIGTERM)
        modules, more = worker.communicate(timeout=60)
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()
    assert worker.returncode == 0, f"{said}{more}"
    return set(modules.split()), "".join(said) + more


def test_a_worker_that_sends_nothing_has_nothing_of_opentelemetry_in_it(
    shared_beatctl: Beatctl, environment: dict[str, str], place: Path
) -> None:
    assert hosting(shared_beatctl, environment, place)[0] == set()
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    assert hosting(shared_beatctl, environment | endpoint | {"OTEL_SDK_DISABLED": "true"}, place)[0] == set()


def test_settings_that_cannot_be_used_are_said_in_the_log_and_the_rest_is_sent(
    shared_beatctl: Beatctl, environment: dict[str, str], place: Path
) -> None:
    with receiving() as receiver:
        wrong = {
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/json",
            "OTEL_LOGS_EXPORTER": "otlp,zipkin",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
        }
        loaded, log = hosting(shared_beatctl, environment | receiver.environment | wrong, place)
    assert any(line.text.startswith("takes work from") for line in receiver.lines)
    assert set(receiver.paths) == {"/v1/logs"}
    assert "opentelemetry.exporter.otlp.proto.http._log_exporter" in loaded
    assert "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL is 'http/json'; beatctl knows http/protobuf and grpc" in log
    assert "OTEL_LOGS_EXPORTER names zipkin; beatctl knows otlp and none" in log
    assert "traces are not sent: grpc needs the package opentelemetry-exporter-otlp-proto-grpc" in log
    assert "Traceback" not in log
