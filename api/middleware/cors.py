"""Refuse changes by pages of other origins, unless the settings name the origin."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, Response, abort, request

from api.services.backend import backend

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS = "GET, HEAD, POST, PUT, DELETE"
#: Headers that a page of a named origin may send, and headers that it may read.
_REQUEST_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, "
    "X-API-Key, X-Request-Id"
)
_RESPONSE_HEADERS = (
    "Content-Disposition, Depth-Max, Depth-Min, ETag, Idempotent-Replayed, Location, "
    "Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"
)
#: Seconds for which a browser may cache the permission.
_MAX_AGE = "600"


def register_cors(app: Flask) -> None:
    """Refuse changes by pages of foreign origins, and allow everything to pages of named origins."""
    app.before_request(refuse_foreign_pages)
    app.before_request(answer_preflight)
    app.after_request(allow_origin)


def refuse_foreign_pages() -> None:
    """Refuse changes that a page of another site requests through a visitor's browser.

    Without keys the API has no log-in, and a form post needs no CORS. Without this check, any web page
    could start or cancel jobs of a service on the visitor's own machine.
    """
    if request.method not in _SAFE_METHODS and _is_foreign() and _named_origin() is None:
        abort(403, "Requests from pages of other sites are refused.")


def answer_preflight() -> Response | None:
    """Answer a preflight request for a page of a named origin."""
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
    """Let a page of a named origin read the answer. Cookies are never allowed."""
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
    """Return whether the browser says that a page of another origin sent this request.

    Over plain HTTP to another machine, browsers send no Sec-Fetch-Site, but they do send Origin.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc.lower() != request.host.lower()
