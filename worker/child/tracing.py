"""Spans of a child's work: one for each image, from its fetch to its end, with its stages below it.

They belong to the trace of the request that submitted the job. A job without a trace is not traced.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol, Self

from shared.jobs.job import ImageFailure, Lease
from shared.observability.logs import log_context
from shared.observability.tracing import Attributes, Span, SpanKind, Tracer, traced
from worker.child.timing import FETCH, STORE
from worker.pipeline.stages import Stage

#: Fetches an image, by job and index.
Fetch = Callable[[str, int], bytes]


class LeaseTrace(Protocol):
    """Traces the images of a lease. On exit, images that have not ended count as interrupted."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def fetching(self, fetch: Fetch) -> Fetch:
        """Return a fetch that also begins the span of each image."""

    def processing(self, index: int, size: int) -> AbstractContextManager[None]:
        """Surround the pipeline's work on an image of so many bytes."""

    def storing(self, index: int) -> AbstractContextManager[object]:
        """Surround the writing of an image's results."""

    def end(self, index: int, failure: ImageFailure | None, *, charged: bool) -> None:
        """End the span of an image; `charged` says that an attempt was charged."""


class Traces:
    """Makes the spans of one child's work."""

    def __init__(
        self,
        tracer: Tracer,
        *,
        seconds: Callable[[], Mapping[Stage, float]],
        facts: Callable[[], Attributes],
    ) -> None:
        """`seconds` returns how long each stage of the latest image took, `facts` what made its depth."""
        self._tracer = tracer
        self._seconds = seconds
        self._facts = facts

    def follow(self, lease: Lease) -> LeaseTrace:
        """Return the trace of a lease."""
        if not self._tracer.is_on or lease.traceparent is None:
            return _UNTRACED
        return _TracedLease(self._tracer, lease, self._seconds, self._facts)


class _Untraced:
    """Makes no spans."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None: ...

    def fetching(self, fetch: Fetch) -> Fetch:
        return fetch

    def processing(self, index: int, size: int) -> AbstractContextManager[None]:
        return nullcontext()

    def storing(self, index: int) -> AbstractContextManager[object]:
        return nullcontext()

    def end(self, index: int, failure: ImageFailure | None, *, charged: bool) -> None: ...


_UNTRACED = _Untraced()


class _TracedLease:
    """Holds the spans of images that have begun. Fetching and storing run in other threads."""

    def __init__(
        self,
        tracer: Tracer,
        lease: Lease,
        seconds: Callable[[], Mapping[Stage, float]],
        facts: Callable[[], Attributes],
    ) -> None:
        self._tracer = tracer
        self._lease = lease
        self._seconds = seconds
        self._facts = facts
        self._attempts = dict(zip(lease.indices, lease.attempts, strict=False))
        #: The recorded spans; none if the job is not sampled.
        self._spans: dict[int, Span] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        while self._spans:
            _, span = self._spans.popitem()
            span.set({"fathom.outcome": "interrupted"})
            span.end()

    def fetching(self, fetch: Fetch) -> Fetch:
        def fetch_traced(job_id: str, index: int) -> bytes:
            self._begin(index)
            with self._stage(index, FETCH):
                return fetch(job_id, index)

        return fetch_traced

    @contextmanager
    def processing(self, index: int, size: int) -> Iterator[None]:
        span = self._spans.get(index)
        if span is None:
            yield
            return
        span.set({"fathom.image.bytes": size})
        began = time.time_ns()
        with log_context(**span.log_fields):
            try:
                yield
            finally:
                self._add_stages(span, began)

    def storing(self, index: int) -> AbstractContextManager[object]:
        return self._stage(index, STORE)

    def end(self, index: int, failure: ImageFailure | None, *, charged: bool) -> None:
        span = self._spans.pop(index, None)
        if span is None:
            return
        span.set({"fathom.outcome": "failed" if failure else "succeeded"})
        if failure is not None:
            span.set({"fathom.image.charged": charged})
            span.fail(failure.code)
        span.end()

    def _begin(self, index: int) -> None:
        lease = self._lease
        span = self._tracer.start(
            f"{lease.phase} image",
            kind=SpanKind.CONSUMER,
            parent=lease.traceparent,
            attributes={
                "fathom.job.id": lease.job_id,
                "fathom.image.index": index,
                "fathom.image.attempt": self._attempts.get(index, 0) + 1,
                **self._facts(),
            },
        )
        if span.is_recorded:
            self._spans[index] = span

    def _stage(self, index: int, name: str) -> AbstractContextManager[object]:
        span = self._spans.get(index)
        return nullcontext() if span is None else traced(self._tracer, name, parent=span)

    def _add_stages(self, span: Span, at: int) -> None:
        """Add the pipeline's stages one after another: we know how long each took, but not when.

        Some of them alternate, strip by strip.
        """
        for name, seconds in self._seconds().items():
            stage = self._tracer.start(str(name), parent=span, at=at)
            at += round(seconds * 1_000_000_000)
            stage.end(at=at)
