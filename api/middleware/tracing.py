"""A span for every request below `/v1/`, from its header to the last byte of its answer.

Probes, metrics, the page and its files have none. A span holds the route and the job's id, but no names,
queries or addresses.
"""

from __future__ import annotations

from functools import partial

from flask import Flask, Response, g, request

from api.middleware.request_log import request_id
from shared.jobs.job import Job, is_job_id
from shared.observability.logs import log_context
from shared.observability.tracing import Attributes, Span, SpanKind, Tracer, Value

_TRACED = "/v1/"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


def register_tracing(app: Flask, tracer: Tracer) -> None:
    """Trace requests, unless traces are off. Request ids must be bound before."""
    if tracer.is_on:
        app.before_request(partial(begin_span, tracer))
        app.after_request(hand_over_span)
        app.teardown_request(leave_span)


def begin_span(tracer: Tracer) -> None:
    """Begin the request's span, below the caller's span if the caller names one."""
    if not request.path.startswith(_TRACED):
        return
    method = request.method if request.method in _METHODS else "_OTHER"
    name = "HTTP" if method == "_OTHER" else method
    g.span = tracer.start(
        name if request.url_rule is None else f"{name} {request.url_rule.rule}",
        kind=SpanKind.SERVER,
        parent=request.headers.get("traceparent"),
        attributes=_describe(method),
    )
    g.span_log_context = log_context(**g.span.log_fields)
    g.span_log_context.__enter__()


def hand_over_span(response: Response) -> Response:
    """End the span with the answer, because an event stream or an archive may take long."""
    span: Span | None = g.pop("span", None)
    if span is not None:
        span.set({"http.response.status_code": response.status_code})
        if response.status_code >= 500:
            span.fail(str(response.status_code))
        response.call_on_close(span.end)
    return response


def leave_span(exc: BaseException | None) -> None:
    """Unbind the span from the log, and end it if no answer did."""
    bound = g.pop("span_log_context", None)
    if bound is not None:
        bound.__exit__(None, None, None)
    span: Span | None = g.pop("span", None)
    if span is not None:
        span.fail("unanswered" if exc is None else type(exc).__name__)
        span.end()


def traceparent() -> str | None:
    """Return the current request's `traceparent`, for work done on its behalf; None if it is not traced."""
    span: Span | None = g.get("span")
    return None if span is None else span.traceparent


def note_job(job: Job) -> None:
    """Add the new job to the current request's span."""
    span: Span | None = g.get("span")
    if span is not None:
        span.set({"fathom.job.id": job.id, "fathom.job.images": job.counts.total})


def _describe(method: str) -> Attributes:
    attributes: dict[str, Value] = {
        "http.request.method": method,
        "url.scheme": request.scheme,
        "fathom.request.id": request_id(),
    }
    if request.url_rule is not None:
        attributes["http.route"] = request.url_rule.rule
    job_id = (request.view_args or {}).get("job_id", "")
    if is_job_id(job_id):
        attributes["fathom.job.id"] = job_id
    return attributes
