"""Read queries, and make responses of domain objects."""

from __future__ import annotations

import math
from typing import TypeVar

from flask import Response, request, url_for
from pydantic import BaseModel, ValidationError

from api.middleware.errors import InvalidRequest
from api.results.images import NamedImage
from api.schema.job_view import job_out
from api.schema.response_models import FailureOut, ImageOut, JobOut, UploadOut
from api.services.job_watcher import job_tag
from api.submit.uploads import Upload
from fathom.result_names import output_files
from shared.jobs.job import ImageState, Job, JobState

Query = TypeVar("Query", bound=BaseModel)

#: Seconds after which to ask again: for a job that rests, and for one without an ETA.
_SELDOM, _SOON = 10, 2


def read_query(model: type[Query]) -> Query:
    """Validate the query of the current request.

    Raises InvalidRequest, which names every wrong, unknown or repeated parameter.
    """
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        raise InvalidRequest(f"Given more than once: {', '.join(repeated)}.")
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as exc:
        raise InvalidRequest.from_validation(exc) from exc


def json_response(body: BaseModel, status: int = 200, *, is_sparse: bool = False) -> Response:
    """Return a model as JSON; `is_sparse` leaves out fields that are None."""
    data = body.model_dump_json(exclude_none=is_sparse)
    return Response(data, status=status, content_type="application/json")


def accepted_response(body: JobOut) -> Response:
    """Return 202 with a job, its address, and the time to ask again."""
    response = json_response(body, 202)
    response.headers["Location"] = body.links["self"]
    return _paced(response, body.state, body.eta_seconds, is_gathered="start" not in body.links)


def poll_response(job: Job) -> Response:
    """Return a job, or 304 if the client knows this version, with the time to ask again."""
    tag = job_tag(job)
    is_known = request.if_none_match.contains_weak(tag)
    response = Response(status=304) if is_known else json_response(job_out(job))
    response.set_etag(tag, weak=True)
    # Browsers may keep the answer and revalidate it; `no-store` would forbid that.
    response.headers["Cache-Control"] = "private, no-cache"
    return _paced(response, job.state, job.eta_seconds, is_gathered=job.gathered)


def _paced(response: Response, state: JobState, eta_seconds: float | None, *, is_gathered: bool) -> Response:
    """Set Retry-After to 1 to 10 seconds, or leave it out once the job has ended."""
    if not state.ended:
        rests = state is JobState.PAUSED or (state is JobState.UPLOADING and not is_gathered)
        seconds = _SELDOM if rests else _SOON if eta_seconds is None else math.ceil(eta_seconds)
        response.headers["Retry-After"] = str(min(max(seconds, 1), _SELDOM))
    return response


def image_out(job: Job, image: NamedImage) -> ImageOut:
    """Return an image as clients see it. Only a succeeded image has outputs."""
    status = image.status
    outputs = output_files(job.options) if status.state is ImageState.SUCCEEDED else {}
    path = f"{url_for('jobs.show', job_id=job.id)}/images/{status.index}"
    return ImageOut(
        index=status.index,
        name=image.name,
        state=status.state,
        error=FailureOut.of(status.failure),
        outputs={name: f"{path}/{name}" for name in outputs},
    )


def upload_out(upload: Upload) -> UploadOut:
    source = upload.source
    return UploadOut(index=source.index, name=source.name, size=source.size, url=upload.url)
