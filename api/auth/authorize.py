"""Decide what a caller may do: the one gate before every handler.

For handlers:
- A route is closed unless its handler says otherwise: it needs the scope `read` for GET and HEAD,
  `submit` for all else. `@authorize.public` opens it to everybody, and `@authorize.needs(scope)` asks for a
  scope by name. Put them directly above the function.
- A handler with `<job_id>` runs only for a job that the caller may see: the gate looks the job up first, and
  answers 404 both for jobs of others and for unknown ones. `authorize.job(job_id)` returns that job. Always
  name the variable `job_id`; a test checks all routes.
- New jobs get `owner=authorize.owner()` and `quota=authorize.quota()`; lists take
  `owner=authorize.listed_owner()`. All else that is stored for callers, such as idempotency keys, is kept
  apart by `authorize.owner()`.

For the page:
- While no key was ever made there is nothing to do: `GET /v1/session` answers 200 with `"anonymous": true`.
  Once there are keys, it answers 401 (code `unauthenticated`, or `invalid_key`) to a request without one.
- Ask the user for the key, keep it (sessionStorage, or localStorage if the user wants), and send it with
  every fetch as `Authorization: Bearer fathom_...`. 401 means: ask again. 403 with code `missing_scope`
  means: this key may not do that. 429 carries `Retry-After`.
- A browser sends no such header for what it fetches by itself (img src, a href, EventSource). So, right
  after the user has entered the key, send `POST /v1/session` with the Bearer header. It answers 200 with
  `{"anonymous": false, "key_id": ..., "name": ..., "scopes": [...]}` and sets the cookie `fathom_session`
  for 8 hours. From then on GETs below /v1 from the page's own origin work without a header. Renew it at each
  start of the page, and when a picture or an EventSource fails with 401. `DELETE /v1/session` (204) ends it.
- The cookie is HttpOnly and SameSite=Strict. It only allows reading, because only GET and HEAD accept it, and
  no request that the browser attributes to another site (Sec-Fetch-Site) may use it. So no other page can
  change or see anything through it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar, cast

from flask import Response, current_app, g, request

from api.auth.authenticate import READING, Caller, Gate, gate_of
from api.services.backend import backend
from api.services.job_lookup import find_job
from shared.api_keys import ApiKey, Scope
from shared.errors import (
    FathomError,
    InvalidKey,
    JobNotFound,
    JobRecovering,
    MissingScope,
    ObjectNotFound,
)
from shared.jobs import object_keys
from shared.jobs.job import Job, Quota, is_job_id
from shared.jobs.record import decode_job

View = TypeVar("View", bound=Callable[..., object])

# --- for handlers -----------------------------------------------------------


def public(view: View) -> View:
    """Open a handler to everybody."""
    view.__dict__["fathom_public"] = True
    return view


def needs(scope: Scope) -> Callable[[View], View]:
    """Require a scope for a handler, instead of the one that its method implies."""

    def mark(view: View) -> View:
        view.__dict__["fathom_scope"] = scope
        return view

    return mark


def caller() -> Caller:
    """Return who sent the current request."""
    return cast(Caller, g.caller)


def owner() -> str:
    """Return the owner of jobs that the current request creates."""
    return caller().owner


def listed_owner() -> str | None:
    """Return the owner whose jobs the caller may list; None means everybody's."""
    return None if Scope.ADMIN in caller().scopes else owner()


def quota() -> Quota:
    """Return the quota for jobs that the current request creates."""
    key, settings = caller().key, backend().settings
    own_bound = None if key is None else key.max_images
    return Quota(
        images=settings.max_unfinished_images,
        owner_images=settings.max_owner_images if own_bound is None else own_bound,
        owner_bytes=None if key is None else key.max_bytes,
    )


def job(job_id: str) -> Job:
    """Return a job that the caller may see.

    Raises JobNotFound both for an unknown job and for one of another owner, so that nobody learns which.
    """
    found: Job | None = g.get("job")
    if found is None or found.id != job_id:
        found = find_job(backend(), job_id)
    if not _may_see(found.owner):
        raise JobNotFound
    return found


def end_streams_with_key(response: Response) -> Response:
    """Break a streamed answer off once the caller's key is revoked."""
    key = g.caller.key if g.get("caller") is not None else None
    if key is not None and response.is_streamed:
        pieces = cast(Iterable[bytes], response.response)
        response.response = _while_in_force(gate_of(current_app), key, pieces)
    return response


def may_find_remains(view: View) -> View:
    """Let a handler run for a job that only the object store still has, if the caller owned it."""
    view.__dict__["fathom_remains"] = True
    return view


# --- the gate ---------------------------------------------------------------


def identify() -> None:
    """Find out who the caller is. `admit` refuses later, when the request has been counted."""
    g.caller = g.refusal = None
    if is_open_route():
        return
    try:
        g.caller = gate_of(current_app).find_caller()
    except FathomError as exc:
        g.refusal = exc


def admit() -> None:
    """Refuse a caller who has no key, lacks the scope, or asks for a job of another owner."""
    if is_open_route():
        return
    if g.refusal is not None:
        raise g.refusal
    require(_needed_scope())
    job_id = (request.view_args or {}).get("job_id")
    if job_id is not None:
        _admit_to_job(job_id)


def is_open_route() -> bool:
    """Return whether the current request needs no caller: its route is public, or there is none."""
    return request.endpoint is None or request.method == "OPTIONS" or _mark("fathom_public") is not None


def require(scope: Scope) -> None:
    """Raise MissingScope unless the caller has a scope."""
    if scope not in caller().scopes:
        raise MissingScope(f"This API key lacks the scope {scope}.")


def _while_in_force(gate: Gate, key: ApiKey, pieces: Iterable[bytes]) -> Iterator[bytes]:
    try:
        for piece in pieces:
            if not gate.is_in_force(key):
                raise InvalidKey
            yield piece
    finally:
        if isinstance(pieces, Generator):
            pieces.close()


def _mark(name: str) -> object:
    return getattr(current_app.view_functions[str(request.endpoint)], name, None)


def _needed_scope() -> Scope:
    marked = _mark("fathom_scope")
    return cast(Scope, marked) if marked else Scope.READ if request.method in READING else Scope.SUBMIT


def _admit_to_job(job_id: str) -> None:
    try:
        g.job = job(job_id)
    except JobNotFound:
        if _mark("fathom_remains") is None or not is_job_id(job_id) or not _owned_what_is_left(job_id):
            raise
    except JobRecovering as exc:
        # Only its owner may learn that the job exists.
        if not _owned_what_is_left(job_id):
            raise JobNotFound from exc
        raise


def _owned_what_is_left(job_id: str) -> bool:
    """Return whether the caller may delete what is left of a job in the object store.

    An interrupted deletion has removed the job from the job store first. Without `job.json` its owner is
    unknown, so only a caller with the scope `admin` may.
    """
    if Scope.ADMIN in caller().scopes:
        return True
    try:
        left = decode_job(backend().objects.get(object_keys.job_record(job_id)))
    except (ObjectNotFound, KeyError, TypeError, ValueError):
        return False
    return _may_see(left.owner)


def _may_see(owner: str) -> bool:
    return Scope.ADMIN in caller().scopes or owner == caller().owner
