"""The Kubernetes manifests: what a cluster would refuse, and what would lose people's work."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

import beatctl
from tests.deploy.documents import DEPLOY, longest_end_s, read

FOLDER = DEPLOY / "kubernetes"
VERSIONS = ("1.32", "1.37")
"""Of Kubernetes: the oldest and the newest that is looked at."""

Object = dict[str, Any]


def base() -> list[Object]:
    """The objects of base/, as they stand there."""
    return [read(FOLDER / "base" / name) for name in read(FOLDER / "base" / "kustomization.yaml")["resources"]]


def one(kind: str, objects: list[Object] | None = None) -> Object:
    (found,) = (each for each in objects or base() if each["kind"] == kind)
    return found


def pods() -> list[Object]:
    """What each workload makes its pods of."""
    return [one("StatefulSet")["spec"]["template"], one("Job")["spec"]["template"]]


def kustomize(folder: Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed here")
    return subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)


@pytest.fixture
def example(place: Path) -> Path:
    """The example as a person has it who has made the secrets."""
    shutil.copytree(FOLDER, place / "kubernetes")
    folder = place / "kubernetes" / "example"
    shutil.copytree(folder / "secrets.example", folder / "secrets")
    (folder / "secrets" / "payload_key").write_text("of the tests")
    return folder


@pytest.mark.parametrize("version", VERSIONS)
def test_an_object_that_kubernetes_refuses(version: str) -> None:
    for each in base():
        kubernetes_validate.validate(each, version, strict=True)
    # The check is one that can fail.
    wrong = one("StatefulSet")
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_an_example_that_can_not_be_applied(example: Path) -> None:
    built = kustomize(example)
    assert built.returncode == 0, built.stderr
    objects = list(yaml.safe_load_all(built.stdout))
    for each in objects:
        kubernetes_validate.validate(each, VERSIONS[-1], strict=True)
    assert {each["kind"] for each in objects} == {each["kind"] for each in base()} | {"ConfigMap", "Secret"}
    assert all(each["metadata"].get("namespace", "beatctl") == "beatctl" for each in objects)
    hosts = one("StatefulSet", objects)["spec"]
    assert hosts["replicas"] == 2
    (container,) = hosts["template"]["spec"]["containers"]
    assert container["image"].endswith(f":{beatctl.__version__}")
    # What selects them still does, with the labels that kustomize adds.
    labels = hosts["template"]["metadata"]["labels"].items()
    for selector in (hosts["selector"], one("PodDisruptionBudget", objects)["spec"]["selector"]):
        assert selector["matchLabels"].items() <= labels
    assert one("Service", objects)["spec"]["selector"].items() <= labels


def test_hosts_that_start_with_no_secrets_or_with_the_examples(example: Path) -> None:
    shutil.rmtree(example / "secrets")
    built = kustomize(example)
    assert built.returncode != 0
    assert "secrets/" in built.stderr
    # The container refuses this value and names the variable.
    shutil.copytree(example / "secrets.example", example / "secrets")
    (example / "secrets" / "payload_key").write_text("of the tests")
    secrets = [each for each in yaml.safe_load_all(kustomize(example).stdout) if each["kind"] == "Secret"]
    (environment,) = (each["data"] for each in secrets if each["metadata"]["name"] == "beatctl-environment")
    assert {base64.b64decode(value) for value in environment.values()} == {b"REPLACE-ME"}


def test_a_secret_a_map_or_a_volume_that_nothing_makes() -> None:
    example = read(FOLDER / "example" / "kustomization.yaml")
    made = {each["name"] for kind in ("configMapGenerator", "secretGenerator") for each in example[kind]}
    page = (FOLDER / "README.md").read_text()
    for generator in example["secretGenerator"]:
        for path in [*generator.get("envs", []), *generator.get("files", [])]:
            there = (FOLDER / "example" / "secrets.example" / Path(path).name).exists()
            assert there or path in page, f"nothing says how to make {path}"
    for pod in pods():
        spec = pod["spec"]
        for volume in spec["volumes"]:
            if "configMap" in volume:
                assert volume["configMap"]["name"] in made
            if "secret" in volume:
                assert volume["secret"].get("optional") or volume["secret"]["secretName"] in made
        (container,) = spec["containers"]
        assert {each["secretRef"]["name"] for each in container["envFrom"]} <= made
        known = {volume["name"] for volume in spec["volumes"]}
        if pod == pods()[0]:
            known |= {claim["metadata"]["name"] for claim in one("StatefulSet")["spec"]["volumeClaimTemplates"]}
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts.keys() == known
        for variable in container["env"]:
            if variable["name"].endswith("_FILE"):
                assert any(variable["value"].startswith(f"{path}/") for path in mounts.values()), variable


def test_a_host_whose_pod_is_ended_before_its_agent_could_end() -> None:
    assert one("StatefulSet")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= longest_end_s()


def test_a_host_that_comes_back_with_another_name_or_another_volume() -> None:
    hosts = one("StatefulSet")["spec"]
    (container,) = hosts["template"]["spec"]["containers"]
    (name,) = (each for each in container["env"] if each["name"] == "BEATCTL_HOST")
    assert name["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    (claim,) = hosts["volumeClaimTemplates"]
    assert {"name": claim["metadata"]["name"], "mountPath": "/var/lib/beatctl"} in container["volumeMounts"]
    assert set(hosts["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
    assert hosts["serviceName"] == one("Service")["metadata"]["name"]
    assert one("Service")["spec"]["clusterIP"] == "None"


def test_a_probe_that_ends_agents() -> None:
    (container,) = one("StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["exec"]["command"] == ["beatctl-ready"]
    assert not {"livenessProbe", "startupProbe"} & container.keys()


def test_pods_that_the_restricted_standard_refuses_or_that_may_talk_to_the_cluster() -> None:
    assert one("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert one("ServiceAccount")["automountServiceAccountToken"] is False
    for pod in pods():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"].keys() == {"memory"}
        written = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert written == {"/var/lib/beatctl", "/tmp"}


def test_a_policy_that_lets_somebody_in_or_the_hosts_not_out() -> None:
    policy = one("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == []
    out = {(rule.get("protocol"), rule["port"]) for each in policy["egress"] for rule in each["ports"]}
    assert {("UDP", 53), ("TCP", 53), ("TCP", 443), ("TCP", 7233), ("TCP", 4318)} <= out
    # The server of the example's profile is one that may be reached.
    profile = (FOLDER / "example" / "temporal.toml").read_text()
    (temporal,) = (rule["to"] for rule in policy["egress"] if {"protocol": "TCP", "port": 7233} in rule["ports"])
    namespace = temporal[0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
    assert f'.{namespace}.svc:7233"' in profile
    # What is open to the world leaves out the cloud's metadata.
    (world,) = (rule["to"] for rule in policy["egress"] if {"protocol": "TCP", "port": 443} in rule["ports"])
    assert "169.254.0.0/16" in world[0]["ipBlock"]["except"]


def test_nodes_that_are_drained_of_all_hosts_at_once() -> None:
    budget = one("PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    annotations = one("StatefulSet")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
