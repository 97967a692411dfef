"""`POST /v1/depth`: one photo in, its depth out, while the client waits.

The photo is an urgent job of one image, which workers take before all batch work. The job and its objects
are removed once the answer has been sent. If the process dies before that, they expire as any job does.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from flask import Blueprint, Response, request
from werkzeug.exceptions import UnsupportedMediaType

from api.auth import authorize
from api.live.disconnect import client_disconnected
from api.live.long_poll import preferred_wait
from api.middleware.errors import InvalidRequest
from api.middleware.tracing import traceparent
from api.routes.responses import read_query
from api.schema import operation
from api.schema.operation import Answer, Body, Operation
from api.schema.request_models import DepthForm, DepthQuery, OnePhotoQuery
from api.services.backend import Backend, backend
from api.services.models import ChosenModel, choose_model
from api.submit.accept import discard, discard_on_failure, record, wake_workers
from api.submit.form import image_cap
from api.submit.multipart import CHUNK, FormFile, FormShape, boundary_of, parse_form
from api.submit.spool import Spool
from fathom.options import HeatmapFormat, Options, Output
from fathom.result_names import SIDECAR, output_files
from shared.errors import (
    DepthTimedOut,
    ImageEmpty,
    ImageError,
    ImageTooLarge,
    InternalImageError,
    InvalidOptions,
    InvalidTransition,
    JobNotFound,
    ModelUnavailable,
    NoImages,
    ObjectStoreDenied,
    QuotaExceeded,
    TooManyDepthRequests,
    Unavailable,
)
from shared.jobs import object_keys
from shared.jobs.job import Job, JobState, Source, new_job_id
from shared.jobs.manifest import ManifestWriter
from shared.jobs.record import new_job

logger = logging.getLogger(__name__)

blueprint = Blueprint("depth", __name__)

#: Seconds between two looks at the job: at first, and at most.
_FIRST_LOOK, _LONGEST_LOOK = 0.02, 0.1
#: Seconds that a canceled job gets to end before it is deleted anyway.
_PATIENCE = 60.0


#: Failures of images as errors of a request.
_FAILURES = {kind.code: kind for kind in ImageError.__subclasses__()}


@blueprint.post("/v1/depth")
@Operation(
    tag="One photo",
    answers=(
        Answer(
            status=200,
            description="The output asked for.",
            media=object_keys.MEDIA_TYPES,
            headers=(
                operation.DISPOSITION,
                operation.PREFERENCE_APPLIED,
                operation.DEPTH_MIN,
                operation.DEPTH_MAX,
            ),
        ),
    ),
    problems=(
        *(
            InvalidRequest,
            InvalidOptions,
            ModelUnavailable,
            NoImages,
            QuotaExceeded,
            TooManyDepthRequests,
            DepthTimedOut,
        ),
        *(ModelUnavailable, ImageError, 413, 415),
    ),
    query=DepthQuery,
    headers=(operation.PREFER, operation.ACCEPT),
    bodies=(
        Body(media="image/*"),
        Body(media="application/octet-stream"),
        Body(media="multipart/form-data", model=DepthForm, files={"image": "The photo; exactly one."}),
    ),
)
def depth() -> Response:
    """Answer with the depth of one photo, ahead of all jobs.

    `Prefer: wait=N` shortens the time limit. A photo that cannot be processed is answered with 422
    and the code of its failure. Nothing of the photo is kept.
    """
    query = read_query(DepthQuery)
    parts = backend()
    chosen = choose_model(parts, _options(query))
    longest = parts.settings.depth_seconds
    preferred = preferred_wait(longest)
    with _slot(parts):
        spool = _receive(parts)
        try:
            job = _submit(parts, spool, chosen)
        finally:
            spool.close()
        response = _answer(parts, job, query.output, longest if preferred is None else preferred)
    if preferred is not None:
        response.headers["Preference-Applied"] = f"wait={preferred:.0f}"
    return response


@contextmanager
def _slot(parts: Backend) -> Iterator[None]:
    """Take one of the few slots for requests that wait. Raises TooManyDepthRequests."""
    if not parts.depth_slots.acquire(blocking=False):
        raise TooManyDepthRequests(retry_after=1)
    try:
        yield
    finally:
        parts.depth_slots.release()


def _options(query: OnePhotoQuery) -> Options:
    """Return the options that a query asks for. Raises InvalidOptions, also if they give several files."""
    options = query.options(_accepted_format())
    files = [name for name, file in output_files(options).items() if file != SIDECAR]
    if files != [query.output]:
        raise InvalidOptions(
            f"{query.output} with these options is {len(files)} files, {' and '.join(files)}, and this "
            "answer holds one; make a job for it, or choose other options."
        )
    return options


def _accepted_format() -> HeatmapFormat:
    best = request.accept_mimetypes.best_match(["image/png", "image/jpeg"], default="image/png")
    return HeatmapFormat.JPEG if best == "image/jpeg" else HeatmapFormat.PNG


# --- the photo ------------------------------------------------------------------------


def _receive(parts: Backend) -> Spool:
    """Receive the photo: the body, or the only file of a form."""
    if request.mimetype == "multipart/form-data":
        spool = _receive_form(parts)
    elif request.mimetype.startswith("image/") or request.mimetype in ("", "application/octet-stream"):
        spool = Spool(cap=image_cap(parts.settings))
        spool.fill(iter(lambda: request.stream.read(CHUNK), b""))
    else:
        raise UnsupportedMediaType("Post a photo as image/*, or in a form as the part 'image'.")
    if 0 < spool.size <= parts.settings.max_image_bytes:
        return spool
    spool.close()
    raise ImageTooLarge if spool.size else ImageEmpty


def _receive_form(parts: Backend) -> Spool:
    shape = FormShape(files={"image": image_cap(parts.settings)}, fields={})
    photos: list[Spool] = []
    try:
        for part in parse_form(request.stream.read, boundary_of(request.content_type), shape):
            if isinstance(part, FormFile):
                photos.append(part.spool)
            if len(photos) > 1:
                raise InvalidRequest("The form holds more than one part 'image'.")
        if not photos:
            raise NoImages
    except BaseException:
        for spool in photos:
            spool.close()
        raise
    return photos[0]


def _submit(parts: Backend, photo: Spool, chosen: ChosenModel) -> Job:
    job = new_job(
        new_job_id(),
        total=1,
        options=chosen.options,
        model_cost=chosen.cost,
        state=JobState.QUEUED,
        created_at=parts.jobs.now(),
        owner=authorize.owner(),
        bytes=photo.size,
        urgent=True,
        traceparent=traceparent(),
    )
    with discard_on_failure(parts, job.id), ManifestWriter() as manifest:
        parts.objects.put_stream(object_keys.input_image(job.id, 0), photo.rewound())
        manifest.add(Source(index=0, name="photo", size=photo.size))
        record(parts, job, manifest, authorize.quota())
    wake_workers(parts, job)
    return job


# --- the answer -----------------------------------------------------------------------


def _answer(parts: Backend, job: Job, output: Output, seconds: float) -> Response:
    """Answer with an output of the job once it exists. Afterwards the job is removed in any case."""
    try:
        _wait(parts, job.id, seconds)
        response = _send(parts, job, output)
    except BaseException:
        _remove_later(parts, job.id)
        raise
    response.call_on_close(lambda: _remove_later(parts, job.id))
    return response


def _wait(parts: Backend, job_id: str, seconds: float) -> None:
    """Wait for the job's only image. Raises DepthTimedOut, or the ImageError that it failed with."""
    deadline, pause = time.monotonic() + seconds, _FIRST_LOOK
    while parts.jobs.get(job_id).counts.pending:
        if time.monotonic() + pause > deadline or parts.watcher.is_stopping or client_disconnected():
            raise DepthTimedOut
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_LOOK)
    failure = parts.jobs.images(job_id, limit=1).items[0].failure
    if failure is not None:
        raise _FAILURES.get(failure.code, InternalImageError)(failure.message)


def _send(parts: Backend, job: Job, output: Output) -> Response:
    file = output_files(job.options)[output]
    data = parts.objects.get(object_keys.output(job.id, 0, file))
    response = Response(data, content_type=object_keys.content_type(file))
    # The object store has a comparison under its old name.
    name = "comparison.jpg" if output is Output.COMPARISON else file
    response.headers["Content-Disposition"] = f'inline; filename="{name}"'
    sidecar = json.loads(parts.objects.get(object_keys.output(job.id, 0, SIDECAR)))
    response.headers["Depth-Min"], response.headers["Depth-Max"] = str(sidecar["min"]), str(sidecar["max"])
    return response


# --- leaving nothing behind -----------------------------------------------------------


def _remove_later(parts: Backend, job_id: str) -> None:
    parts.cleaners.submit(remove, parts, job_id)


def remove(parts: Backend, job_id: str) -> None:
    """Cancel a job, and delete it once no worker writes for it any more."""
    try:
        _end(parts, job_id)
        discard(parts, job_id)
    except (Unavailable, ObjectStoreDenied) as exc:
        logger.warning(
            "A photo is left to expiry: %s", exc.message, extra={"action": "discard_job", "job": job_id}
        )


def _end(parts: Backend, job_id: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    try:
        # A job that has ended cannot be canceled, and need not be.
        with suppress(InvalidTransition):
            parts.controls.cancel(job_id)
        while not parts.jobs.get(job_id).state.ended:
            if parts.watcher.is_stopping or time.monotonic() > deadline:
                return
            time.sleep(_LONGEST_LOOK)
    except JobNotFound:
        return
