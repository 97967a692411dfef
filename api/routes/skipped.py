"""The files that came with a job and are not photos."""

from __future__ import annotations

from flask import Blueprint, Response

from api.auth import authorize
from api.routes.responses import json_response
from api.schema.operation import Answer, Operation
from api.schema.response_models import SkippedOut
from api.services.backend import backend
from fathom.photos.skipped import Skipped
from shared.errors import (
    JobNotFound,
    ObjectNotFound,
)
from shared.jobs import object_keys

blueprint = Blueprint("skipped", __name__)


@blueprint.get("/v1/jobs/<job_id>/skipped")
@Operation(
    tag="Jobs",
    answers=(Answer(status=200, description="Their number, and the first names.", models=(SkippedOut,)),),
    problems=(JobNotFound,),
)
def skipped(job_id: str) -> Response:
    """Name the files in a job's archives and below its prefixes that are not photos."""
    job = authorize.job(job_id)
    try:
        found = Skipped.from_json(backend().objects.get(object_keys.skipped(job.id)))
    except ObjectNotFound:
        found = Skipped()
    body = SkippedOut(
        count=found.count,
        videos=found.videos or None,
        sidecars=found.sidecars or None,
        names=tuple(found.names),
    )
    return json_response(body, is_sparse=True)
