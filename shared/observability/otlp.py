"""Send traces with OpenTelemetry, over OTLP. This module is imported only if traces are wanted.

Spans wait in a bounded queue, from which a thread sends them in batches; a full queue drops them.
OpenTelemetry's own variables set the collector, the sampling and the sizes.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from requests import Session

from shared.net.loopback import is_loopback
from shared.observability.tracing import (
    ENDPOINTS,
    Attributes,
    NoSpan,
    Span,
    SpanKind,
    Tracer,
    read_traceparent,
)

logger = logging.getLogger(__name__)

#: A process that ends waits so many seconds for its last spans to be sent.
FAREWELL = 1.0
#: Seconds between two log lines about a collector that takes no spans.
QUIET = 300.0

_KINDS = {
    SpanKind.SERVER: trace.SpanKind.SERVER,
    SpanKind.CONSUMER: trace.SpanKind.CONSUMER,
    SpanKind.INTERNAL: trace.SpanKind.INTERNAL,
}


class OtlpSpan:
    """A recorded span."""

    is_recorded = True

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def context(self) -> Context:
        """The context that makes this span the parent of another in this process."""
        return trace.set_span_in_context(self._span, Context())

    @property
    def traceparent(self) -> str:
        return _to_traceparent(self._span.get_span_context())

    @property
    def log_fields(self) -> Mapping[str, str]:
        ids = self._span.get_span_context()
        return {"trace_id": trace.format_trace_id(ids.trace_id), "span_id": trace.format_span_id(ids.span_id)}

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def fail(self, code: str) -> None:
        self._span.set_attribute("error.type", code)
        self._span.set_status(trace.StatusCode.ERROR)

    def end(self, *, at: int | None = None) -> None:
        self._span.end(at)


class OtlpTracer:
    """A tracer on top of OpenTelemetry's; `processor` receives the spans that end."""

    is_on = True

    def __init__(self, service: str, processor: SpanProcessor) -> None:
        # The code that starts the tracer also stops it; an exit hook could wait for a collector that hangs.
        self._provider = TracerProvider(resource=_describe(service), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("fathom")
        self._is_stopped = False

    def start(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: Span | str | None = None,
        attributes: Attributes | None = None,
        at: int | None = None,
    ) -> Span:
        span = self._tracer.start_span(
            name, _to_context(parent), kind=_KINDS[kind], attributes=attributes, start_time=at
        )
        # A span that is not sampled can still be a parent; then its children are not sampled either.
        return (
            OtlpSpan(span)
            if span.is_recording()
            else NoSpan(traceparent=_to_traceparent(span.get_span_context()))
        )

    def stop(self) -> None:
        """Send the spans that are left. If the collector hangs, the sending thread ends with the process."""
        if self._is_stopped:
            return
        self._is_stopped = True
        last = threading.Thread(target=self._provider.shutdown, name="last-traces", daemon=True)
        last.start()
        last.join(FAREWELL)


def connect_tracer(service: str) -> Tracer:
    """Return a tracer that sends to the collector named in the environment; nothing is sent yet.

    Raises whatever OpenTelemetry raises for settings that it cannot use.
    """
    tracer = OtlpTracer(service, BatchSpanProcessor(connect_exporter()))
    moderate(logging.getLogger("opentelemetry"))
    return tracer


def connect_exporter(environ: Mapping[str, str] = os.environ) -> OTLPSpanExporter:
    """Return the exporter to the collector. It uses no proxy for a collector on this machine."""
    endpoint = next(filter(None, (environ.get(name, "").strip() for name in ENDPOINTS)), "")
    if not is_loopback(endpoint):
        return OTLPSpanExporter()
    session = Session()
    session.trust_env = False
    return OTLPSpanExporter(session=session)


class _RateLimitedHandler(logging.Handler):
    """Passes on at most one line in a while, and drops the others."""

    def __init__(self, seconds: float) -> None:
        super().__init__(logging.WARNING)
        self._seconds = seconds
        self._silent_until = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + self._seconds
            logger.warning("Traces may be lost: %s", record.getMessage(), extra={"action": "send_traces"})


def moderate(talkative: logging.Logger, *, seconds: float = QUIET) -> None:
    """Let a logger, and those below it, write only one line in a while.

    OpenTelemetry complains about every batch and every span that it loses.
    """
    talkative.handlers[:] = [_RateLimitedHandler(seconds)]
    talkative.propagate = False


def _describe(service: str) -> Resource:
    """Return the description of this process; what the environment says comes first."""
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return resource.merge(Resource({SERVICE_NAME: service}))
    return resource


def _to_context(parent: Span | str | None) -> Context:
    if isinstance(parent, OtlpSpan):
        return parent.context
    text = read_traceparent(parent if isinstance(parent, str) or parent is None else parent.traceparent)
    if text is None:
        # The context is empty, so that a span has no other parent than the one it is given.
        return Context()
    _, trace_id, span_id, flags = text.split("-")
    ids = trace.SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=trace.TraceFlags(int(flags, 16))
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(ids), Context())


def _to_traceparent(ids: trace.SpanContext) -> str:
    trace_id, span_id = trace.format_trace_id(ids.trace_id), trace.format_span_id(ids.span_id)
    return f"00-{trace_id}-{span_id}-{ids.trace_flags & 0x03:02x}"
