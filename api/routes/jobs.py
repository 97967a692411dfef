"""List, show, follow, control and delete jobs."""

from __future__ import annotations

from contextlib import ExitStack

from flask import Blueprint, Response, request, stream_with_context

from api.auth import authorize
from api.live.long_poll import preferred_wait, wait_for_change, wait_for_end
from api.live.sse import Stream, has_ended_by
from api.middleware.errors import InvalidRequest
from api.results.images import list_images
from api.routes.responses import accepted_response, image_out, json_response, poll_response, read_query
from api.schema import operation
from api.schema.job_view import job_out
from api.schema.operation import Answer, Operation
from api.schema.request_models import EventsQuery, ImagesQuery, JobsQuery
from api.schema.response_models import ImageEventOut, ImagesOut, JobOut, JobsOut
from api.services.backend import backend
from api.services.job_watcher import job_tag
from api.submit.accept import wake_workers
from shared.errors import InvalidTransition, JobExpired, JobNotFound, TooManyStreams
from shared.jobs.job import Job, is_job_id

blueprint = Blueprint("jobs", __name__)

_CONTROLLED = Operation(
    tag="Steering",
    answers=(
        Answer(
            status=202,
            description="The job as it is now.",
            models=(JobOut,),
            headers=(operation.LOCATION, operation.RETRY_AFTER),
        ),
    ),
    problems=(JobNotFound, InvalidTransition),
)


@blueprint.get("/v1/jobs")
@Operation(
    tag="Watching",
    answers=(Answer(status=200, description="A page of jobs.", models=(JobsOut,)),),
    problems=(InvalidRequest, 400),
    query=JobsQuery,
)
def index() -> Response:
    """List jobs, the newest first."""
    query = read_query(JobsQuery)
    page = backend().jobs.list(owner=authorize.listed_owner(), cursor=query.cursor, limit=query.limit)
    # An urgent job belongs to a waiting `POST /v1/depth` and is removed with its answer.
    jobs = tuple(job_out(job) for job in page.items if not job.urgent)
    return json_response(JobsOut(jobs=jobs, next_cursor=page.next_cursor))


@blueprint.get("/v1/jobs/<job_id>")
@Operation(
    tag="Watching",
    answers=(
        Answer(
            status=200,
            description="The job.",
            models=(JobOut,),
            headers=(operation.ETAG, operation.RETRY_AFTER, operation.PREFERENCE_APPLIED),
        ),
        Answer(
            status=304,
            description="The job has not changed.",
            headers=(operation.ETAG, operation.RETRY_AFTER, operation.PREFERENCE_APPLIED),
        ),
    ),
    problems=(JobNotFound,),
    headers=(operation.PREFER, operation.IF_NONE_MATCH),
)
def show(job_id: str) -> Response:
    """Show a job, with counts, rate and remaining time.

    `Retry-After` says when to ask again. It is missing once the job has ended.
    """
    job = authorize.job(job_id)
    seconds = preferred_wait(backend().settings.max_wait_seconds)
    if seconds is None:
        return poll_response(job)
    response = poll_response(_wait(job, seconds))
    response.headers["Preference-Applied"] = f"wait={seconds:.0f}"
    return response


@blueprint.get("/v1/jobs/<job_id>/events")
@Operation(
    tag="Watching",
    answers=(
        Answer(
            status=200,
            description="`image`: `{index, state, name}`. `job`: the job, as `GET /v1/jobs/{job_id}` has it. "
            "`reset`: events were dropped, list the images again. `deleted`: the job is gone.",
            events={"image": ImageEventOut, "job": JobOut, "reset": None, "deleted": None},
        ),
        Answer(status=204, description="The job has ended, and the client has seen that: do not reconnect."),
    ),
    problems=(InvalidRequest, JobNotFound, TooManyStreams),
    query=EventsQuery,
    headers=(operation.LAST_EVENT_ID,),
)
def events(job_id: str) -> Response:
    """Follow a job by server-sent events until it has ended.

    Every event has an id. A client that reconnects with the last id, after a broken connection or a
    restart of the server, misses nothing.
    """
    query = read_query(EventsQuery)
    parts, job = backend(), authorize.job(job_id)
    after = request.headers.get("Last-Event-ID") or query.after
    if after is not None and has_ended_by(parts, job, after):
        return Response(status=204)
    with ExitStack() as stack:
        stream = Stream(parts, stack.enter_context(parts.watcher.watch(job_id)), after)
        response = Response(stream_with_context(stream.run()), content_type="text/event-stream")
        # The job is watched until the answer ends, even if the client breaks it off.
        response.call_on_close(stack.pop_all().close)
    # A proxy that buffers answers would hold the events back.
    response.headers["X-Accel-Buffering"] = "no"
    return response


@blueprint.get("/v1/jobs/<job_id>/images")
@Operation(
    tag="Watching",
    answers=(Answer(status=200, description="A page of images, by index.", models=(ImagesOut,)),),
    problems=(InvalidRequest, JobNotFound, JobExpired),
    query=ImagesQuery,
)
def images(job_id: str) -> Response:
    """List a job's images, or those in one state."""
    query = read_query(ImagesQuery)
    job = authorize.job(job_id)
    page = list_images(backend(), job, state=query.state, cursor=query.cursor, limit=query.limit)
    return json_response(
        ImagesOut(images=tuple(image_out(job, item) for item in page.items), next_cursor=page.next_cursor)
    )


@blueprint.post("/v1/jobs/<job_id>/cancel")
@_CONTROLLED
def cancel(job_id: str) -> Response:
    """Stop a job within one image; what is done stays."""
    return accepted_response(job_out(backend().controls.cancel(job_id)))


@blueprint.post("/v1/jobs/<job_id>/pause")
@_CONTROLLED
def pause(job_id: str) -> Response:
    """Pause a job within one image."""
    return accepted_response(job_out(backend().controls.pause(job_id)))


@blueprint.post("/v1/jobs/<job_id>/resume")
@_CONTROLLED
def resume(job_id: str) -> Response:
    """Continue a paused job."""
    parts = backend()
    job = parts.controls.resume(job_id)
    wake_workers(parts, job)
    return accepted_response(job_out(job))


@blueprint.post("/v1/jobs/<job_id>/retry")
@_CONTROLLED
def retry(job_id: str) -> Response:
    """Try the failed images of an ended job once more."""
    parts = backend()
    job = parts.controls.retry(job_id)
    wake_workers(parts, job)
    return accepted_response(job_out(job))


@blueprint.delete("/v1/jobs/<job_id>")
@Operation(
    tag="Steering",
    answers=(Answer(status=204, description="The job is gone, with its photos and results."),),
    problems=(JobNotFound,),
)
@authorize.may_find_remains
def delete(job_id: str) -> Response:
    """Delete a job with all its files. Repeat a deletion that was interrupted."""
    if not is_job_id(job_id):
        raise JobNotFound
    parts = backend()
    existed = parts.controls.delete(job_id)
    parts.chores.forget(job_id)
    if not existed:
        raise JobNotFound
    return Response(status=204)


def _wait(job: Job, seconds: float) -> Job:
    """Wait for the job's end, or, if the client names the version it knows, for any other version."""
    known = request.if_none_match
    if not known:
        return wait_for_end(backend(), job, seconds)
    return wait_for_change(backend(), job, seconds) if known.contains_weak(job_tag(job)) else job
