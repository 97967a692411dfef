"""Give every request an id, a line in the log and security headers."""

from __future__ import annotations

import logging
import re
import secrets
import time
from contextlib import AbstractContextManager

from flask import Flask, Response, g, request

from shared.observability.logs import log_context

logger = logging.getLogger(__name__)

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_PROBES = frozenset({"/livez", "/readyz"})

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # No answer of the API is a page, so no browser may run what a file holds.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def register_context(app: Flask) -> None:
    """Bind the request's id to the log, log every request, set headers."""
    app.before_request(begin_request)
    app.after_request(finish_response)
    app.teardown_request(end_request)


def request_id() -> str:
    """Return the id of the current request."""
    return str(g.request_id)


def begin_request() -> None:
    """Take the client's request id if it is well-formed, or make one, and bind it to the log."""
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _ID.match(given) else secrets.token_hex(8)
    g.began = time.monotonic()
    g.log_context = log_context(request_id=g.request_id)
    g.log_context.__enter__()


def finish_response(response: Response) -> Response:
    """Set the headers of every answer, and log the request."""
    response.headers["X-Request-Id"] = request_id()
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    _log(response)
    return response


def end_request(exc: BaseException | None) -> None:
    """Unbind the request's id from the log."""
    bound: AbstractContextManager[None] | None = g.pop("log_context", None)
    if bound is not None:
        bound.__exit__(None, None, None)


def _log(response: Response) -> None:
    level = logging.DEBUG if request.path in _PROBES else logging.INFO
    seconds = time.monotonic() - g.began
    logger.log(
        level,
        "%s %s answered %s.",
        request.method,
        request.path,
        response.status_code,
        extra={"action": "http_request", "status": response.status_code, "seconds": round(seconds, 4)},
    )
