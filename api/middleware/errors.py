"""Every error of the API, in one shape: `application/problem+json` (RFC 9457) with a stable `code`."""

from __future__ import annotations

import logging
import math
from typing import Any, Protocol, runtime_checkable

from flask import Flask, Response, request
from pydantic import ValidationError
from werkzeug.exceptions import ClientDisconnected, HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from api.middleware.request_log import request_id
from api.schema.response_models import FieldError, Problem
from shared.errors import (
    FathomError,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    ImageError,
    InvalidArchive,
    InvalidOptions,
    InvalidSource,
    InvalidTransition,
    InvalidWebhook,
    JobExpired,
    MissingScope,
    ModelUnavailable,
    NoImages,
    NotFound,
    ObjectStoreDenied,
    QuotaExceeded,
    RequestError,
    SizeMismatch,
    SizeMissing,
    SourcesOff,
    TooLarge,
    TooManyDepthRequests,
    Unauthenticated,
    Unavailable,
    UploadsMissing,
    WebhooksOff,
)

logger = logging.getLogger(__name__)

#: Seconds after which a client may try again while a store is away.
RETRY_AFTER = 5

#: Tells a client how to authenticate (RFC 6750).
_CHALLENGE = 'Bearer realm="fathom"'

#: The first matching class decides. An error that matches none is a fault of the server.
_STATUS: tuple[tuple[type[FathomError], int], ...] = (
    (Unauthenticated, 401),
    (MissingScope, 403),
    (NotFound, 404),
    (JobExpired, 410),
    (InvalidTransition, 409),
    (UploadsMissing, 409),
    (IdempotencyKeyInUse, 409),
    (TooLarge, 413),
    (InvalidOptions, 422),
    (InvalidArchive, 422),
    (InvalidSource, 422),
    (SourcesOff, 403),
    (InvalidWebhook, 422),
    (ModelUnavailable, 422),
    (WebhooksOff, 422),
    (NoImages, 422),
    (SizeMissing, 422),
    (SizeMismatch, 422),
    (IdempotencyKeyReused, 422),
    (ImageError, 422),
    (QuotaExceeded, 429),
    (TooManyDepthRequests, 429),
    (RequestError, 400),
    (Unavailable, 503),
    (ObjectStoreDenied, 503),
)

#: Statuses that mean "try again later".
_LATER = frozenset({429, 503})

_CODES = {
    400: "bad_request",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    411: "length_required",
    413: "too_large",
    414: "uri_too_long",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    429: "rate_limited",
}

_DETAILS = {
    404: "There is nothing at this address.",
    405: "This address does not support that method.",
    413: TooLarge.__doc__,
    429: "Too many requests came in too short a time. Retry-After says when to try again.",
}


@runtime_checkable
class HasMembers(Protocol):
    """An error that carries extension members for programs."""

    @property
    def members(self) -> dict[str, Any]: ...


class InvalidRequest(RequestError):
    """The request does not match the description of the API."""

    code = "invalid_request"

    def __init__(self, message: str | None = None, *, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(message or "; ".join(f"{e.field}: {e.message}" for e in errors))
        self._errors = errors

    @classmethod
    def from_validation(cls, exc: ValidationError) -> InvalidRequest:
        """Return an error that names the wrong fields, at most 20."""
        found = exc.errors(include_url=False, include_input=False, include_context=False)
        return cls(
            errors=tuple(
                FieldError(field=".".join(map(str, error["loc"])) or "body", message=error["msg"])
                for error in found[:20]
            )
        )

    @property
    def members(self) -> dict[str, Any]:
        if not self._errors:
            return {}
        return {"errors": [error.model_dump() for error in self._errors]}


class UploadInterrupted(RequestError):
    """The request's body ended early, stalled, or was not valid HTTP."""

    code = "upload_interrupted"


def register_error_handlers(app: Flask) -> None:
    """Answer every error with a problem: our own, the framework's and unforeseen ones."""
    app.register_error_handler(FathomError, answer_error)
    app.register_error_handler(HTTPException, answer_http_error)
    app.register_error_handler(Exception, answer_unforeseen)


def answer_error(exc: FathomError) -> Response:
    """Answer one of our own errors by its class. A fault of the server reveals no details."""
    status = status_of(type(exc))
    if status == 500:
        return answer_unforeseen(exc)
    members = exc.members if isinstance(exc, HasMembers) else {}
    response = problem(status, exc.code, exc.message, **members)
    if status == 401:
        response.headers["WWW-Authenticate"] = _CHALLENGE
    if status == 503:
        logger.warning(
            "Answered 503: %s",
            exc.message,
            extra={"action": "answer_error", "code": exc.code},
        )
    if exc.retry_after or status in _LATER:
        response.headers["Retry-After"] = str(math.ceil(exc.retry_after or RETRY_AFTER))
    return response


def status_of(kind: type[FathomError]) -> int:
    """Return the status for a class of our own errors."""
    return next((status for base, status in _STATUS if issubclass(kind, base)), 500)


def code_of(status: int) -> str:
    """Return the code for the framework's own error with a status."""
    return _CODES.get(status, "error")


def answer_http_error(exc: HTTPException) -> Response | HTTPException:
    """Answer an error of the framework, and keep its headers, such as Allow."""
    status = exc.code or 500
    if status < 400:
        return exc
    if isinstance(exc, ClientDisconnected):
        return answer_broken_body(exc)
    detail = _DETAILS.get(status) or exc.description or HTTP_STATUS_CODES[status]
    response = problem(status, code_of(status), detail)
    for name, value in exc.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def answer_broken_body(exc: Exception) -> Response:
    """Answer a request whose body arrived incomplete or was not valid HTTP."""
    return answer_error(UploadInterrupted())


def answer_unforeseen(exc: Exception) -> Response:
    """Answer an unforeseen error. The log gets the details, the client only the request's id."""
    logger.error(
        "A request failed unexpectedly.",
        exc_info=exc,
        extra={"action": "answer_error", "method": request.method, "path": request.path},
    )
    detail = "Something went wrong inside the server. Its log has the details, under the request's id."
    return problem(500, "internal_error", detail)


def problem(status: int, code: str, detail: str, **members: Any) -> Response:
    """Return a problem as a response; `members` are extension members (RFC 9457, section 3.2)."""
    body = Problem(
        type=f"urn:fathom:problem:{code}",
        title=HTTP_STATUS_CODES.get(status, "Error"),
        status=status,
        detail=detail,
        code=code,
        instance=request.path,
        request_id=request_id(),
        **members,
    )
    return Response(
        body.model_dump_json(exclude_none=True), status=status, content_type="application/problem+json"
    )
