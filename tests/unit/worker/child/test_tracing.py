from __future__ import annotations

import json
import logging

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from fathom.options import Options
from shared.errors import ObjectStoreUnavailable
from shared.jobs import object_keys
from shared.jobs.job import JobState
from shared.observability.logs import JsonFormatter
from tests.finalizing import claim, finalize_claimed
from tests.traces import (
    PARENT,
    SAMPLED,
    TRACE,
    UNSAMPLED,
    InMemoryTraces,
    facts,
    id_of,
    parent_of,
    seconds_of,
    trace_of,
)
from tests.unit.worker.conftest import WorkerHarness
from worker.child.tracing import Traces
from worker.pipeline.stages import Stage

SECONDS = {Stage.DECODE: 0.02, Stage.INFER: 0.03, Stage.ENCODE: 0.01}


@pytest.fixture
def memory() -> InMemoryTraces:
    return InMemoryTraces()


@pytest.fixture
def traces(memory: InMemoryTraces) -> Traces:
    return Traces(
        memory.tracer,
        seconds=lambda: SECONDS,
        facts=lambda: {"fathom.engine": "openvino", "fathom.precision": "f32"},
    )


def by_index(spans: list[ReadableSpan]) -> dict[int, dict[str, object]]:
    return {facts(span)["fathom.image.index"]: dict(facts(span)) for span in spans}


def test_every_image_is_a_span_in_the_trace_of_its_submission(
    harness: WorkerHarness, memory: InMemoryTraces, traces: Traces
):
    job_id = harness.submit(b"one", b"three", traceparent=SAMPLED)

    harness.child(traces=traces).work(60)

    spans = memory.named("render image")
    assert {(span.kind, trace_of(span), parent_of(span)) for span in spans} == {
        (SpanKind.CONSUMER, TRACE, PARENT)
    }
    assert by_index(spans)[1] == {
        "fathom.job.id": job_id,
        "fathom.image.index": 1,
        "fathom.image.attempt": 1,
        "fathom.image.bytes": 5,
        "fathom.engine": "openvino",
        "fathom.precision": "f32",
        "fathom.outcome": "succeeded",
    }
    assert sorted(by_index(spans)) == [0, 1]


def test_the_stages_of_an_image_are_spans_below_its_own(
    harness: WorkerHarness, memory: InMemoryTraces, traces: Traces
):
    harness.submit(b"one", traceparent=SAMPLED)

    harness.child(traces=traces).work(60)

    assert set(memory.children_of(memory.one("render image"))) == {
        "fetch",
        "decode",
        "infer",
        "encode",
        "store",
    }
    assert [seconds_of(memory.one(stage)) for stage in SECONDS] == pytest.approx(list(SECONDS.values()))
    assert memory.one("infer").start_time == memory.one("decode").end_time


def test_the_span_of_a_bad_image_has_its_code(harness: WorkerHarness, memory: InMemoryTraces, traces: Traces):
    harness.submit(b"one", b"corrupt", traceparent=SAMPLED)

    harness.child(traces=traces).work(60)

    recorded = by_index(memory.named("render image"))
    assert (recorded[0]["fathom.outcome"], recorded[0].get("error.type")) == ("succeeded", None)
    assert (recorded[1]["fathom.outcome"], recorded[1]["error.type"]) == ("failed", "image_corrupt")
    assert recorded[1]["fathom.image.charged"] is False


def test_an_image_whose_file_is_gone_has_a_span_too(
    harness: WorkerHarness, memory: InMemoryTraces, traces: Traces
):
    job_id = harness.submit(b"one", traceparent=SAMPLED)
    harness.objects.delete(object_keys.input_image(job_id, 0))

    harness.child(traces=traces).work(60)

    span = memory.one("render image")
    assert facts(span)["error.type"] == "input_missing"
    assert facts(memory.one("fetch"))["error.type"] == "input_missing"
    assert memory.children_of(span) == ["fetch", "store"]


def test_every_attempt_at_an_image_has_its_own_span(
    harness: WorkerHarness, memory: InMemoryTraces, traces: Traces
):
    harness.submit(b"bug", traceparent=SAMPLED)

    for _ in range(10):
        harness.child(traces=traces).work(60)
        harness.clock.advance(60)

    recorded = [facts(span) for span in memory.named("render image")]
    assert [each["fathom.image.attempt"] for each in recorded] == [1, 2, 3]
    assert {(each["error.type"], each["fathom.image.charged"]) for each in recorded} == {
        ("internal_error", True)
    }


def test_both_passes_over_an_image_are_spans(harness: WorkerHarness, memory: InMemoryTraces, traces: Traces):
    harness.submit(b"one", options=Options.parse({"normalize": "job"}), traceparent=SAMPLED)

    harness.child(traces=traces).work(60)

    stages = {"fetch", "decode", "infer", "encode"}
    assert set(memory.children_of(memory.one("measure image"))) == stages
    assert set(memory.children_of(memory.one("render image"))) == stages | {"store"}


def test_images_that_do_not_end_have_an_interrupted_span(
    harness: WorkerHarness, memory: InMemoryTraces, traces: Traces
):
    harness.submit(*(b"picture %d" % n for n in range(6)), traceparent=SAMPLED)

    def leave(data: bytes) -> None:
        harness.draining = data == b"picture 1"

    harness.pipeline.before = leave
    harness.child(lease_images=6, traces=traces).work(60)

    recorded = by_index(memory.named("render image"))
    assert [recorded[index]["fathom.outcome"] for index in (0, 1)] == ["succeeded", "succeeded"]
    assert {recorded[index]["fathom.outcome"] for index in sorted(recorded)[2:]} == {"interrupted"}


def test_an_object_store_that_is_away_interrupts_and_fails_nothing(
    harness: WorkerHarness, memory: InMemoryTraces, traces: Traces
):
    harness.submit(b"one", traceparent=SAMPLED)
    harness.pipeline.before = lambda data: setattr(harness.objects, "away", True)

    with pytest.raises(ObjectStoreUnavailable):
        harness.child(patience=0.01, traces=traces).work(60)

    assert facts(memory.one("render image"))["fathom.outcome"] == "interrupted"
    assert facts(memory.one("store"))["error.type"] == ObjectStoreUnavailable.code


@pytest.mark.parametrize("traceparent", [None, UNSAMPLED])
def test_a_job_that_is_not_sampled_leaves_no_span(
    harness: WorkerHarness, memory: InMemoryTraces, traces: Traces, traceparent: str | None
):
    job_id = harness.submit(b"one", b"corrupt", traceparent=traceparent)

    harness.child(traces=traces).work(60)
    finalize_claimed(claim(harness.jobs, job_id), harness.jobs, harness.objects, tracer=memory.tracer)

    assert memory.spans() == ()
    assert harness.jobs.get(job_id).state is JobState.PARTIAL


def test_tracing_does_not_change_results(harness: WorkerHarness, traces: Traces):
    job_id = harness.submit(*(b"picture %d" % n for n in range(10)), traceparent=SAMPLED)

    harness.child(traces=traces).work(60)

    assert harness.jobs.get(job_id).counts.succeeded == 10
    assert harness.output(job_id, 9) == b"heat of picture 9"


def test_the_end_of_a_job_is_a_span(harness: WorkerHarness, memory: InMemoryTraces):
    job_id = harness.submit(b"one", traceparent=SAMPLED)
    harness.child().work(60)

    finalize_claimed(claim(harness.jobs, job_id), harness.jobs, harness.objects, tracer=memory.tracer)

    span = memory.one("finalize job")
    assert (trace_of(span), parent_of(span)) == (TRACE, PARENT)
    assert facts(span) == {"fathom.job.id": job_id, "fathom.job.state": "succeeded"}


def test_a_line_about_an_image_names_its_span(
    harness: WorkerHarness, memory: InMemoryTraces, traces: Traces, caplog: pytest.LogCaptureFixture
):
    lines: list[str] = []

    def note(record: logging.LogRecord) -> bool:
        lines.append(JsonFormatter().format(record))
        return True

    logging.getLogger("worker.child.lease_loop").addFilter(note)
    harness.submit(b"bug", traceparent=SAMPLED)

    harness.child(traces=traces).work(60)

    (line,) = map(json.loads, lines)
    assert line["message"] == "An image failed unexpectedly."
    assert (line["trace_id"], line["span_id"]) == (TRACE, id_of(memory.one("render image")))
