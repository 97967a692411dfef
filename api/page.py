"""The web page at `/`, and its two files; nothing of it comes from elsewhere."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, abort

blueprint = Blueprint("page", __name__)

_FOLDER = Path(__file__).with_name("static")
_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}

# Pictures are asked for through the API itself, so that no other address need be allowed.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


@blueprint.get("/")
def index() -> Response:
    """Send the page."""
    return _send("index.html")


@blueprint.get("/static/<name>")
def static(name: str) -> Response:
    """Send a file of the page."""
    if name not in _TYPES:
        abort(404)
    return _send(name)


def _send(name: str) -> Response:
    response = Response((_FOLDER / name).read_bytes(), content_type=_TYPES[name])
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Cache-Control"] = "no-cache"
    return response
