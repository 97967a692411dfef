"""Traces: what the code knows of them. Only `shared.observability.otlp` knows OpenTelemetry.

They are off unless OpenTelemetry's own variables name a collector, and nothing of it is imported then.
A trace crosses processes as a `traceparent` (W3C Trace Context), a short text.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Protocol

from shared.errors import FathomError
from shared.observability.logs import log_context

logger = logging.getLogger(__name__)

#: What brings the packages that traces need.
EXTRA = "fathom-depth[tracing]"

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SPOKEN = "http/protobuf"

#: Version, trace, parent and flags. Later versions may go on behind a dash.
_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_LONGEST = 256
#: The flags that have a meaning: sampled, and that the trace's id is random.
_FLAGS = 0x03

Value = str | int | float | bool
Attributes = Mapping[str, Value]

_NOTHING: Mapping[str, str] = MappingProxyType({})


class SpanKind(StrEnum):
    """What a span is to whoever looks at a trace."""

    #: A request that was answered.
    SERVER = "server"
    #: Work that was asked for earlier, and waited.
    CONSUMER = "consumer"
    INTERNAL = "internal"


class Span(Protocol):
    """A piece of work in a trace. Times are nanoseconds since the epoch. Any thread may use it."""

    @property
    def traceparent(self) -> str | None:
        """What names it as a parent elsewhere; None outside of all traces."""

    @property
    def is_recorded(self) -> bool:
        """False if nobody will see it."""

    @property
    def log_fields(self) -> Mapping[str, str]:
        """What ties lines of the log to it."""

    def set(self, attributes: Attributes) -> None: ...

    def fail(self, code: str) -> None:
        """Mark it as failed, with the stable code of an error; messages may hold what is private."""

    def end(self, *, at: int | None = None) -> None: ...


class Tracer(Protocol):
    """Begins spans. Nothing it does waits for a network, or raises."""

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
        """Begin a span, now or `at` a time, below another one or what a traceparent names."""

    def stop(self) -> None:
        """Send what is left, if that takes no longer than a moment."""


@dataclass(frozen=True, kw_only=True)
class NoSpan:
    """A span that nobody will see; its trace goes on through it all the same."""

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
    """Have a span around the block, and its ids in the log; what is raised in the block fails it.

    Without a parent there is none: what nobody asked to be traced begins no trace of its own.
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
    """Return a traceparent in the words of version 00; None for what is none.

    By W3C Trace Context, section 3.2: whatever is not valid is ignored, as if there were none.
    """
    if not isinstance(text, str) or len(text) > _LONGEST:
        return None
    match = _TRACEPARENT.fullmatch(text)
    if match is None or (match[1] == "00" and match[5] is not None):
        return None
    return f"00-{match[2]}-{match[3]}-{int(match[4], 16) & _FLAGS:02x}"


# --- turning them on ------------------------------------------------------------------


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Return whether the environment names a collector, and does not switch traces off."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    return any(environ.get(name, "").strip() for name in ENDPOINTS)


def find_obstacle(environ: Mapping[str, str]) -> str | None:
    """Return, as a sentence, why no traces can be sent although they are wanted; None if they can.

    It imports what traces need.
    """
    protocol = next(filter(None, (environ.get(name, "").strip() for name in _PROTOCOLS)), _SPOKEN)
    if protocol != _SPOKEN:
        return f"Traces are sent by {_SPOKEN} alone, and OTEL_EXPORTER_OTLP_PROTOCOL asks for {protocol}."
    try:
        import shared.observability.otlp  # noqa: F401 (to see whether it can be)
    except ImportError:
        return f"Traces are wanted, and OpenTelemetry is not installed: pip install '{EXTRA}'."
    return None


def prepare_tracing(environ: Mapping[str, str] = os.environ) -> bool:
    """Import what traces need, if they are wanted, and return whether they can be sent.

    Called before a fork, it spares every child the time. The log says once what is in the way.
    """
    if not is_wanted(environ):
        return False
    obstacle = find_obstacle(environ)
    if obstacle is not None:
        _warn_once(obstacle)
    return obstacle is None


def make_tracer(service: str, environ: Mapping[str, str] = os.environ) -> Tracer:
    """Return a tracer for this process, which must not be forked any more, or OFF.

    `service` is its name in traces unless the environment gives another.
    """
    if not prepare_tracing(environ):
        return OFF
    from shared.observability.otlp import connect_tracer

    try:
        return connect_tracer(service)
    except Exception as exc:
        # Whatever is wrong with OpenTelemetry's settings, the service starts.
        logger.warning("Traces are off: %s", exc, extra=_ACTION)
        return OFF


@cache
def _warn_once(obstacle: str) -> None:
    logger.warning("No traces are sent. %s", obstacle, extra=_ACTION)


_ACTION = {"action": "start_tracing"}
