"""The OpenAPI 3.1 document, made of what the routes and their handlers declare.

Nothing is written twice: addresses come from the routes, shapes from the models that validate, statuses and
codes from the classes of errors, scopes from the gate. A route whose handler declares nothing raises
Undocumented.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Flask
from werkzeug.routing import Rule

from api.auth.authenticate import WrongHost
from api.auth.cookie import NAME as COOKIE
from api.middleware.errors import UploadInterrupted, code_of, status_of
from api.openapi.json_schema import Models, Schema, of_media
from api.schema.operation import RETRY_AFTER, Answer, Body, Header, Operation, operation_of
from api.schema.response_models import JobOut, Problem
from fathom.options import Output
from fathom.result_names import SIDECAR
from shared.errors import (
    FathomError,
    InvalidKey,
    JobBusy,
    JobNotFound,
    JobRecovering,
    JobStoreFull,
    JobStoreUnavailable,
    MissingScope,
    ObjectStoreDenied,
    ObjectStoreUnavailable,
    Unauthenticated,
)

_METHODS = ("GET", "POST", "PUT", "DELETE")
_SAFE = frozenset({"GET"})
_PARAMETER = re.compile(r"<(?:[^:<>]+:)?([a-z_]+)>")

#: The schema of each variable in an address, by its name.
_IN_PATHS: dict[str, Schema] = {
    "job_id": {"type": "string", "pattern": "^[a-z2-7]{26}$"},
    "index": {"type": "integer", "minimum": 0},
    "output": {"type": "string", "enum": [*Output, SIDECAR.partition(".")[0]]},
    "version": {"type": "string", "minLength": 1},
    "name": {"type": "string", "minLength": 1},
}

_INFO = {
    "title": "Fathom",
    "version": "1",
    "summary": "Turns photo albums into depth maps.",
    "description": "A job is a set of photos with options. You submit it once, follow it, and fetch its "
    "results one by one or as a ZIP. Depth is relative inverse depth: bigger is nearer, without a unit. "
    "Every error is `application/problem+json` (RFC 9457) with a stable `code`.",
}

_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key: `fathom_...`."},
    "keyHeader": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "For GET only: for what a browser fetches by itself. `POST /v1/session` sets it.",
    },
}

_REQUEST_ID = Header(name="X-Request-Id", description="Finds the request in the server's log.")
_CHALLENGE = Header(name="WWW-Authenticate", description="How to authenticate (RFC 6750).")

#: Errors of all routes that need a caller, of all that change a job, and of all that need the stores.
_OF_THE_GATE = (Unauthenticated, InvalidKey, MissingScope, WrongHost, 429)
_OF_CHANGES = (JobNotFound, JobRecovering, JobBusy)
_OF_THE_STORES = (JobStoreUnavailable, JobStoreFull, ObjectStoreUnavailable, ObjectStoreDenied)


class Undocumented(Exception):
    """A route cannot be described."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """An address, a method, and the declaration of their handler."""

    rule: Rule
    method: str
    handler: Callable[..., Any]
    operation: Operation
    #: Unique: the endpoint, with a number if it has several addresses.
    id: str

    @property
    def path(self) -> str:
        return _PARAMETER.sub(r"{\1}", self.rule.rule)

    @property
    def is_public(self) -> bool:
        return getattr(self.handler, "fathom_public", None) is not None


def routes(app: Flask) -> Iterator[Route]:
    """Yield all routes of an app. Raises Undocumented for a handler that declares nothing."""
    seen: set[str] = set()
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        handler = app.view_functions[rule.endpoint]
        for method in _METHODS:
            if method not in (rule.methods or ()):
                continue
            operation = operation_of(handler)
            if operation is None:
                raise Undocumented(f"The handler of {method} {rule.rule} declares no Operation.")
            name = rule.endpoint if rule.endpoint not in seen else f"{rule.endpoint}.{len(seen)}"
            seen.add(name)
            yield Route(rule=rule, method=method, handler=handler, operation=operation, id=name)


def build_document(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI document of an app, as plain JSON values."""
    found = list(routes(app))
    models = Models(route.operation for route in found)
    builder = _Builder(models, found)
    paths: dict[str, dict[str, Any]] = {}
    for route in found:
        paths.setdefault(route.path, {})[route.method.lower()] = builder.describe(route)
    return {
        "openapi": "3.1.0",
        "info": _INFO,
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": models.components(), "securitySchemes": _SCHEMES},
    }


class _Builder:
    """Describes the routes of an app."""

    def __init__(self, models: Models, routes: Iterable[Route]) -> None:
        self._models = models
        #: What a client can do with a job that an answer holds.
        self._links = {
            route.id: {"operationId": route.id, "parameters": {"path.job_id": "$response.body#/id"}}
            for route in routes
            if set(route.rule.arguments) == {"job_id"} and not route.is_public
        }

    def describe(self, route: Route) -> dict[str, Any]:
        summary, _, description = inspect.cleandoc(route.handler.__doc__ or "").partition("\n")
        if not summary:
            raise Undocumented(f"The handler of {route.method} {route.path} has no docstring.")
        operation: dict[str, Any] = {
            "operationId": route.id,
            "tags": [route.operation.tag],
            "summary": summary.rstrip("."),
            "description": " ".join(description.split()),
            "parameters": list(self._parameters(route)),
            "responses": self._responses(route),
            "security": _security(route),
        }
        if route.operation.bodies:
            content = {body.media: self._body(body) for body in route.operation.bodies}
            operation["requestBody"] = {"required": True, "content": content}
        return operation

    # --- requests ---

    def _parameters(self, route: Route) -> Iterator[dict[str, Any]]:
        for name in sorted(route.rule.arguments):
            if name not in _IN_PATHS:
                raise Undocumented(f"The variable {name} in {route.path} has no schema.")
            yield {"name": name, "in": "path", "required": True, "schema": _IN_PATHS[name]}
        query = route.operation.query
        for name, schema, is_required in () if query is None else self._models.fields(query):
            yield {"name": name, "in": "query", "required": is_required, "schema": schema}
        for header in route.operation.headers:
            yield {"in": "header", "required": False, **_header(header), "name": header.name}

    def _body(self, body: Body) -> dict[str, Any]:
        if body.files or body.media == "multipart/form-data":
            return {"schema": self._models.form(body.model, body.files)}
        if body.model is None:
            return {"schema": of_media(body.media)}
        refs = [self._models.ref(model, "validation") for model in (body.model, *body.others)]
        return {"schema": {"anyOf": refs} if len(refs) > 1 else refs[0]}

    # --- answers ---

    def _responses(self, route: Route) -> dict[str, Any]:
        responses = {str(answer.status): self._answer(answer) for answer in route.operation.answers}
        for status, codes in _problems(route).items():
            responses[str(status)] = self._problem(status, sorted(codes))
        return dict(sorted(responses.items()))

    def _answer(self, answer: Answer) -> dict[str, Any]:
        response: dict[str, Any] = {
            "description": answer.description,
            "headers": _headers(answer.headers),
        }
        if answer.models:
            refs = [self._models.ref(model) for model in answer.models]
            response["content"] = {
                "application/json": {"schema": refs[0] if len(refs) == 1 else {"anyOf": refs}}
            }
            if all(issubclass(model, JobOut) for model in answer.models):
                response["links"] = self._links
        elif answer.media:
            response["content"] = {media: {"schema": of_media(media)} for media in answer.media}
        elif answer.events:
            response["content"] = {"text/event-stream": {"schema": self._models.event(answer.events)}}
        return response

    def _problem(self, status: int, codes: list[str]) -> dict[str, Any]:
        known = {"properties": {"code": {"enum": codes}, "status": {"const": status}}}
        schema = {"allOf": [self._models.ref(Problem), known]}
        extra = (_CHALLENGE,) if status == 401 else (RETRY_AFTER,) if status in (409, 429, 503) else ()
        return {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(f'`{code}`' for code in codes)}.",
            "headers": _headers(extra),
            "content": {"application/problem+json": {"schema": schema}},
        }


def _problems(route: Route) -> dict[int, set[str]]:
    """Return the codes that a route may refuse with, by status."""
    found: dict[int, set[str]] = {500: {"internal_error"}}
    for status, code in map(_status_and_code, _problem_kinds(route)):
        found.setdefault(status, set()).add(code)
    return found


def _problem_kinds(route: Route) -> Iterator[type[FathomError] | int]:
    for kind in route.operation.problems:
        yield kind
        # A base class stands for all of its subclasses.
        if not isinstance(kind, int):
            yield from kind.__subclasses__()
    if not route.is_public:
        yield from _OF_THE_GATE
    if "job_id" in route.rule.arguments and not route.is_public:
        yield from (JobNotFound, JobRecovering) if route.method in _SAFE else _OF_CHANGES
    if route.operation.needs_stores:
        yield from _OF_THE_STORES
    if route.operation.bodies:
        yield UploadInterrupted
        yield 413
    if route.method not in _SAFE:
        yield 403


def _status_and_code(kind: type[FathomError] | int) -> tuple[int, str]:
    return (kind, code_of(kind)) if isinstance(kind, int) else (status_of(kind), kind.code)


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.is_public:
        return []
    # The empty one stands for a service without keys, which is open.
    schemes = ["key", "keyHeader", *(["session"] if route.method in _SAFE else [])]
    return [*[{scheme: list[str]()} for scheme in schemes], {}]


def _headers(headers: Iterable[Header]) -> dict[str, Any]:
    return {header.name: _header(header) for header in (*headers, _REQUEST_ID)}


def _header(header: Header) -> dict[str, Any]:
    return {"description": header.description, "schema": dict(header.schema)}
