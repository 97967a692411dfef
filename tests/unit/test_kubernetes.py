"""The manifests for Kubernetes: built, validated against its schemas, and compared with what the programs need."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
import tomllib
from operator import itemgetter
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from api.server import gunicorn_conf
from shared.networks import NETWORKS
from shared.settings import Settings
from tests.kustomize import Resource, build, is_named, key

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "deploy" / "kubernetes"
PAGE = ROOT / "docs" / "kubernetes.md"
OVERLAYS = ("base", "overlays/minimal", "overlays/keda", "overlays/monitoring")
#: The oldest version of Kubernetes that these must work with, and the newest whose schemas are there.
VERSIONS = ("1.27", "1.37")
CUSTOM = {"ScaledObject", "TriggerAuthentication", "ScrapeConfig"}
DEPLOYMENTS = ("fathom-api", "fathom-worker", "fathom-housekeeper")

#: The fields of a ScaledObject that KEDA 2.17 documents (keda.sh/docs/2.17/reference/scaledobject-spec).
SCALED_OBJECT = {
    *("scaleTargetRef", "pollingInterval", "cooldownPeriod", "initialCooldownPeriod", "idleReplicaCount"),
    *("minReplicaCount", "maxReplicaCount", "fallback", "advanced", "triggers"),
}
#: The same of a trigger of the type `metrics-api` (keda.sh/docs/2.17/scalers/metrics-api).
METRICS_API = {
    *("url", "format", "valueLocation", "targetValue", "activationTargetValue", "unsafeSsl", "authMode"),
    *("aggregateFromKubeServiceEndpoints", "aggregationType", "method", "keyParamName"),
}


def built(overlay: str) -> dict[tuple[str, str], Resource]:
    return {key(each): each for each in build(MANIFESTS / overlay)}


def deployment(overlay: str, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = built(overlay)["Deployment", name]["spec"]
    return spec


def pod(overlay: str, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = deployment(overlay, name)["template"]["spec"]
    return spec


def container(overlay: str, name: str) -> dict[str, Any]:
    (only,) = pod(overlay, name)["containers"]
    found: dict[str, Any] = only
    return found


def environ(overlay: str, name: str) -> dict[str, str]:
    """Return what a container gets as its environment; secrets have values that pass."""
    secrets = {
        "redis-url": "rediss://:password@valkey:6379/0",
        "webhook-secrets": "",
        "metrics-token": "token",
    }
    values = {
        each["name"]: each.get("value") or secrets.get(each["valueFrom"]["secretKeyRef"]["key"], "a-secret")
        for each in container(overlay, name)["env"]
    }
    return {**built(overlay)["ConfigMap", "fathom"]["data"], **values}


def mebibytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([MG])i", quantity).groups()  # type: ignore[union-attr]
    return int(number) * (1024 if unit == "G" else 1)


def sorted_by_name(value: Any) -> Any:
    """Return a value with the same order of things with names, which the merge of a patch may change."""
    if isinstance(value, dict):
        return {name: sorted_by_name(each) for name, each in value.items()}
    if isinstance(value, list):
        each_sorted = [sorted_by_name(each) for each in value]
        return sorted(each_sorted, key=itemgetter("name")) if is_named(value) else each_sorted
    return value


# --- they are what Kubernetes takes -------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_all_resources_are_valid(overlay: str, version: str):
    checked = [each for kind_name, each in built(overlay).items() if kind_name[0] not in CUSTOM]
    for resource in checked:
        kubernetes_validate.validate(resource, version, strict=True)

    assert len(checked) >= 9


def test_a_mistake_is_found():
    worker = built("base")["Deployment", "fathom-worker"]
    worker["spec"]["template"]["spec"]["terminationGraceSeconds"] = 30

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(worker, VERSIONS[-1], strict=True)


def built_by_kubectl(folder: Path) -> dict[tuple[str, str], Resource]:
    """Return what the real program builds; skip the test where it is missing or too old."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("There is no kubectl.")
    command = [kubectl, "kustomize", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "invalid Kustomization" in ended.stderr or "unknown field" in ended.stderr:
        pytest.skip("This kubectl is older than 1.21.")
    assert ended.returncode == 0, ended.stderr
    return {key(each): each for each in yaml.safe_load_all(ended.stdout)}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubectl_builds_the_same(overlay: str):
    assert sorted_by_name(built_by_kubectl(MANIFESTS / overlay)) == sorted_by_name(built(overlay))


def test_the_kustomization_of_the_documentation_works(tmp_path: Path):
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "kustomization.yaml").write_text(textwrap.dedent(example), encoding="utf-8")
    shutil.copytree(MANIFESTS, tmp_path / "fathom" / "deploy" / "kubernetes")

    resources = built_by_kubectl(tmp_path)

    assert resources.keys() == built("overlays/keda").keys()
    assert {each["metadata"]["namespace"] for each in resources.values()} == {"fathom"}
    images = re.findall(r"'image': '([^']+)'", str(resources))
    assert {image.partition(":")[0] for image in images} == {"REGISTRY/fathom-api", "REGISTRY/fathom-worker"}


def test_the_documentation_says_what_the_parts_ask_for():
    page = PAGE.read_text(encoding="utf-8")
    for name in DEPLOYMENTS:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        resources = container("base", name)["resources"]
        cpu = resources["requests"]["cpu"]
        cores = float(cpu.removesuffix("m")) / (1000 if cpu.endswith("m") else 1)
        memory = [mebibytes(resources[of]["memory"]) for of in ("requests", "limits")]
        requested, limit = (f"{each / 1024:g} GiB" if each >= 1024 else f"{each} MiB" for each in memory)

        assert row.endswith(f"| {cores:g} cores and {requested}, {limit} |")


def test_every_resource_is_named_once_and_selected_by_its_own_labels():
    for overlay in OVERLAYS:
        resources = build(MANIFESTS / overlay)

        assert len({key(each) for each in resources}) == len(resources)
        for spec in (each["spec"] for each in resources if each["kind"] == "Deployment"):
            assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]


def test_services_budgets_and_policies_select_pods_that_exist():
    labels = [deployment("base", name)["template"]["metadata"]["labels"] for name in DEPLOYMENTS]
    selectors = [
        each["spec"].get("podSelector", each["spec"].get("selector"))
        for (kind, _), each in built("base").items()
        if kind in ("Service", "PodDisruptionBudget", "NetworkPolicy")
    ]

    assert len(selectors) == 5
    for selector in selectors:
        wanted = selector.get("matchLabels", selector)
        assert any(wanted.items() <= each.items() for each in labels)


# --- nothing may do more than it must -----------------------------------------


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_containers_are_locked_down_and_write_to_one_volume(name: str):
    spec = pod("base", name)
    (volume,) = spec["volumes"]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert f"--uid {spec['securityContext']['runAsUser']} " in (ROOT / "Dockerfile").read_text("utf-8")
    assert spec["automountServiceAccountToken"] is False
    assert "emptyDir" in volume
    for each in spec["containers"] + spec["initContainers"]:
        assert each["securityContext"] == {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert [mount["name"] for mount in each["volumeMounts"]] == [volume["name"]]
        assert {"cpu", "memory"} == set(each["resources"]["requests"])
        assert mebibytes(each["resources"]["requests"]["memory"]) <= mebibytes(
            each["resources"]["limits"]["memory"]
        )


def test_only_the_api_can_be_reached():
    policies = [each["spec"] for (kind, _), each in built("base").items() if kind == "NetworkPolicy"]
    closed, opened = policies

    assert closed["ingress"] == []
    assert "Ingress" in closed["policyTypes"]
    assert opened["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "api"
    assert opened["ingress"] == [{"ports": [{"protocol": "TCP", "port": "http"}]}]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_secret_is_in_a_manifest(overlay: str):
    secret = re.compile("REDIS_URL|ACCESS_KEY|SECRET|TOKEN")
    for name in DEPLOYMENTS:
        for each in container(overlay, name)["env"]:
            assert not secret.search(each["name"]) or each["valueFrom"]["secretKeyRef"]["name"] == "fathom"
    assert not [name for name in built(overlay)["ConfigMap", "fathom"]["data"] if secret.search(name)]


# --- they fit the programs ----------------------------------------------------


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_environment_makes_valid_settings(overlay: str, name: str):
    given = environ(overlay, name)

    settings = Settings.from_environ(given)

    own = {variable for variable in given if variable.startswith("FATHOM_")}
    assert own <= set(Settings.variables())
    assert settings.model in NETWORKS
    assert settings.alive_file == Path("/scratch/alive")
    assert settings.cache_dir == Path("/scratch/cache")


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_images_have_the_version_of_the_project(name: str):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    spec = pod("base", name)
    role = "api" if name == "fathom-api" else "worker"

    assert {each["image"] for each in spec["containers"] + spec["initContainers"]} == {
        f"fathom-{role}:{version}"
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_worker_has_memory_and_cores_for_all_its_children(overlay: str):
    worker = container(overlay, "fathom-worker")
    (children,) = [int(each.partition("=")[2]) for each in worker["args"] if "--concurrency" in each]
    limit = mebibytes(worker["resources"]["limits"]["memory"])
    requested = mebibytes(worker["resources"]["requests"]["memory"])
    child = Settings.from_environ(environ(overlay, "fathom-worker")).child_memory_mb

    # The parent takes about a hundred megabytes. Usual photos take a child 513 MB at most (docs/performance.md).
    assert limit >= children * child + 256
    assert requested >= children * 513 + 100
    if "minimal" not in overlay:
        assert worker["resources"]["requests"]["cpu"] == str(children)


def test_the_worker_is_started_as_its_image_starts_it():
    worker = container("base", "fathom-worker")
    (usual,) = re.findall(r'^CMD \["celery".*$', (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    started = [*worker["command"], *(each for each in worker["args"] if "--concurrency" not in each)]

    assert re.findall('"([^"]+)"', usual) == started


def test_grace_periods_are_longer_than_what_they_wait_for():
    api = pod("base", "fathom-api")
    (pause,) = re.findall(r"sleep\((\d+)\)", str(api["containers"][0]["lifecycle"]["preStop"]))

    assert api["terminationGracePeriodSeconds"] > gunicorn_conf.graceful_timeout + int(pause)
    # A soft shutdown gives children three seconds after they have given back their leases.
    assert pod("base", "fathom-worker")["terminationGracePeriodSeconds"] >= 30


@pytest.mark.parametrize("name", ["fathom-worker", "fathom-housekeeper"])
def test_the_liveness_probe_finds_a_file_that_is_not_touched(name: str, tmp_path: Path):
    file = tmp_path / "alive"
    given = container("base", name)["livenessProbe"]["exec"]["command"]
    assert "/scratch/alive" in given[-1]
    command = [sys.executable, *given[1:-1], given[-1].replace("/scratch/alive", str(file))]

    def status() -> int:
        return subprocess.run(command, stderr=subprocess.DEVNULL, timeout=60, check=False).returncode

    assert status() == 1
    file.touch()
    assert status() == 0
    os.utime(file, (time.time() - 120,) * 2)
    assert status() == 1


def test_init_containers_prepare_the_volume(tmp_path: Path):
    image, scratch = tmp_path / "image", tmp_path / "scratch"
    (image / "graphs").mkdir(parents=True)
    (image / "graphs" / "network.xml").write_text("graph")
    (only,) = pod("base", "fathom-worker")["initContainers"]
    program = only["args"][0].replace("/var/cache/fathom", str(image)).replace("/scratch", str(scratch))
    # A container that is started again finds what it made before.
    for _ in range(2):
        subprocess.run([sys.executable, "-c", program], timeout=60, check=True)

    assert (scratch / "cache" / "graphs" / "network.xml").read_text() == "graph"
    assert (scratch / "tmp").is_dir()


# --- scaling ------------------------------------------------------------------


def test_the_scaled_object_has_only_fields_that_keda_knows():
    spec = built("overlays/keda")["ScaledObject", "fathom-worker"]["spec"]
    (trigger,) = spec["triggers"]

    assert set(spec) <= SCALED_OBJECT
    assert set(spec["fallback"]) == {"failureThreshold", "replicas", "behavior"}
    assert set(trigger) == {"type", "metricType", "metadata", "authenticationRef"}
    assert set(trigger["metadata"]) <= METRICS_API
    assert all(isinstance(value, str) for value in trigger["metadata"].values())


def test_the_autoscaler_that_keda_makes_is_valid():
    spec = built("overlays/keda")["ScaledObject", "fathom-worker"]["spec"]
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "keda-hpa-fathom-worker"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", **spec["scaleTargetRef"]},
            "minReplicas": 1,
            "maxReplicas": spec["maxReplicaCount"],
            "behavior": spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
        },
    }

    kubernetes_validate.validate(autoscaler, VERSIONS[-1], strict=True)


def test_keda_alone_sets_the_number_of_workers_and_may_set_it_to_zero():
    resources = built("overlays/keda")
    spec = resources["ScaledObject", "fathom-worker"]["spec"]

    assert "replicas" not in resources["Deployment", spec["scaleTargetRef"]["name"]]["spec"]
    assert spec["minReplicaCount"] == 0
    assert resources["Deployment", "fathom-housekeeper"]["spec"]["replicas"] == 1


def test_keda_asks_the_service_with_a_token_that_the_api_knows():
    resources = built("overlays/keda")
    (trigger,) = resources["ScaledObject", "fathom-worker"]["spec"]["triggers"]
    authentication = resources["TriggerAuthentication", trigger["authenticationRef"]["name"]]
    (service_port,) = resources["Service", "fathom-api"]["spec"]["ports"]
    (token,) = [
        each["valueFrom"]["secretKeyRef"]
        for each in container("overlays/keda", "fathom-api")["env"]
        if each["name"] == "FATHOM_METRICS_TOKEN"
    ]

    assert trigger["metadata"]["url"] == f"http://fathom-api:{service_port['port']}/v1/load"
    assert authentication["spec"]["secretTargetRef"] == [{"parameter": "token", **token}]


def test_prometheus_scrapes_the_service_and_not_each_pod():
    scrape = built("overlays/monitoring")["ScrapeConfig", "fathom"]["spec"]
    labels = built("overlays/monitoring")["Service", "fathom-api"]["metadata"]["labels"]
    (keep,) = [each for each in scrape["relabelings"] if each["action"] == "keep"]

    assert scrape["kubernetesSDConfigs"] == [{"role": "Service"}]
    assert keep["regex"] == ";".join(labels.values())
