"""Between the domain and HTTP: queries in; addresses, JSON and models out."""

from __future__ import annotations

from typing import TypeVar

from flask import Response, request, url_for
from pydantic import BaseModel, ValidationError

from api.errors import InvalidRequest
from api.images import NamedImage
from api.schemas import FailureOut, ImageOut, JobOut, UploadOut
from api.uploads import Upload
from shared.jobs import ImageState, Job, JobState
from shared.layout import output_files

Query = TypeVar("Query", bound=BaseModel)
Out = TypeVar("Out", bound=JobOut)


def read_query(model: type[Query]) -> Query:
    """Validate the query of the present request.

    Raises InvalidRequest, which names every parameter that is wrong, unknown or repeated.
    """
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        raise InvalidRequest(f"Given more than once: {', '.join(repeated)}.")
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as exc:
        raise InvalidRequest.from_validation(exc) from exc


def json_reply(body: BaseModel, status: int = 200) -> Response:
    """Answer a model as JSON."""
    return Response(body.model_dump_json(), status=status, content_type="application/json")


def accepted_reply(body: JobOut) -> Response:
    """Answer 202 with the job's address."""
    response = json_reply(body, 202)
    response.headers["Location"] = body.links["self"]
    return response


def job_links(job: Job) -> dict[str, str]:
    """Return the addresses of a job and of what can be had of it; paths, without a host."""
    links = {
        "self": url_for("jobs.show", job_id=job.id),
        "images": url_for("jobs.images", job_id=job.id),
        "archive": url_for("results.archive", job_id=job.id),
        "cancel": url_for("jobs.cancel", job_id=job.id),
        "pause": url_for("jobs.pause", job_id=job.id),
        "resume": url_for("jobs.resume", job_id=job.id),
        "retry": url_for("jobs.retry", job_id=job.id),
    }
    if job.state is JobState.UPLOADING:
        links["uploads"] = url_for("submissions.list_uploads", job_id=job.id)
        links["start"] = url_for("submissions.start", job_id=job.id)
    return links


def job_out(job: Job) -> JobOut:
    return JobOut.of(job, job_links(job))


def image_out(job: Job, image: NamedImage) -> ImageOut:
    """Return an image as clients see it; only one that succeeded has outputs."""
    status = image.status
    outputs = output_files(job.options) if status.state is ImageState.SUCCEEDED else {}
    return ImageOut(
        index=status.index,
        name=image.name,
        state=status.state,
        error=status.failure and FailureOut(code=status.failure.code, message=status.failure.message),
        outputs={
            name: url_for("results.output", job_id=job.id, index=status.index, output=name)
            for name in outputs
        },
    )


def upload_out(upload: Upload) -> UploadOut:
    return UploadOut(index=upload.source.index, name=upload.source.name, url=upload.url)
