"""How `fathom doctor` rates facts. Tests on real servers check how it collects them."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import pytest

from fathom.doctor.findings import judge_clock
from fathom.doctor.redis import judge_redis, judge_served
from fathom.doctor.run import check_machine, check_model, check_settings, check_tracing, examine
from shared.jobs.job import ServedModel
from shared.redis.info import RedisFacts
from shared.settings import Settings

GOOD = RedisFacts(
    kind="valkey",
    version=(7, 2),
    appends=True,
    policy="noeviction",
    used_bytes=50 * 2**20,
    most_bytes=None,
    latency=0.0003,
    ahead=0.2,
)


def levels(**changes: Any) -> dict[str, str]:
    """Return messages and levels for a good server with these changes."""
    facts = dataclasses.replace(GOOD, **changes)
    return {finding.message: finding.level for finding in judge_redis(facts, "redis://here")}


def test_a_good_server_has_no_findings():
    assert set(levels().values()) == {"ok"}


@pytest.mark.parametrize(
    ("changes", "level", "word"),
    [
        ({"version": (6, 0)}, "error", "Redis 6.0"),
        ({"appends": False}, "error", "not written to disk"),
        ({"in_cluster": True}, "error", "Redis Cluster"),
        ({"policy": "allkeys-lru"}, "error", "allkeys-lru"),
        ({"policy": "volatile-ttl"}, "error", "volatile-ttl"),
        ({"most_bytes": 60 * 2**20}, "warning", "50 MB of 60 MB"),
        ({"latency": 0.05}, "warning", "50.0 ms"),
        ({"ahead": -75.0}, "warning", "75.0 s"),
        ({"ahead": 1000.0}, "error", "1000.0 s"),
    ],
)
def test_a_problem_is_named_and_the_rest_is_good(changes: dict[str, object], level: str, word: str):
    found = levels(**changes)

    bad = {message: found for message, found in found.items() if found != "ok"}
    assert list(bad.values()) == [level]
    assert word in next(iter(bad))


@pytest.mark.parametrize("version", [(6, 2), (7, 0), (10, 0)])
def test_newer_versions_are_good(version: tuple[int, ...]):
    assert set(levels(version=version).values()) == {"ok"}


def test_the_models_of_living_workers_are_named():
    served = {"midas_small": ServedModel(cost=1.0, slots=5), "dpt_large": ServedModel(cost=101.9, slots=2)}

    found = judge_served(served, "midas_small")

    assert found.level == "ok"
    assert found.message == "They serve midas_small (5 images at once), dpt_large (2 images at once)."


def test_a_default_that_no_living_worker_serves_is_a_warning():
    found = judge_served({"dpt_large": ServedModel(cost=101.9, slots=2)}, "midas_small")

    assert found.level == "warning"
    assert "None serves FATHOM_MODEL, midas_small" in found.message
    assert "FATHOM_MODELS" in found.remedy


def test_a_wrong_setting_is_the_only_finding():
    (finding,) = examine({"FATHOM_LEASE_SECONDS": "soon"}, "http://127.0.0.1:8080")

    assert (finding.part, finding.level) == ("settings", "error")
    assert "FATHOM_LEASE_SECONDS" in finding.message


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        ({"FATHOM_MAX_IMAGE_BYTES": "200", "FATHOM_MAX_REQUEST_BYTES": "100"}, "FATHOM_MAX_REQUEST_BYTES"),
        ({"FATHOM_LEASE_SECONDS": "2"}, "FATHOM_LEASE_SECONDS"),
        ({"FATHOM_RETENTION_HOURS": "0.5"}, "FATHOM_RETENTION_HOURS"),
        ({"FATHOM_WEIGHTS": "random"}, "FATHOM_WEIGHTS"),
        ({"FATHOM_S3_PUBLIC_URL": "https://photos.example.org/s3"}, "FATHOM_S3_PUBLIC_URL"),
        ({"FATHOM_S3_PUBLIC_URL": "https://photos.example.org/s3/"}, "https://s3.example.org"),
        ({"FATHOM_S3_PUBLIC_URL": "http://photos.example.org:81/a/b//"}, "port of its own"),
        ({"FATHOM_PRESIGN_SECONDS": "5", "FATHOM_S3_PUBLIC_URL": "http://s3"}, "FATHOM_PRESIGN_SECONDS"),
    ],
)
def test_settings_that_contradict_each_other_are_named_with_a_remedy(environ: dict[str, str], word: str):
    (finding,) = check_settings(Settings.from_environ(environ))

    assert finding.level == "warning"
    assert word in finding.remedy


@pytest.mark.parametrize("public", ["", "https://s3.example.org", "https://s3.example.org:9000/"])
def test_the_defaults_agree_with_each_other(public: str):
    settings = Settings.from_environ({"FATHOM_S3_PUBLIC_URL": public})

    assert [finding.level for finding in check_settings(settings)] == ["ok"]


@pytest.mark.parametrize("tail", ["/s3?x=1", "/#top", "?"])
def test_a_public_address_with_a_path_is_an_error(tail: str):
    environ = {"FATHOM_S3_PUBLIC_URL": f"https://s3.example.org{tail}"}

    (finding,) = examine(environ, "http://127.0.0.1:8080")

    assert (finding.part, finding.level) == ("settings", "error")
    assert "FATHOM_S3_PUBLIC_URL must end with its host or port" in finding.message


def test_a_public_address_with_credentials_is_an_error_that_hides_them():
    environ = {"FATHOM_S3_PUBLIC_URL": "https://me:hunter2@s3.example.org"}

    (finding,) = examine(environ, "http://127.0.0.1:8080")

    assert (finding.part, finding.level) == ("settings", "error")
    assert "FATHOM_S3_SECRET_KEY" in finding.message
    assert "hunter2" not in finding.message + finding.remedy


def test_missing_weights_are_an_error():
    (finding,) = check_model(Settings.from_environ({"FATHOM_WEIGHTS": "/nowhere/weights.pt"}))

    assert finding.level == "error"
    assert "/nowhere/weights.pt" in finding.message


def test_the_weights_and_the_engine_are_named():
    findings = list(check_model(Settings.from_environ({"FATHOM_WEIGHTS": "starter"})))

    assert [finding.level for finding in findings] == ["ok", "ok"]
    assert "starter" in findings[0].message
    assert "openvino in " in findings[1].message


def test_children_that_may_exceed_the_memory_of_the_machine_are_a_warning():
    findings = list(check_machine(Settings.from_environ({"FATHOM_CHILD_MEMORY_MB": "99999999"})))

    assert findings[-1].level == "warning"
    assert "FATHOM_CHILD_MEMORY_MB" in findings[-1].remedy


@pytest.mark.parametrize(("ahead", "level"), [(0, "ok"), (59, "ok"), (-61, "warning"), (901, "error")])
def test_clocks_may_differ_a_little(ahead: float, level: str):
    assert judge_clock("s3", "S3", ahead).level == level


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "ok"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "warning"),
        ({"OTEL_SDK_DISABLED": "true"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None),
    ],
)
def test_tracing_is_checked_if_it_is_turned_on(changes: dict[str, str], expected: str | None):
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:hunter2@127.0.0.1:4318", **changes}

    findings = list(check_tracing(environ))

    assert [finding.level for finding in findings] == ([expected] if expected else [])
    assert "hunter2" not in str(findings)


def test_without_the_packages_of_a_worker_the_network_is_not_checked(monkeypatch: pytest.MonkeyPatch):
    # The image of the API has no such package.
    monkeypatch.setitem(sys.modules, "worker.model.description", None)

    (finding,) = check_model(Settings.from_environ({"FATHOM_WEIGHTS": "/nowhere/weights.pt"}))

    assert (finding.level, finding.remedy) == ("ok", "")


def test_missing_packages_for_tracing_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "shared.observability.otlp", raising=False)

    (finding,) = check_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"})

    assert (finding.level, "pip install -e '.[tracing]'" in finding.message) == ("warning", True)
