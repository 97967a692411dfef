from __future__ import annotations

import json
import logging

import pytest

from shared.errors import ImageCorrupt
from shared.observability.logs import JsonFormatter
from shared.observability.tracing import NO_SPAN, OFF, NoSpan, read_traceparent, traced
from tests.traces import PARENT, SAMPLED, TRACE, UNSAMPLED, InMemoryTraces, facts, id_of, parent_of, trace_of


@pytest.fixture
def memory() -> InMemoryTraces:
    return InMemoryTraces()


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
def test_a_traceparent_of_a_later_version_is_read_like_version_0(text: str, expected: str):
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
def test_an_invalid_traceparent_is_ignored(text: object):
    assert read_traceparent(text) is None


# --- spans ----------------------------------------------------------------------------


def test_a_span_continues_the_trace_of_its_parent(memory: InMemoryTraces):
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
def test_without_a_parent_a_trace_begins(memory: InMemoryTraces, parent: NoSpan | str | None):
    memory.tracer.start("work", parent=parent).end()

    assert memory.one("work").parent is None
    assert trace_of(memory.one("work")) != TRACE


def test_the_children_of_an_unsampled_span_are_not_sampled(memory: InMemoryTraces):
    span = memory.tracer.start("outer", parent=UNSAMPLED)
    below = memory.tracer.start("inner", parent=span)
    below.end()
    span.end()

    assert (span.is_recorded, below.is_recorded, memory.spans()) == (False, False, ())
    assert str(below.traceparent).startswith(f"00-{TRACE}-")
    assert str(below.traceparent).endswith("-00")


def test_the_sampler_of_the_environment_decides_about_new_traces(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    memory = InMemoryTraces()
    for parent in (None, UNSAMPLED, SAMPLED):
        memory.tracer.start("work", parent=parent).end()

    assert [parent_of(span) for span in memory.named("work")] == [PARENT]


def test_the_span_of_an_error_has_its_code_and_never_its_message(memory: InMemoryTraces):
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


def test_a_log_line_names_its_span(memory: InMemoryTraces):
    record = logging.makeLogRecord({"msg": "Hello."})
    with traced(memory.tracer, "work", parent=SAMPLED):
        line = json.loads(JsonFormatter().format(record))
    after = json.loads(JsonFormatter().format(record))

    assert (line["trace_id"], line["span_id"]) == (TRACE, id_of(memory.one("work")))
    assert "trace_id" not in after


def test_without_tracing_there_are_no_spans():
    with traced(OFF, "work", parent=SAMPLED) as span:
        line = json.loads(JsonFormatter().format(logging.makeLogRecord({"msg": "Hello."})))

    assert span is NO_SPAN
    assert (span.is_recorded, span.traceparent, dict(span.log_fields)) == (False, None, {})
    assert "trace_id" not in line
