from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from shared.observability.otlp import OtlpTracer, moderate
from tests.traces import InMemoryTraces


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
    memory = InMemoryTraces()
    memory.tracer.start("work").end()

    assert memory.one("work").resource.attributes["service.name"] == expected


class Hanging(SpanExporter):
    """A collector that never responds."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.over.wait()
        return SpanExportResult.FAILURE


@pytest.mark.timeout(60)
def test_a_hanging_collector_delays_neither_spans_nor_the_exit():
    hanging = Hanging()
    tracer = OtlpTracer("fathom-test", BatchSpanProcessor(hanging, max_queue_size=8, max_export_batch_size=4))

    # If anything waited for the collector, this would never return.
    for number in range(1000):
        tracer.start(f"span {number}").end()
    tracer.stop()
    tracer.stop()
    hanging.over.set()


def test_repeated_export_errors_are_logged_once(caplog: pytest.LogCaptureFixture):
    talkative = logging.getLogger("tests.talkative")
    moderate(talkative, seconds=60)
    for number in range(100):
        talkative.getChild("exporter").warning("Failed to export batch %s.", number)
    talkative.getChild("sdk").error("Queue full.")

    assert [record.getMessage() for record in caplog.records] == [
        "Traces may be lost: Failed to export batch 0."
    ]
    assert caplog.records[0].levelno == logging.WARNING
