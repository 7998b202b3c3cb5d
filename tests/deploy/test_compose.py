"""The Compose files: what Compose would refuse, and what would lose people's work or open their machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import beatctl
from beatctl.worker import embedded_server
from tests.deploy.documents import DEPLOY, longest_end_s, read, seconds

FOLDER = DEPLOY / "compose"
FORMS = ("compose.yaml", "one-host.yaml", "alone.yaml")
UNTAGGED = ("beatctl-worker", "beatctl-alone")


def services(form: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read(FOLDER / form)["services"]
    return found


def hosts(form: str) -> dict[str, dict[str, Any]]:
    """The services that run loops."""
    ours = {name: one for name, one in services(form).items() if one["image"].startswith("${BEATCTL")}
    return {name: one for name, one in ours.items() if one.get("command") is None}


def named_files(form: str) -> Iterator[Path]:
    """Every file of this machine's that a form names."""
    document = read(FOLDER / form)
    for service in document["services"].values():
        for volume in service.get("volumes", []):
            if volume.startswith("."):
                yield FOLDER / volume.split(":")[0]
        for path in service.get("env_file", []):
            yield FOLDER / path
    for kind in ("secrets", "configs"):
        for one in document.get(kind, {}).values():
            yield FOLDER / one["file"]


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_no_compose_file(form: str) -> None:
    schema = package_files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    validator = jsonschema.validators.validator_for(specification := yaml.safe_load(schema.read_text()))
    wrong = [error.message for error in validator(specification).iter_errors(read(FOLDER / form))]
    assert not wrong, wrong


@pytest.fixture
def project(place: Path) -> Path:
    """deploy/ as a person has it who has made the secrets."""
    folder = place / "deploy"
    shutil.copytree(DEPLOY, folder)
    compose = folder / "compose"
    shutil.copytree(compose / "secrets.example", compose / "secrets")
    for name in ("postgres_password", "payload_key", "grafana_password"):
        (compose / "secrets" / name).write_text("of the tests")
    return compose


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_docker_compose_refuses(form: str, project: Path, original_environment: dict[str, str]) -> None:
    def compose(*words: str) -> subprocess.CompletedProcess[str]:
        line = ["docker", "compose", *words]
        return subprocess.run(line, cwd=project, env=original_environment, capture_output=True, text=True, check=False)

    if shutil.which("docker") is None or compose("version").returncode:
        pytest.skip("docker compose is not installed here")
    said = compose("-f", form, "--profile", "*", "config")
    assert said.returncode == 0, said.stderr
    assert yaml.safe_load(said.stdout)["services"].keys() == services(form).keys()
    (project / "secrets" / "agents.env").unlink()
    said = compose("-f", form, "--profile", "*", "config")
    assert said.returncode != 0
    assert "agents.env" in said.stderr


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_named_and_not_there(form: str) -> None:
    page = (FOLDER / "README.md").read_text()
    for path in named_files(form):
        if path.parent.name == "secrets":
            example = FOLDER / "secrets.example" / path.name
            assert example.exists() or f"secrets/{path.name}" in page, f"{form}: nothing says how to make {path}"
        else:
            assert path.exists(), f"{form} names {path}"


@pytest.mark.parametrize("form", FORMS)
def test_an_image_that_is_another_tomorrow(form: str) -> None:
    for name, service in services(form).items():
        image = re.sub(r"\$\{\w+:-(.+)\}", r"\1", service["image"])
        repository, _, tag = image.partition(":")
        assert re.match(r"v?\d+\.\d+", tag), f"{name} runs {image}"
        if repository in UNTAGGED:
            assert tag == beatctl.__version__


@pytest.mark.parametrize("form", FORMS)
def test_a_host_whose_stop_cuts_off_an_agent_within_its_time_limit(form: str) -> None:
    assert hosts(form)
    for name, service in hosts(form).items():
        assert seconds(service["stop_grace_period"]) >= longest_end_s(), name
        assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("form", FORMS)
def test_an_agent_that_gets_more_of_the_machine_than_it_needs(form: str) -> None:
    for name, service in services(form).items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} publishes {port}"
        assert not any("docker.sock" in volume for volume in service.get("volumes", []))
    for name, service in hosts(form).items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["read_only"], name
        # What an agent builds in /tmp it also starts there.
        (tmp,) = service["tmpfs"]
        place, _, options = tmp.partition(":")
        assert place == "/tmp"
        assert "exec" in options.split(","), name
        assert "ports" not in service


def test_two_hosts_with_one_name_or_one_volume() -> None:
    found = hosts("compose.yaml").values()
    assert len(found) == 2
    assert len({one["environment"]["BEATCTL_HOST"] for one in found}) == 2
    assert len({volume for one in found for volume in one["volumes"]}) == 2
    assert all(volume.endswith(":/var/lib/beatctl") for one in found for volume in one["volumes"])


def test_a_service_that_starts_before_what_it_needs() -> None:
    found = services("compose.yaml")
    for before, after, condition in (
        ("postgresql", "schema", "service_healthy"),
        ("schema", "temporal", "service_completed_successfully"),
        ("temporal", "setup-cluster", "service_healthy"),
        ("temporal", "ui", "service_healthy"),
        ("setup-cluster", "build-1", "service_completed_successfully"),
        ("setup-cluster", "build-2", "service_completed_successfully"),
    ):
        assert found[after]["depends_on"][before]["condition"] == condition
        if condition == "service_healthy":
            assert found[before]["healthcheck"]["test"]


def test_a_temporal_server_as_slow_as_it_comes() -> None:
    wanted = dict(pair.split("=") for pair in embedded_server.DYNAMIC_CONFIG)
    given = read(FOLDER / "config" / "dynamicconfig.yaml")
    assert {name: str(value[0]["value"]).lower() for name, value in given.items()} == wanted
    mounted = services("compose.yaml")["temporal"]
    assert f"./config/dynamicconfig.yaml:{mounted['environment']['DYNAMIC_CONFIG_FILE_PATH']}:ro" in mounted["volumes"]
    line = services("one-host.yaml")["temporal"]["command"]
    for pair in embedded_server.DYNAMIC_CONFIG:
        assert f"--dynamic-config-value={pair}" in line
    for pair in embedded_server.SQLITE_PRAGMAS:
        assert f"--sqlite-pragma={pair}" in line


def test_a_secret_in_a_file_that_is_kept_in_the_repository() -> None:
    ignored = ["compose/secrets/agents.env", "compose/.env", "kubernetes/example/secrets/payload_key"]
    done = subprocess.run(["git", "check-ignore", *ignored], cwd=DEPLOY, capture_output=True, text=True, check=False)
    if (DEPLOY.parent / ".git").exists():
        assert done.stdout.split() == ignored
    for example in DEPLOY.rglob("secrets.example/*.env"):
        for line in example.read_text().splitlines():
            assert line.startswith("#") or line.endswith("=REPLACE-ME"), f"{example}: {line}"


def test_telemetry_that_is_sent_where_nobody_listens() -> None:
    collector = read(FOLDER / "config" / "collector.yaml")
    ports = {one["endpoint"].rpartition(":")[2] for one in collector["receivers"]["otlp"]["protocols"].values()}
    (sent,) = re.findall(r"OTEL_EXPORTER_OTLP_ENDPOINT=http://(\w+):(\d+)", (FOLDER / ".env.example").read_text())
    found = services("compose.yaml")
    assert sent[0] in found
    assert sent[1] in ports
    scraped = {
        target
        for job in read(FOLDER / "config" / "prometheus.yaml")["scrape_configs"]
        for one in job["static_configs"]
        for target in one["targets"]
    }
    prometheus_port = collector["exporters"]["prometheus"]["endpoint"].rpartition(":")[2]
    temporal_port = found["temporal"]["environment"]["PROMETHEUS_ENDPOINT"].rpartition(":")[2]
    assert scraped == {f"collector:{prometheus_port}", f"temporal:{temporal_port}"}
    defined = {kind: set(collector[kind]) for kind in ("receivers", "processors", "exporters")}
    for pipeline in collector["service"]["pipelines"].values():
        assert all(set(pipeline[kind]) <= names for kind, names in defined.items())
    # Dashboard and alert rules, where Grafana and Prometheus look for them.
    inside = "/etc/beatctl/grafana/"
    (rules,) = read(FOLDER / "config" / "prometheus.yaml")["rule_files"]
    home = found["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    for service, path in (("prometheus", rules), ("grafana", home)):
        assert f"../grafana:{inside.rstrip('/')}:ro" in found[service]["volumes"]
        assert path.startswith(inside)
        assert (DEPLOY / "grafana" / path.removeprefix(inside)).is_file()
    (provider,) = read(FOLDER / "config" / "grafana-dashboards.yaml")["providers"]
    assert home.startswith(provider["options"]["path"])
    (source,) = read(FOLDER / "config" / "grafana-datasource.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
