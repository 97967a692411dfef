"""The web page: one document for all its addresses, and its modules, styles and sample photos.

Nothing comes from another server. The files are read once, at the first request. Their addresses contain
the hash of all files together, so browsers may keep them for ever and never mix modules of two versions.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, request

from api.auth import authorize
from api.schema.operation import Answer, Operation
from api.services.backend import backend
from fathom.options import PRESETS
from shared.objectstore.port import ObjectStore

blueprint = Blueprint("page", __name__)

_FOLDER = Path(__file__).parents[1] / "static"
_DOCUMENT = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
    ".png": "image/png",
}
_TEXTS = frozenset({".html", ".css", ".js", ".svg"})

_FOREVER = "public, max-age=31536000, immutable"
#: Browsers keep the file, but check it each time; the answer is then 304.
_CHECKED = "no-cache"

#: Where the document names the version, and where it lists its modules for the browser to fetch at once.
_VERSION_MARK = "{version}"
_MODULES_MARK = "<!-- modules -->"
#: Where the document says which outputs each preset stands for.
_PRESETS_MARK = "{presets}"


@dataclass(frozen=True, kw_only=True)
class Asset:
    """A file of the page, ready to be sent."""

    content_type: str
    body: bytes
    etag: str
    #: The compressed body; None where compression gains nothing.
    packed: bytes | None


@blueprint.get("/")
@blueprint.get("/jobs")
@blueprint.get("/jobs/<job_id>")
@blueprint.get("/jobs/<job_id>/photos/<int:index>")
@Operation(
    tag="Page",
    answers=(Answer(status=200, description="The page.", media=("text/html",)),),
    problems=(404,),
    needs_stores=False,
)
@authorize.public
def document(**_: object) -> Response:
    """Send the page. Its script decides by the address what to show."""
    response = _send(assets()[_DOCUMENT], _CHECKED)
    response.headers["Content-Security-Policy"] = policy(upload_origin(backend().objects))
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return response


@blueprint.get("/static/<version>/<path:name>")
@Operation(
    tag="Page",
    answers=(
        Answer(
            status=200,
            description="The file.",
            media=("text/css", "text/javascript", "image/svg+xml", "image/jpeg", "image/png"),
        ),
        Answer(status=304, description="The file has not changed."),
    ),
    problems=(404,),
    needs_stores=False,
)
@authorize.public
def asset(version: str, name: str) -> Response:
    """Send a file of the page. A browser does not keep one that it asks for by another version."""
    found = assets().get(name)
    if found is None or name == _DOCUMENT:
        abort(404)
    return _send(found, _FOREVER if version == page_version() else _CHECKED)


def policy(storage: str | None) -> str:
    """Return the Content-Security-Policy of the page.

    The page fetches pictures and clips from the API. `storage` is the origin that takes uploads, or None if
    the API does.
    """
    connect = "'self'" if storage is None else f"'self' {storage}"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self'; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    )


def upload_origin(objects: ObjectStore) -> str | None:
    """Return the origin that presigned uploads are sent to; None where they go through the API."""
    # Ask the store itself, because with some stores the bucket is part of the host.
    url = objects.presigned_put("origin")
    if url is None:
        return None
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@cache
def assets() -> Mapping[str, Asset]:
    """Return the files of the page by their paths below the folder, with `/`."""
    files = _read_files()
    head = files[_DOCUMENT].decode().replace(_MODULES_MARK, _preloads(files))
    head = head.replace(_PRESETS_MARK, html.escape(json.dumps(_preset_outputs())))
    files[_DOCUMENT] = head.replace(_VERSION_MARK, page_version()).encode()
    return {name: _asset(name, body) for name, body in files.items()}


@cache
def page_version() -> str:
    """Return the hash of all files of the page, in 16 hexadecimal digits."""
    together = hashlib.sha256()
    for name, body in sorted(_read_files().items()):
        together.update(f"{name}\0{len(body)}\0".encode() + body)
    return together.hexdigest()[:16]


def _read_files() -> dict[str, bytes]:
    paths = (path for path in _FOLDER.rglob("*") if path.suffix in _TYPES)
    return {path.relative_to(_FOLDER).as_posix(): path.read_bytes() for path in paths}


def _preset_outputs() -> dict[str, list[str]]:
    """Return the outputs of each preset by its name."""
    return {name: [*preset.options["outputs"]] for name, preset in PRESETS.items()}


def _preloads(files: Mapping[str, bytes]) -> str:
    """Return links that preload all modules, which would load one after the other by their imports."""
    modules = sorted(name for name in files if name.endswith(".js") and name != "boot.js")
    links = (f'<link rel="modulepreload" href="/static/{_VERSION_MARK}/{name}">' for name in modules)
    return "\n  ".join(links)


def _asset(name: str, body: bytes) -> Asset:
    suffix = Path(name).suffix
    return Asset(
        content_type=_TYPES[suffix],
        body=body,
        etag=hashlib.sha256(body).hexdigest()[:16],
        # Without a timestamp, every process sends the same bytes.
        packed=gzip.compress(body, mtime=0) if suffix in _TEXTS else None,
    )


def _send(found: Asset, caching: str) -> Response:
    packed = found.packed if request.accept_encodings["gzip"] > 0 else None
    response = Response(found.body if packed is None else packed, content_type=found.content_type)
    if packed is not None:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = caching
    # Two encodings are two representations, and each needs a tag of its own (RFC 9110, 8.8.3).
    response.set_etag(found.etag if packed is None else f"{found.etag}-gzip")
    response.make_conditional(request)
    return response
