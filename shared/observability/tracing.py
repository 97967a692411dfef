"""The port of traces. Only `shared.observability.otlp` knows OpenTelemetry.

A trace crosses processes as a `traceparent`, a short text (W3C Trace Context).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from shared.errors import FathomError
from shared.observability.logs import log_context

#: OpenTelemetry's variables that name a collector; the first one set holds.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

#: Version, trace, parent and flags. Later versions may continue after a dash.
_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_LONGEST = 256
#: The flags with a meaning: the trace is sampled, and its id is random.
_FLAGS = 0x03

Value = str | int | float | bool
Attributes = Mapping[str, Value]

_NOTHING: Mapping[str, str] = MappingProxyType({})


class SpanKind(StrEnum):
    """The kind of work that a span describes."""

    #: It answers a request.
    SERVER = "server"
    #: It does work that was queued earlier.
    CONSUMER = "consumer"
    INTERNAL = "internal"


class Span(Protocol):
    """One piece of work in a trace. Times are nanoseconds since the epoch. Any thread may use it."""

    @property
    def traceparent(self) -> str | None:
        """Names this span as a parent in other processes; None outside of all traces."""

    @property
    def is_recorded(self) -> bool:
        """Whether the span is recorded at all."""

    @property
    def log_fields(self) -> Mapping[str, str]:
        """Fields that tie log lines to this span."""

    def set(self, attributes: Attributes) -> None: ...

    def fail(self, code: str) -> None:
        """Mark it as failed, with an error's stable code; messages may hold private data."""

    def end(self, *, at: int | None = None) -> None: ...


class Tracer(Protocol):
    """Begins spans. It never waits for a network, and never raises."""

    @property
    def is_on(self) -> bool: ...

    def start(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: Span | str | None = None,
        attributes: Attributes | None = None,
        at: int | None = None,
    ) -> Span:
        """Begin a span, now or `at` a time, below another span or below a traceparent."""

    def stop(self) -> None:
        """Send the spans that are left, but wait only a moment."""


@dataclass(frozen=True, kw_only=True)
class NoSpan:
    """A span that is not recorded, but passes its trace on."""

    traceparent: str | None = None

    @property
    def is_recorded(self) -> bool:
        return False

    @property
    def log_fields(self) -> Mapping[str, str]:
        return _NOTHING

    def set(self, attributes: Attributes) -> None: ...

    def fail(self, code: str) -> None: ...

    def end(self, *, at: int | None = None) -> None: ...


NO_SPAN = NoSpan()


class NoTracer:
    """Traces are off."""

    is_on = False

    def start(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: Span | str | None = None,
        attributes: Attributes | None = None,
        at: int | None = None,
    ) -> Span:
        return NO_SPAN

    def stop(self) -> None: ...


OFF = NoTracer()


@contextmanager
def traced(
    tracer: Tracer, name: str, *, parent: Span | str | None, attributes: Attributes | None = None
) -> Iterator[Span]:
    """Put a span around the block and its ids in the log; an exception in the block fails the span.

    Without a parent there is no span, because work that is not part of a trace begins none.
    """
    span = NO_SPAN if parent is None else tracer.start(name, parent=parent, attributes=attributes)
    with log_context(**span.log_fields):
        try:
            yield span
        except BaseException as exc:
            span.fail(exc.code if isinstance(exc, FathomError) else type(exc).__name__)
            raise
        finally:
            span.end()


def read_traceparent(text: object) -> str | None:
    """Return a traceparent in the form of version 00; None for an invalid one.

    W3C Trace Context, section 3.2, says to ignore an invalid one.
    """
    if not isinstance(text, str) or len(text) > _LONGEST:
        return None
    match = _TRACEPARENT.fullmatch(text)
    if match is None or (match[1] == "00" and match[5] is not None):
        return None
    return f"00-{match[2]}-{match[3]}-{int(match[4], 16) & _FLAGS:02x}"
