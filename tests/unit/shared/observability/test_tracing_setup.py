from __future__ import annotations

import logging
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from shared.observability.tracing import OFF
from shared.observability.tracing_setup import EXTRA, find_obstacle, is_wanted, make_tracer

ROOT = Path(__file__).parents[4]
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_SERVICE_NAME": "fathom"}, False),
    ],
)
def test_naming_a_collector_turns_tracing_on(environ: dict[str, str], expected: bool):
    assert is_wanted(environ) is expected


def test_without_tracing_no_process_imports_opentelemetry():
    modules = "api.app, api.server.gunicorn_conf, worker.app, worker.tasks, worker.parent.threads, fathom.doctor.run"
    program = f"""
import sys
# Where OpenTelemetry is installed, the Redis client imports what its own metrics would need.
import redis
before = set(sys.modules)
import {modules}
from shared.observability.tracing import OFF
from shared.observability.tracing_setup import make_tracer, prepare_tracing
endpoint = {{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}}
assert make_tracer("fathom-api") is OFF
assert make_tracer("fathom-api", endpoint | {{"OTEL_SDK_DISABLED": "true"}}) is OFF
assert not prepare_tracing()
new = sorted(set(sys.modules) - before)
assert "shared.observability.tracing" in new and "shared.observability.otlp" not in new
found = [name for name in new if name.startswith(("opentelemetry", "google.protobuf", "requests"))]
assert not found, found
"""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "FATHOM_"))}

    ended = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True)

    assert ended.returncode == 0, ended.stderr


def test_missing_packages_are_logged_once_and_the_service_runs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "shared.observability.otlp", raising=False)

    assert make_tracer("fathom-api", ENDPOINT) is OFF
    assert make_tracer("fathom-api", ENDPOINT) is OFF
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "pip install -e '.[tracing]'" in record.getMessage()


def test_the_named_extra_exists():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert any("opentelemetry" in package for package in project["optional-dependencies"][EXTRA])


def test_an_unsupported_protocol_is_an_obstacle():
    assert find_obstacle(ENDPOINT) is None
    assert "grpc" in str(find_obstacle({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}))


def test_invalid_opentelemetry_settings_turn_tracing_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")

    assert make_tracer("fathom-api", ENDPOINT) is OFF
    assert "Traces are off: max_queue_size" in caplog.text
