"""Profiles: which server a command means, and what is said of one that can't be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from beatctl.worker import payload_key, profile, remembered, systemd
from beatctl.worker.connection import chosen
from beatctl.worker.profile import BadProfile
from beatctl.worker.run_folder import RunFolder

FILE = """
[profile.prod]
address = "prod.example.com:7233"
namespace = "loops"
api_key = "secret"

[profile.staging]
address = "staging.example.com:7233"

[profile.bare]
namespace = "loops"
"""


@pytest.fixture
def environ(place: Path) -> dict[str, str]:
    (place / "temporal.toml").write_text(FILE)
    return {"TEMPORAL_CONFIG_FILE": str(place / "temporal.toml")}


def test_a_profile_is_a_server_with_its_namespace_and_tls_and_the_environment_wins(environ: dict[str, str]) -> None:
    found = chosen({**environ, "BEATCTL_PROFILE": "prod"})
    assert found is not None
    assert (found.label, found.profile, found.tls) == ("prod.example.com:7233/loops", "prod", True)
    plain = chosen({**environ, "BEATCTL_PROFILE": "staging", "TEMPORAL_PROFILE": "prod"})
    assert plain is not None
    assert (plain.label, plain.profile, plain.tls) == ("staging.example.com:7233/default", "staging", False)
    other = chosen({**environ, "BEATCTL_PROFILE": "prod", "TEMPORAL_NAMESPACE": "mine", "TEMPORAL_ADDRESS": "here:1"})
    assert other is not None
    assert (other.label, other.tls) == ("here:1/mine", True)


def test_temporals_own_profile_alone_sends_no_loop_elsewhere(environ: dict[str, str]) -> None:
    assert chosen({**environ, "TEMPORAL_PROFILE": "prod"}) is None
    assert chosen(environ) is None


def test_a_profile_that_can_not_be_used_is_said_with_its_file_and_the_profiles_there_are(
    environ: dict[str, str], place: Path
) -> None:
    file = environ["TEMPORAL_CONFIG_FILE"]

    def refused(name: str = "prod", **more: str) -> str:
        with pytest.raises(BadProfile) as told:
            chosen({**environ, "BEATCTL_PROFILE": name, **more})
        return str(told.value)

    assert refused("prdo") == f'{file} has no profile "prdo". There are: bare, prod, staging.'
    assert refused("bare").startswith(f'Profile "bare" in {file} has no address.')
    assert "that file is not there" in refused(TEMPORAL_CONFIG_FILE=str(place / "gone.toml"))
    assert "that file can't be read" in refused(TEMPORAL_CONFIG_FILE=str(place))
    gone = str(place / "gone.pem")
    assert refused(TEMPORAL_TLS_CLIENT_CERT_PATH=gone).startswith(f"TEMPORAL_TLS_CLIENT_CERT_PATH names {gone}")
    Path(file).write_text(FILE + f'[profile.tls]\naddress = "x:1"\n[profile.tls.tls]\nclient_key_path = "{gone}"\n')
    assert refused("tls").startswith(f'client_key_path of profile "tls" in {file} names {gone}')
    Path(file).write_text('[profile.tls]\naddress = "x:1"\n[profile.tls.tls]\nserver_ca_cert_path = "ca.pem"\n')
    assert "write the whole path" in refused("tls")
    Path(file).write_text("[[")
    assert refused().startswith(f"{file} can't be read: ")
    assert "secret" not in refused()


def test_a_loops_server_is_reached_again_from_a_shell_that_names_none(environ: dict[str, str], place: Path) -> None:
    started = {**environ, "BEATCTL_PROFILE": "prod", payload_key.FILE_VARIABLE: str(place / "key")}
    found = chosen(started)
    assert found is not None
    folder = RunFolder(place / "home", found.label)
    remembered.remember(folder, started, [])
    for shell in ({}, {"TEMPORAL_ADDRESS": "elsewhere:1"}, {**environ, "BEATCTL_PROFILE": "staging"}):
        again = remembered.recalled(folder, shell)
        assert chosen(again) == found
        assert again[payload_key.FILE_VARIABLE] == str(place / "key")
    assert "secret" not in folder.connection.read_text()


def test_another_profile_that_leads_to_the_loops_server_counts(environ: dict[str, str], place: Path) -> None:
    started = {**environ, "BEATCTL_PROFILE": "prod"}
    folder = RunFolder(place / "home", "prod.example.com:7233/loops")
    remembered.remember(folder, started, [])
    Path(environ["TEMPORAL_CONFIG_FILE"]).write_text(FILE.replace("profile.prod", "profile.renewed"))
    assert remembered.recalled(folder, {})["BEATCTL_PROFILE"] == "prod"
    assert remembered.recalled(folder, {**environ, "BEATCTL_PROFILE": "renewed"})["BEATCTL_PROFILE"] == "renewed"


def test_a_loop_on_beatctls_own_server_is_reached_whatever_profile_the_shell_names(place: Path) -> None:
    found = remembered.recalled(
        RunFolder(place, "embedded"), {"BEATCTL_PROFILE": "prod", "TEMPORAL_ADDRESS": "elsewhere:1", "PATH": "/bin"}
    )
    assert found == {"PATH": "/bin"}
    assert not profile.leads_elsewhere(found)


def test_an_installed_service_finds_the_server_and_the_key_and_holds_no_secret(environ: dict[str, str]) -> None:
    shell = {**environ, "BEATCTL_PROFILE": "prod", payload_key.FILE_VARIABLE: "keys/beatctl.key"}
    found = systemd.environment_for({**shell, **dict.fromkeys(systemd.SECRETS, "secret")})
    assert found["BEATCTL_PROFILE"] == "prod"
    assert found["TEMPORAL_CONFIG_FILE"] == environ["TEMPORAL_CONFIG_FILE"]
    assert found[payload_key.FILE_VARIABLE] == str(Path("keys/beatctl.key").absolute())
    assert "secret" not in systemd.unit_text("beatctl up", found)
