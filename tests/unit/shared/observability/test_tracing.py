from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from shared.errors import ImageCorrupt
from shared.observability.logs import JsonFormatter
from shared.observability.otlp import OtlpTracer, moderate
from shared.observability.tracing import (
    EXTRA,
    NO_SPAN,
    OFF,
    NoSpan,
    find_obstacle,
    is_wanted,
    make_tracer,
    read_traceparent,
    traced,
)
from tests.traces import PARENT, SAMPLED, TRACE, UNSAMPLED, TraceMemory, facts, id_of, parent_of, trace_of

ROOT = Path(__file__).parents[4]
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.fixture
def memory() -> TraceMemory:
    return TraceMemory()


# --- traceparents ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SAMPLED, SAMPLED),
        (UNSAMPLED, UNSAMPLED),
        (f"00-{TRACE}-{PARENT}-ff", f"00-{TRACE}-{PARENT}-03"),
        (f"01-{TRACE}-{PARENT}-01", SAMPLED),
        (f"cc-{TRACE}-{PARENT}-01-what-comes-later", SAMPLED),
    ],
)
def test_a_traceparent_is_read_in_the_words_of_its_first_version(text: str, expected: str):
    assert read_traceparent(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(None, 7, "", "x", SAMPLED.upper(), f" {SAMPLED}", f"{SAMPLED}\n", f"{SAMPLED},{SAMPLED}"),
        *(f"ff-{TRACE}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01"),
        *(f"00-{TRACE}-{PARENT}-01-more", f"00-{TRACE}-{PARENT}-1", f"00-{TRACE[:-1]}-{PARENT}-01"),
        *(f"cc-{TRACE}-{PARENT}-01x", f"cc-{TRACE}-{PARENT}-01-{'x' * 300}", SAMPLED.replace("4", "٤")),
    ],
)
def test_what_is_no_traceparent_is_ignored(text: object):
    assert read_traceparent(text) is None


# --- on and off -----------------------------------------------------------------------


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
def test_traces_are_wanted_where_a_collector_is_named(environ: dict[str, str], expected: bool):
    assert is_wanted(environ) is expected


def test_no_process_imports_opentelemetry_while_traces_are_off():
    modules = "api.app, api.server.gunicorn_conf, worker.app, worker.tasks, worker.parent.threads, fathom.doctor.run"
    program = f"""
import sys
# Where OpenTelemetry is installed, the Redis client imports what its own metrics would need.
import redis
before = set(sys.modules)
import {modules}
from shared.observability.tracing import OFF, make_tracer, prepare_tracing
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


def test_packages_that_are_missing_are_named_once_and_the_service_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "shared.observability.otlp", raising=False)

    assert make_tracer("fathom-api", ENDPOINT) is OFF
    assert make_tracer("fathom-api", ENDPOINT) is OFF
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "pip install -e '.[tracing]'" in record.getMessage()


def test_the_extra_that_is_named_is_one_that_there_is():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert any("opentelemetry" in package for package in project["optional-dependencies"][EXTRA])


def test_a_protocol_that_is_not_spoken_is_an_obstacle():
    assert find_obstacle(ENDPOINT) is None
    assert "grpc" in str(find_obstacle({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}))


def test_settings_that_opentelemetry_refuses_turn_traces_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")

    assert make_tracer("fathom-api", ENDPOINT) is OFF
    assert "Traces are off: max_queue_size" in caplog.text


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "fathom-test"),
        ({"OTEL_SERVICE_NAME": "albums"}, "albums"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=walks,deployment=test"}, "walks"),
    ],
)
def test_the_environment_may_name_the_service(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], expected: str
):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    memory = TraceMemory()
    memory.tracer.start("work").end()

    assert memory.one("work").resource.attributes["service.name"] == expected


# --- spans ----------------------------------------------------------------------------


def test_a_span_goes_on_in_the_trace_of_its_parent(memory: TraceMemory):
    outer = memory.tracer.start("outer", parent=SAMPLED)
    inner = memory.tracer.start("inner", parent=outer)
    distant = memory.tracer.start("distant", parent=inner.traceparent)
    for span in (distant, inner, outer):
        span.end()

    assert {trace_of(span) for span in memory.spans()} == {TRACE}
    assert parent_of(memory.one("outer")) == PARENT
    assert parent_of(memory.one("inner")) == id_of(memory.one("outer"))
    assert parent_of(memory.one("distant")) == id_of(memory.one("inner"))


@pytest.mark.parametrize("parent", [None, "nonsense", NO_SPAN])
def test_without_a_parent_a_trace_begins(memory: TraceMemory, parent: NoSpan | str | None):
    memory.tracer.start("work", parent=parent).end()

    assert memory.one("work").parent is None
    assert trace_of(memory.one("work")) != TRACE


def test_below_a_span_that_is_not_sampled_none_is(memory: TraceMemory):
    span = memory.tracer.start("outer", parent=UNSAMPLED)
    below = memory.tracer.start("inner", parent=span)
    below.end()
    span.end()

    assert (span.is_recorded, below.is_recorded, memory.spans()) == (False, False, ())
    assert str(below.traceparent).startswith(f"00-{TRACE}-")
    assert str(below.traceparent).endswith("-00")


def test_the_sampler_of_the_environment_decides_where_a_trace_begins(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    memory = TraceMemory()
    for parent in (None, UNSAMPLED, SAMPLED):
        memory.tracer.start("work", parent=parent).end()

    assert [parent_of(span) for span in memory.named("work")] == [PARENT]


def test_an_error_is_told_by_its_code_and_never_by_its_message(memory: TraceMemory):
    with (
        pytest.raises(ImageCorrupt),
        traced(memory.tracer, "decode", parent=SAMPLED, attributes={"fathom.image.index": 3}),
    ):
        raise ImageCorrupt("holiday.jpg is damaged")
    with pytest.raises(KeyError), traced(memory.tracer, "lookup", parent=SAMPLED):
        raise KeyError("holiday.jpg")

    decode, lookup = memory.one("decode"), memory.one("lookup")
    assert facts(decode) == {"fathom.image.index": 3, "error.type": "image_corrupt"}
    assert facts(lookup) == {"error.type": "KeyError"}
    assert not decode.status.is_ok
    assert "holiday" not in decode.to_json() + lookup.to_json()


def test_the_log_names_the_span_that_a_line_belongs_to(memory: TraceMemory):
    record = logging.makeLogRecord({"msg": "Hello."})
    with traced(memory.tracer, "work", parent=SAMPLED):
        line = json.loads(JsonFormatter().format(record))
    after = json.loads(JsonFormatter().format(record))

    assert (line["trace_id"], line["span_id"]) == (TRACE, id_of(memory.one("work")))
    assert "trace_id" not in after


def test_while_traces_are_off_there_is_nothing_to_see():
    with traced(OFF, "work", parent=SAMPLED) as span:
        line = json.loads(JsonFormatter().format(logging.makeLogRecord({"msg": "Hello."})))

    assert span is NO_SPAN
    assert (span.is_recorded, span.traceparent, dict(span.log_fields)) == (False, None, {})
    assert "trace_id" not in line


# --- a collector that is not there ----------------------------------------------------


class Hanging(SpanExporter):
    """A collector that never answers."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.over.wait()
        return SpanExportResult.FAILURE


@pytest.mark.timeout(60)
def test_a_collector_that_hangs_holds_up_neither_spans_nor_the_end():
    hanging = Hanging()
    tracer = OtlpTracer("fathom-test", BatchSpanProcessor(hanging, max_queue_size=8, max_export_batch_size=4))

    # Whoever waited for the collector would never come back.
    for number in range(1000):
        tracer.start(f"span {number}").end()
    tracer.stop()
    tracer.stop()
    hanging.over.set()


def test_of_many_complaints_one_is_passed_on(caplog: pytest.LogCaptureFixture):
    talkative = logging.getLogger("tests.talkative")
    moderate(talkative, seconds=60)
    for number in range(100):
        talkative.getChild("exporter").warning("Failed to export batch %s.", number)
    talkative.getChild("sdk").error("Queue full.")

    assert [record.getMessage() for record in caplog.records] == [
        "Traces may be lost: Failed to export batch 0."
    ]
    assert caplog.records[0].levelno == logging.WARNING
