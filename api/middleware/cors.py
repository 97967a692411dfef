"""Pages of other origins: refused, unless their origin is one of those that the settings name."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, Response, abort, request

from api.services.backend import backend

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS = "GET, HEAD, POST, PUT, DELETE"
#: What a page may send, and what it may read, beyond what every page may.
_REQUEST_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, "
    "X-API-Key, X-Request-Id"
)
_RESPONSE_HEADERS = (
    "Content-Disposition, Depth-Max, Depth-Min, ETag, Idempotent-Replayed, Location, "
    "Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"
)
#: Seconds for which a browser may remember that it may.
_MAX_AGE = "600"


def register_cors(app: Flask) -> None:
    """Refuse changes that pages of foreign origins ask for; let those of named origins do all."""
    app.before_request(refuse_foreign_pages)
    app.before_request(answer_preflight)
    app.after_request(allow_origin)


def refuse_foreign_pages() -> None:
    """Refuse changes that another site's page sends through a visitor's browser.

    Without keys the API has no log-in, and a form post needs no CORS: without this, any web page
    could start or cancel jobs of a service on the visitor's own machine.
    """
    if request.method not in _SAFE_METHODS and _is_foreign() and _named_origin() is None:
        abort(403, "Requests from pages of other sites are refused.")


def answer_preflight() -> Response | None:
    """Answer a browser that asks whether a page of a named origin may."""
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    if _named_origin() is None:
        return None
    response = Response(status=204)
    response.headers["Access-Control-Allow-Methods"] = _METHODS
    response.headers["Access-Control-Allow-Headers"] = _REQUEST_HEADERS
    response.headers["Access-Control-Max-Age"] = _MAX_AGE
    return response


def allow_origin(response: Response) -> Response:
    """Let a page of a named origin read the answer. Cookies are never part of it."""
    if backend().settings.cors_origins:
        response.vary.add("Origin")
    origin = _named_origin()
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = _RESPONSE_HEADERS
    return response


def _named_origin() -> str | None:
    origin = request.headers.get("Origin")
    return origin if origin in backend().settings.cors_origins else None


def _is_foreign() -> bool:
    """Return whether a page of another origin began this request, as far as the browser says so.

    Over plain HTTP to another machine browsers do not send Sec-Fetch-Site; but Origin they do.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc.lower() != request.host.lower()
