"""`POST /v1/jobs`, and the uploads of an announced job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from threading import Lock

from flask import Blueprint, Response, request, url_for
from pydantic import ValidationError
from werkzeug.exceptions import UnsupportedMediaType

from api.auth import authorize
from api.live.long_poll import preferred_wait, wait_for_end
from api.middleware.errors import InvalidRequest
from api.routes.responses import accepted_response, json_response, read_query, upload_out
from api.schema import operation
from api.schema.job_view import job_out
from api.schema.operation import Answer, Body, Operation
from api.schema.request_models import (
    UPLOADS_PAGE,
    Announcement,
    EmptyQuery,
    JobRequest,
    Sourcing,
    UploadsQuery,
)
from api.schema.response_models import AcceptedJobOut, AnnouncedJobOut, JobOut, UploadsOut
from api.services.backend import backend
from api.services.job_lookup import find_job
from api.submit import accept, sources, uploads
from api.submit.accept import Accepted, Submitter
from api.submit.form import read_form
from api.submit.idempotency import Attempt, given_key
from api.submit.multipart import CHUNK, FormFile, FormPart
from api.submit.spool import Spool
from shared.errors import (
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    InvalidArchive,
    InvalidOptions,
    InvalidSource,
    InvalidTransition,
    InvalidWebhook,
    JobNotFound,
    JobRecovering,
    ModelUnavailable,
    NoImages,
    NotFound,
    QuotaExceeded,
    SizeMismatch,
    SizeMissing,
    SourcesOff,
    TooLarge,
    UploadsMissing,
    WebhooksOff,
)
from shared.jobs.job import Job, JobState

blueprint = Blueprint("submissions", __name__)

#: Enough for a million uploads with short names.
_MAX_JSON_BYTES = 96 * 2**20
#: Larger bodies are parsed one at a time: a million uploads take half a gigabyte for a while.
_LARGE = 4 * 2**20
_one_large = Lock()
#: States in which nothing happens until the client acts.
_WAITING_FOR_CLIENT = frozenset({JobState.UPLOADING, JobState.PAUSED})

#: Makes the body of the answer from the job as it is by then.
_MakeOut = Callable[[Job], JobOut]


@blueprint.post("/v1/jobs")
@Operation(
    tag="Submitting",
    answers=(
        Answer(
            status=202,
            description="The job is accepted: nothing of it can be lost any more.",
            models=(AnnouncedJobOut, AcceptedJobOut),
            headers=(
                operation.LOCATION,
                operation.RETRY_AFTER,
                operation.PREFERENCE_APPLIED,
                operation.REPLAYED,
            ),
        ),
    ),
    problems=(
        *(InvalidRequest, InvalidOptions, InvalidArchive, NoImages, TooLarge, QuotaExceeded, 413, 415),
        *(ModelUnavailable, SizeMissing, InvalidSource, SourcesOff, InvalidWebhook, WebhooksOff),
        *(IdempotencyKeyReused, IdempotencyKeyInUse, JobNotFound, JobRecovering),
    ),
    query=EmptyQuery,
    headers=(operation.IDEMPOTENCY_KEY, operation.PREFER),
    bodies=(
        Body(
            media="multipart/form-data",
            model=JobRequest,
            files={
                "images": "A photo; any number of them. The file name may hold folders and any script. "
                "`a/b.labels.png` is the label picture of `a/b.jpg`, for layers with masks.",
                "archive": "A ZIP of photos.",
            },
        ),
        Body(media="application/json", model=Announcement, others=(Sourcing,)),
    ),
)
def create() -> Response:
    """Accept a job: a form with photos, or JSON that announces them or says where they are.

    The API streams a form to the object store while it is being received. A worker expands the archives
    in it, and the job then starts by itself. Announced photos are uploaded one by one to the addresses in
    the answer, and then the client starts the job. Workers read sources from where they are.
    """
    read_query(EmptyQuery)
    parts = backend()
    take = {"multipart/form-data": _take_form, "application/json": _take_announcement}.get(request.mimetype)
    if take is None:
        raise UnsupportedMediaType("Post a job as multipart/form-data or as application/json.")
    attempt = Attempt(parts.idempotency, authorize.owner(), given_key())
    with attempt.begun(partial(accept.is_recorded, parts)):
        accepted, make_out = take(attempt)
    response = _wait_and_respond(accepted.job, make_out)
    if attempt.is_repeated:
        response.headers["Idempotent-Replayed"] = "true"
    return response


@blueprint.get("/v1/jobs/<job_id>/uploads")
@Operation(
    tag="Submitting",
    answers=(Answer(status=200, description="A page of uploads; it may be short.", models=(UploadsOut,)),),
    problems=(InvalidRequest, JobNotFound),
    query=UploadsQuery,
)
def list_uploads(job_id: str) -> Response:
    """List announced photos that are not stored yet, with fresh addresses."""
    query = read_query(UploadsQuery)
    page = uploads.list_missing(
        backend(), authorize.job(job_id), cursor=query.cursor, limit=query.limit, own_url=_own_url(job_id)
    )
    return json_response(UploadsOut(uploads=tuple(map(upload_out, page.items)), next_cursor=page.next_cursor))


@blueprint.put("/v1/jobs/<job_id>/uploads/<int:index>")
@Operation(
    tag="Submitting",
    answers=(Answer(status=204, description="The photo is stored."),),
    problems=(InvalidRequest, JobNotFound, NotFound, InvalidTransition, SizeMismatch, 413),
    bodies=(Body(media="application/octet-stream"),),
)
def put_upload(job_id: str, index: int) -> Response:
    """Store one announced photo. The body is the file, whatever its Content-Type."""
    uploads.store_upload(
        backend(), authorize.job(job_id), index, request.stream, length=request.content_length
    )
    return Response(status=204)


@blueprint.put("/v1/jobs/<job_id>/uploads/<int:index>/labels")
@Operation(
    tag="Submitting",
    answers=(Answer(status=204, description="The label picture is stored."),),
    problems=(InvalidRequest, JobNotFound, NotFound, InvalidTransition, TooLarge, 413),
    bodies=(Body(media="image/png"),),
)
def put_labels(job_id: str, index: int) -> Response:
    """Store the label picture of one announced photo, for layers with masks, before the job starts."""
    uploads.store_labels(backend(), authorize.job(job_id), index, request.stream)
    return Response(status=204)


@blueprint.post("/v1/jobs/<job_id>/start")
@Operation(
    tag="Submitting",
    answers=(
        Answer(
            status=202,
            description="The job is queued.",
            models=(JobOut,),
            headers=(operation.LOCATION, operation.RETRY_AFTER, operation.PREFERENCE_APPLIED),
        ),
    ),
    problems=(JobNotFound, InvalidTransition, UploadsMissing, QuotaExceeded),
    headers=(operation.PREFER,),
)
def start(job_id: str) -> Response:
    """Queue an announced job once all its photos are stored.

    The problem `uploads_missing` names the first hundred missing photos in `missing` and counts all of
    them in `missing_count`.
    """
    return _wait_and_respond(uploads.start(backend(), authorize.job(job_id)), job_out)


def _wait_and_respond(job: Job, make_out: _MakeOut) -> Response:
    """Answer 202, after the wait for the job's end that the client prefers, if any."""
    seconds = preferred_wait(backend().settings.max_wait_seconds)
    if seconds is None or (job.state in _WAITING_FOR_CLIENT and not job.gathered):
        return accepted_response(make_out(job))
    response = accepted_response(make_out(wait_for_end(backend(), job, seconds)))
    response.headers["Preference-Applied"] = f"wait={seconds:.0f}"
    return response


def _submitter() -> Submitter:
    return Submitter(owner=authorize.owner(), quota=authorize.quota())


# --- forms ----------------------------------------------------------------------------


def _take_form(attempt: Attempt) -> tuple[Accepted, _MakeOut]:
    parts = backend()
    form = read_form(request.stream, request.content_type, parts.settings, attempt)
    if attempt.is_repeated:
        _read_only(form)
        accepted = Accepted(job=attempt.job_before(partial(find_job, parts)))
    else:
        accepted = accept.submit_form(parts, form, _submitter(), attempt)
    return accepted, lambda job: _accepted_out(job, accepted.skipped)


def _read_only(form: Iterator[FormPart]) -> None:
    """Read a form to its end, only for its fingerprint."""
    for part in form:
        if isinstance(part, FormFile):
            part.spool.close()


def _accepted_out(job: Job, skipped: tuple[str, ...]) -> AcceptedJobOut:
    return AcceptedJobOut(**job_out(job).model_dump(), skipped=skipped)


# --- announcements --------------------------------------------------------------------


def _take_announcement(attempt: Attempt) -> tuple[Accepted, _MakeOut]:
    spool = Spool(cap=_MAX_JSON_BYTES)
    try:
        _receive(spool, attempt)
        with _one_large if spool.size > _LARGE else nullcontext():
            return _take_json(spool.rewound().read(), attempt)
    finally:
        spool.close()


def _receive(spool: Spool, attempt: Attempt) -> None:
    while piece := request.stream.read(CHUNK):
        attempt.renew()
        spool.write(piece)
        if spool.size > _MAX_JSON_BYTES:
            raise TooLarge(f"A JSON body holds at most {_MAX_JSON_BYTES} bytes.")


def _take_json(body: bytes, attempt: Attempt) -> tuple[Accepted, _MakeOut]:
    try:
        given = _read_json(body)
    except ValidationError as exc:
        raise InvalidRequest.from_validation(exc) from exc
    make_out = _announced_out if isinstance(given, Announcement) else job_out
    if attempt.has_key:
        attempt.fingerprint.add("json", given.model_dump_json())
    if attempt.is_repeated:
        return Accepted(job=attempt.job_before(partial(find_job, backend()))), make_out
    if isinstance(given, Announcement):
        return accept.announce(backend(), given, _submitter(), attempt), make_out
    return sources.submit_sources(backend(), given, _submitter(), attempt), make_out


def _read_json(body: bytes) -> Announcement | Sourcing:
    """Validate a body as what it is meant to be, so that the errors fit."""
    try:
        return Announcement.model_validate_json(body)
    except ValidationError as exc:
        if any(error["loc"] == ("sources",) for error in exc.errors(include_url=False, include_input=False)):
            return Sourcing.model_validate_json(body)
        raise


def _announced_out(job: Job) -> AnnouncedJobOut:
    page = uploads.first_uploads(backend(), job, limit=UPLOADS_PAGE, own_url=_own_url(job.id))
    return AnnouncedJobOut(
        **job_out(job).model_dump(),
        uploads=tuple(map(upload_out, page.items)),
        next_cursor=page.next_cursor,
    )


def _own_url(job_id: str) -> Callable[[int], str]:
    return lambda index: url_for("submissions.put_upload", job_id=job_id, index=index)
