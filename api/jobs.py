"""Jobs: listed, shown, controlled, deleted."""

from __future__ import annotations

from flask import Blueprint, Response

from api.backend import backend
from api.images import list_images
from api.replies import accepted_reply, image_out, job_out, json_reply, read_query
from api.schemas import ImagesOut, ImagesQuery, JobsOut, JobsQuery
from api.submission import discard, wake_workers
from shared.errors import JobNotFound
from shared.jobs import is_job_id

blueprint = Blueprint("jobs", __name__)


@blueprint.get("/v1/jobs")
def index() -> Response:
    """List jobs, the newest first."""
    query = read_query(JobsQuery)
    page = backend().jobs.list(cursor=query.cursor, limit=query.limit)
    return json_reply(JobsOut(jobs=tuple(map(job_out, page.items)), next_cursor=page.next_cursor))


@blueprint.get("/v1/jobs/<job_id>")
def show(job_id: str) -> Response:
    """Show a job, with counts, rate and remaining time."""
    return json_reply(job_out(backend().jobs.get(job_id)))


@blueprint.get("/v1/jobs/<job_id>/images")
def images(job_id: str) -> Response:
    """List a job's images, or those in one state."""
    query = read_query(ImagesQuery)
    parts = backend()
    job = parts.jobs.get(job_id)
    page = list_images(parts, job, state=query.state, cursor=query.cursor, limit=query.limit)
    return json_reply(
        ImagesOut(images=tuple(image_out(job, item) for item in page.items), next_cursor=page.next_cursor)
    )


@blueprint.post("/v1/jobs/<job_id>/cancel")
def cancel(job_id: str) -> Response:
    """Stop a job within one image; what is done stays."""
    return accepted_reply(job_out(backend().jobs.cancel(job_id)))


@blueprint.post("/v1/jobs/<job_id>/pause")
def pause(job_id: str) -> Response:
    """Hold a job within one image."""
    return accepted_reply(job_out(backend().jobs.pause(job_id)))


@blueprint.post("/v1/jobs/<job_id>/resume")
def resume(job_id: str) -> Response:
    """Let a held job go on."""
    parts = backend()
    job = parts.jobs.resume(job_id)
    wake_workers(parts, job)
    return accepted_reply(job_out(job))


@blueprint.post("/v1/jobs/<job_id>/retry")
def retry(job_id: str) -> Response:
    """Try the failed images of an ended job once more."""
    parts = backend()
    job = parts.jobs.retry(job_id)
    wake_workers(parts, job)
    return accepted_reply(job_out(job))


@blueprint.delete("/v1/jobs/<job_id>")
def delete(job_id: str) -> Response:
    """Delete a job with all its files; one that was cut short may be repeated."""
    if not is_job_id(job_id):
        raise JobNotFound
    parts = backend()
    known = _is_known(job_id)
    if discard(parts, job_id) == 0 and not known:
        raise JobNotFound
    return Response(status=204)


def _is_known(job_id: str) -> bool:
    try:
        backend().jobs.get(job_id)
    except JobNotFound:
        return False
    return True
