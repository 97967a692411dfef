"""The compose file, the Dockerfile and the environment example, parsed as Docker does."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shared.settings import Settings
from tests.client_alone import link_packages, needed_by, python_alone

ROOT = Path(__file__).parents[2]
SERVICES = ("valkey", "minio", "api", "worker")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def origins() -> Mapping[str, list[str]]:
    """The distributions of every package that is installed."""
    return packages_distributions()


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def stages(dockerfile: str) -> dict[str, str]:
    parts = re.split(r"^FROM (\S+) AS (\S+)$", dockerfile, flags=re.MULTILINE)
    return {parts[i + 1]: parts[i] + "\n" + parts[i + 2] for i in range(1, len(parts), 3)}


def test_compose_has_the_four_services(compose: dict[str, Any]):
    assert set(compose["services"]) == set(SERVICES)


@pytest.mark.parametrize("service", ["valkey", "minio"])
def test_stores_have_health_checks_and_volumes_that_are_declared(compose: dict[str, Any], service: str):
    definition = compose["services"][service]

    assert definition["healthcheck"]["test"]
    assert all(volume.split(":")[0] in compose["volumes"] for volume in definition["volumes"])


@pytest.mark.parametrize("service", ["api", "worker"])
def test_our_services_wait_until_the_stores_are_healthy(compose: dict[str, Any], service: str):
    waits = compose["services"][service]["depends_on"]

    assert waits == {"valkey": {"condition": "service_healthy"}, "minio": {"condition": "service_healthy"}}


@pytest.mark.parametrize("target", ["api", "worker"])
def test_our_images_have_health_checks_and_no_root(dockerfile: str, target: str):
    stage = stages(dockerfile)[target]

    assert "HEALTHCHECK" in stage
    assert "USER fathom" in stage


@pytest.mark.parametrize("service", SERVICES)
def test_images_are_pinned(compose: dict[str, Any], service: str):
    definition = compose["services"][service]

    assert "build" in definition or re.search(r":[\w.-]*\d[\w.-]*$", definition["image"])


def test_valkey_is_durable_and_evicts_nothing(compose: dict[str, Any]):
    command = " ".join(compose["services"]["valkey"]["command"])

    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_no_secret_has_a_default(compose: dict[str, Any]):
    secrets = [
        value
        for service in compose["services"].values()
        for name, value in service.get("environment", {}).items()
        if re.search("KEY|SECRET|PASSWORD|ROOT_USER", name)
    ]

    assert len(secrets) == 6
    assert all(re.fullmatch(r"\$\{FATHOM_S3_\w+:\?[^}]+\}", value) for value in secrets)


def test_the_example_names_every_variable_that_compose_requires(compose: dict[str, Any]):
    required = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    example = (ROOT / ".env.example").read_text(encoding="utf-8")

    assert {name for name in required if not re.search(rf"^{name}=$", example, re.MULTILINE)} == set()


@pytest.mark.parametrize("service", ["api", "worker"])
def test_the_environment_that_compose_gives_makes_valid_settings(compose: dict[str, Any], service: str):
    given = compose["services"][service]["environment"]
    environ = {name: re.sub(r"\$\{\w+:[-?]([^}]*)\}", r"\1", str(value)) for name, value in given.items()}

    settings = Settings.from_environ(environ)

    assert settings.s3_endpoint_url == "http://minio:9000"
    assert settings.s3_public_url == "http://localhost:9000"


def test_workers_may_be_scaled(compose: dict[str, Any]):
    worker = compose["services"]["worker"]

    assert "container_name" not in worker
    assert "ports" not in worker


def test_workers_get_longer_to_stop_than_they_need(compose: dict[str, Any]):
    assert int(compose["services"]["worker"]["stop_grace_period"].removesuffix("s")) > 20


def all_of(dockerfile: str, target: str) -> str:
    """Return the chain of stages of an image, without stages from which it only copies."""
    found = stages(dockerfile)
    text = found[target]
    parent = text.partition("\n")[0]
    return (all_of(dockerfile, parent) if parent in found else "") + text


@pytest.mark.parametrize(
    ("target", "groups", "rooms"),
    [
        ("api", {"api", "tracing"}, {"api", "fathom", "shared"}),
        ("worker", {"worker", "clips", "tracing"}, {"fathom", "shared", "worker"}),
        ("model", {"worker", "clips", "tracing", "model"}, {"fathom", "shared", "worker"}),
    ],
)
def test_an_image_contains_the_packages_and_folders_of_its_role(
    dockerfile: str, target: str, groups: set[str], rooms: set[str]
):
    text = all_of(dockerfile, target)
    installed = set(",".join(re.findall(r"pip install --editable '\.\[([\w,]+)\]'", text)).split(","))
    copied = set(re.findall(r"^COPY (\w+) \w+$", text, flags=re.MULTILINE))

    assert installed == groups
    assert groups <= set(project()["project"]["optional-dependencies"])
    assert copied == rooms
    assert "pip install --editable ./fathom" in text
    assert ("torch==" in text) == (target == "model")


def imported(room: str) -> set[str]:
    """Return the top-level names that a folder imports when it runs."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_bytes()) for path in (ROOT / room).rglob("*.py")]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            found |= {each.name.partition(".")[0] for each in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
        waiting += ast.iter_child_nodes(node)
    return found - sys.stdlib_module_names


@pytest.mark.parametrize(
    ("room", "groups"),
    [
        ("api", ["api"]),
        ("shared", ["tracing"]),
        # Only the export of the network needs torch, which is in the group `model`.
        ("worker", ["worker", "clips", "model"]),
        ("training", ["worker", "clips", "model", "training"]),
    ],
)
def test_a_role_lists_every_package_that_its_folders_import(
    origins: Mapping[str, list[str]], room: str, groups: list[str]
):
    given = project()["project"]
    listed = given["dependencies"] + [
        each for group in groups for each in given["optional-dependencies"][group]
    ]
    there = needed_by(Requirement(each).name for each in listed)
    wanted = imported(room) - {"api", "fathom", "shared", "training", "worker"}

    assert wanted
    assert {name for name in wanted if not there & set(map(canonicalize_name, origins[name]))} == set()


@pytest.mark.parametrize("room", ["api", "worker"])
def test_a_folder_can_be_imported_with_only_the_packages_of_its_role(tmp_path: Path, room: str):
    given = project()["project"]
    listed = given["dependencies"] + given["optional-dependencies"][room]
    link_packages(needed_by(Requirement(each).name for each in listed), tmp_path)
    paths = [
        path.relative_to(ROOT) for each in (room, "shared") for path in sorted((ROOT / each).rglob("*.py"))
    ]
    # The entry point of the API connects at once.
    names = {".".join(path.with_suffix("").parts) for path in paths} - {"api.wsgi"}
    program = f"""
import importlib
sys.path.append({str(ROOT)!r})
missing = set()
# Celery imports its transport by the broker's address.
for name in ["kombu.transport.redis", *{sorted(names)!r}]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as exc:
        missing.add(exc.name.partition(".")[0])
# These are of other groups: `model` and `tracing`.
print(missing - {{"torch", "timm", "onnx", "opentelemetry", "requests"}})
"""
    command = python_alone(tmp_path, program)
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)

    assert (ended.returncode, ended.stdout) == (0, "set()\n"), ended.stderr


def test_the_api_needs_no_package_that_opens_pictures():
    given = project()["project"]
    packages = " ".join(given["dependencies"] + given["optional-dependencies"]["api"])

    assert re.findall("numpy|opencv|openvino|pillow|torch", packages) == []


def test_the_wheel_of_the_server_contains_no_packages():
    given = project()

    assert "Private :: Do Not Upload" in given["project"]["classifiers"]
    assert given["tool"]["setuptools"]["packages"] == []


def test_everything_that_the_dockerfile_copies_exists(dockerfile: str):
    sources = [
        word
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, flags=re.MULTILINE)
        for word in line.split()[:-1]
    ]

    assert len(sources) >= 5
    assert all((ROOT / source).exists() for source in sources)


def test_the_modules_that_the_dockerfile_starts_exist(dockerfile: str):
    modules = re.findall(
        r'python:([\w.]+)"|"([\w.]+):app"|"--app", "([\w.]+)"|python -m (\w[\w.]+)', dockerfile
    )
    named = {name for match in modules for name in match if name}

    assert {"api.server.gunicorn_conf", "api.wsgi", "worker.app", "fathom.stack.prepare"} <= named
    assert {name for name in named if not (ROOT / f"{name.replace('.', '/')}.py").exists()} == set()


def test_versions_that_go_together_are_pinned_alike_everywhere(dockerfile: str):
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    for pin in ("torch==2.13.0", "torchvision==0.28.0"):
        assert pin in pyproject
        assert pin in makefile
        assert pin in dockerfile
