"""The settings that the files and pages of deploy/ name."""

from __future__ import annotations

import re

from beatctl.worker.telemetry import settings
from tests.deploy.documents import ROOT, files

AT_BUILD = {"BEATCTL_VERSION", "BEATCTL_IMAGE", "BEATCTL_ALONE_IMAGE"}
"""Of the Dockerfile and the Compose files themselves."""
OF_THE_SERVER = re.compile(
    r"TEMPORAL_TLS_((FRONTEND|SERVER|CLIENT[12])_(CERT|KEY|CA_CERT)|(FRONTEND|INTERNODE)_SERVER_NAME"
    r"|REQUIRE_CLIENT_AUTH|CA|CERT|KEY|SERVER_NAME|ENABLE_HOST_VERIFICATION)"
)
"""Of Temporal's own images, server and Web UI."""


def test_a_setting_that_nothing_reads() -> None:
    layers = [ROOT / layer for layer in ("cli", "worker", "activities")]
    code = "".join(path.read_text() for layer in layers for path in layer.rglob("*.py"))
    known = AT_BUILD | of_the_sdk() | of_telemetry()
    seen = set()
    for path in files():
        text = path.read_text(errors="replace")
        for variable in re.findall(r"\b(?:BEATCTL|TEMPORAL|OTEL)_[A-Z0-9_]*[A-Z0-9]\b", text):
            read = variable in known or f'"{variable}"' in code or OF_THE_SERVER.fullmatch(variable)
            assert read, f"{path.relative_to(ROOT)} names {variable}"
            seen.add(variable)
    assert {"BEATCTL_HOST", "BEATCTL_PROFILE", "BEATCTL_PAYLOAD_KEY_FILE", "TEMPORAL_CONFIG_FILE"} <= seen


def of_the_sdk() -> set[str]:
    """What temporalio.envconfig reads from the environment, asked of it: each changes what a profile comes to."""
    from temporalio.envconfig import ClientConfigProfile

    def comes_to(name: str, value: str) -> str:
        return repr(ClientConfigProfile.load(disable_file=True, override_env_vars={name: value}))

    names = {"TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "TEMPORAL_API_KEY"}
    names |= {f"TEMPORAL_TLS_{one}_PATH" for one in ("SERVER_CA_CERT", "CLIENT_CERT", "CLIENT_KEY")}
    nothing = comes_to("TEMPORAL_NO_SUCH_SETTING", "x")
    assert all(comes_to(name, "x") != nothing for name in names)
    return names


def of_telemetry() -> set[str]:
    """The variable that turns telemetry on; as it stands in a container of Compose without it, empty, it is off."""
    name = "OTEL_EXPORTER_OTLP_ENDPOINT"
    assert settings.read({name: "http://collector:4318"}).on
    assert not settings.read({name: ""}).on
    return {name}
