"""`POST /v1/jobs` and the uploads of a job that was announced."""

from __future__ import annotations

from flask import Blueprint, Response, request, url_for
from pydantic import ValidationError
from werkzeug.exceptions import UnsupportedMediaType

from api import submission, uploads
from api.backend import backend
from api.errors import InvalidRequest
from api.multipart import boundary_of, read_form
from api.replies import accepted_reply, job_links, job_out, json_reply, read_query, upload_out
from api.schemas import (
    UPLOADS_PAGE,
    AcceptedJobOut,
    AnnouncedJobOut,
    Announcement,
    EmptyQuery,
    UploadsOut,
    UploadsQuery,
)
from shared.errors import TooLarge
from shared.jobs import Job, Page

blueprint = Blueprint("submissions", __name__)

#: 100,000 uploads with long names; what is longer holds no announcement.
_MAX_JSON_BYTES = 32 * 2**20


@blueprint.post("/v1/jobs")
def create() -> Response:
    """Accept a job: a form with photos, or JSON that announces them."""
    read_query(EmptyQuery)
    if request.mimetype == "multipart/form-data":
        return _create_from_form()
    if request.mimetype == "application/json":
        return _create_from_announcement()
    raise UnsupportedMediaType("A job is posted as multipart/form-data or as application/json.")


@blueprint.get("/v1/jobs/<job_id>/uploads")
def list_uploads(job_id: str) -> Response:
    """List announced photos not yet stored, with fresh addresses."""
    query = read_query(UploadsQuery)
    page = _missing(backend().jobs.get(job_id), cursor=query.cursor, limit=query.limit)
    return json_reply(UploadsOut(uploads=tuple(map(upload_out, page.items)), next_cursor=page.next_cursor))


@blueprint.put("/v1/jobs/<job_id>/uploads/<int:index>")
def put_upload(job_id: str, index: int) -> Response:
    """Store one announced photo; the body is the file."""
    parts = backend()
    uploads.store_upload(parts, parts.jobs.get(job_id), index, request.stream)
    return Response(status=204)


@blueprint.post("/v1/jobs/<job_id>/start")
def start(job_id: str) -> Response:
    """Queue an announced job once all its photos are stored."""
    parts = backend()
    return accepted_reply(job_out(uploads.start(parts, parts.jobs.get(job_id))))


def _create_from_form() -> Response:
    parts = backend()
    boundary = boundary_of(request.content_type)
    form = read_form(request.stream, boundary, submission.form_shape(parts.settings))
    accepted = submission.submit_form(parts, form)
    out = AcceptedJobOut.of(accepted.job, job_links(accepted.job))
    return accepted_reply(out.model_copy(update={"skipped": accepted.skipped}))


def _create_from_announcement() -> Response:
    body = request.stream.read(_MAX_JSON_BYTES + 1)
    if len(body) > _MAX_JSON_BYTES:
        raise TooLarge(f"A JSON body holds at most {_MAX_JSON_BYTES} bytes.")
    try:
        announcement = Announcement.model_validate_json(body)
    except ValidationError as exc:
        raise InvalidRequest.from_validation(exc) from exc
    job = submission.announce(backend(), announcement)
    page = _missing(job, cursor=0, limit=UPLOADS_PAGE)
    out = AnnouncedJobOut(
        **job_out(job).model_dump(),
        uploads=tuple(map(upload_out, page.items)),
        next_cursor=page.next_cursor,
    )
    return accepted_reply(out)


def _missing(job: Job, *, cursor: int, limit: int) -> Page[uploads.Upload]:
    return uploads.list_missing(
        backend(),
        job,
        cursor=cursor,
        limit=limit,
        own_url=lambda index: url_for("submissions.put_upload", job_id=job.id, index=index),
    )
