"""`/openapi.json`, and `/docs`, which shows the same to people on one page without scripts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from flask import Blueprint, Response, current_app, render_template

from api.auth.authorize import public
from api.openapi.document import build_document
from api.schema.operation import Answer, Operation

blueprint = Blueprint("reference", __name__, template_folder="reference_page")

_NAME = "fathom-reference"
_STYLES = Path(__file__).with_name("reference_page") / "reference.css"
_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_METHODS = ("get", "post", "put", "delete")


@blueprint.get("/openapi.json")
@Operation(
    tag="Service",
    answers=(Answer(status=200, description="The document.", media=("application/json",)),),
    needs_stores=False,
)
@public
def document() -> Response:
    """Describe this API, as OpenAPI 3.1."""
    return _cached(Response(_described().document, content_type="application/json"))


@blueprint.get("/docs")
@Operation(
    tag="Service",
    answers=(Answer(status=200, description="A page.", media=("text/html",)),),
    needs_stores=False,
)
@public
def page() -> Response:
    """Show the description of this API to people."""
    response = Response(_described().page, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = _POLICY
    return _cached(response)


@blueprint.get("/docs/reference.css")
@Operation(
    tag="Service",
    answers=(Answer(status=200, description="Styles.", media=("text/css",)),),
    needs_stores=False,
)
@public
def styles() -> Response:
    """Send the styles of `/docs`."""
    return _cached(Response(_STYLES.read_bytes(), content_type="text/css; charset=utf-8"))


@dataclass(frozen=True, kw_only=True)
class Described:
    """The description of an app, made at the first request for it."""

    document: str
    page: str


def _described() -> Described:
    # Two requests at once may both make it; the results are the same.
    if _NAME not in current_app.extensions:
        document = build_document(current_app)
        current_app.extensions[_NAME] = Described(
            document=json.dumps(document, ensure_ascii=False), page=_render(document)
        )
    return cast(Described, current_app.extensions[_NAME])


def _render(document: dict[str, Any]) -> str:
    areas: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                entry = {"path": path, "method": method.upper(), **methods[method]}
                areas.setdefault(entry["tags"][0], []).append(entry)
    schemas = document["components"]["schemas"]
    return render_template(
        "reference.html",
        info=document["info"],
        areas=areas,
        schemas=schemas,
        as_type=describe_type,
        as_default=describe_default,
    )


def describe_type(schema: dict[str, Any]) -> str:
    """Summarise in a few words what a schema allows."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    for choice in ("anyOf", "allOf"):
        if choice in schema:
            return " | ".join(filter(None, map(describe_type, schema[choice])))
    if schema.get("type") == "array":
        return f"array of {describe_type(schema.get('items', {})) or 'anything'}"
    name = str(schema.get("format") or schema.get("type", ""))
    low, high = schema.get("minimum"), schema.get("maximum")
    return name if low is None or high is None else f"{name} from {_plain(low)} to {_plain(high)}"


def describe_default(schema: dict[str, Any]) -> str:
    """Return the default of a value or of a list as it is written in a query; empty if there is none."""
    default = schema.get("default")
    if isinstance(default, list):
        return ",".join(map(_plain, default))
    return "" if default is None or isinstance(default, dict) else _plain(default)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # JSON Schema does not tell 2 from 2.0.
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _cached(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-cache"
    return response
