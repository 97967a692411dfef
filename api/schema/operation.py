"""What a handler promises, declared beside it. `/openapi.json` is made of these declarations.

A route whose handler declares nothing cannot be documented, and a test fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from shared.errors import FathomError

Handler = TypeVar("Handler", bound=Callable[..., Any])

#: The attribute that holds a handler's declaration. Wrappers made with functools.wraps keep it.
_NAME = "operation"


@dataclass(frozen=True, kw_only=True)
class Header:
    """A header of a request or of an answer; `schema` is JSON Schema."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer of a handler: JSON, a file in one of some media types, a stream, or no body."""

    status: int
    description: str
    #: Models of a JSON answer; it matches any one of them.
    models: tuple[type[BaseModel], ...] = ()
    #: Media types of an answer that is a file.
    media: tuple[str, ...] = ()
    #: Server-sent events by name, each with the model of its data; None is an empty object.
    events: Mapping[str, type[BaseModel] | None] = field(default_factory=dict)
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Body:
    """One kind of body that a handler takes."""

    media: str
    #: Validates the body, or the fields of a form.
    model: type[BaseModel] | None = None
    #: Other models; the body may match any of them instead.
    others: tuple[type[BaseModel], ...] = ()
    #: Parts of a form that are files, with their descriptions. All may be repeated.
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What a handler promises. Its docstring is the summary and the description.

    Put it directly below the route, as a decorator.
    """

    tag: str
    answers: tuple[Answer, ...]
    #: Errors that it answers with: our own classes, or statuses of the framework's errors.
    problems: tuple[type[FathomError] | int, ...] = ()
    query: type[BaseModel] | None = None
    headers: tuple[Header, ...] = ()
    bodies: tuple[Body, ...] = ()
    #: False if it needs no store, so that none can be away.
    needs_stores: bool = True

    def __call__(self, handler: Handler) -> Handler:
        """Attach the declaration to a handler."""
        setattr(handler, _NAME, self)
        return handler


def operation_of(handler: Callable[..., Any]) -> Operation | None:
    """Return a handler's declaration, or None."""
    return getattr(handler, _NAME, None)


# --- headers that several handlers share -----------------------------------------------

_SECONDS: Mapping[str, Any] = {"type": "integer", "minimum": 1}

LOCATION = Header(name="Location", description="The job's address.")
FILE_LOCATION = Header(name="Location", description="A presigned URL, which expires after a while.")
SET_COOKIE = Header(name="Set-Cookie", description="The session's cookie, for GET only.")
RETRY_AFTER = Header(
    name="Retry-After", description="Seconds after which asking again makes sense.", schema=_SECONDS
)
ETAG = Header(name="ETag", description="Changes when the job's state, counts or title change.")
REPLAYED = Header(
    name="Idempotent-Replayed", description="`true` if the Idempotency-Key already made this job."
)
PREFERENCE_APPLIED = Header(name="Preference-Applied", description="`wait=N` if the answer waited.")
DISPOSITION = Header(name="Content-Disposition", description="The file's name, after the photo's name.")
ACCEPT_RANGES = Header(name="Accept-Ranges", description="`bytes`: ranges of the file can be asked for.")
CONTENT_RANGE = Header(name="Content-Range", description="Which bytes are sent, and the file's size.")
RANGE = Header(name="Range", description="One range of bytes of the file (RFC 9110, 14.2).")

DEPTH_MIN = Header(
    name="Depth-Min",
    description="Least relative inverse depth, which is 0 in `depth16`.",
    schema={"type": "number"},
)
DEPTH_MAX = Header(
    name="Depth-Max",
    description="Greatest relative inverse depth, which is 65535 in `depth16`.",
    schema={"type": "number"},
)

ACCEPT = Header(name="Accept", description="`image/jpeg` asks for the heatmap as JPEG.")
PREFER = Header(
    name="Prefer",
    description="`wait=N`: answer once the job has ended, after N seconds at the latest (RFC 7240).",
)
IF_NONE_MATCH = Header(
    name="If-None-Match",
    description="An ETag: 304 as long as the job has not changed. With `Prefer: wait=N`, wait for a change.",
)
IDEMPOTENCY_KEY = Header(
    name="Idempotency-Key",
    description="Any name for this request, kept for 24 hours: sent again, it gives the same job.",
    schema={"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
)
LAST_EVENT_ID = Header(
    name="Last-Event-ID", description="The last event received; all later ones are sent again."
)
