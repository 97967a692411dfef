"""Results: single outputs, and all outputs of a job in one ZIP."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from flask import Blueprint, Response, redirect, request
from werkzeug.datastructures import ContentRange
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import dump_options_header
from werkzeug.wrappers import Response as AnyResponse

from api.auth import authorize
from api.middleware.errors import InvalidRequest
from api.results.images import StoredFile, find_input, find_output
from api.results.zip_stream import choose_outputs, stream_archive
from api.routes.responses import read_query
from api.schema import operation
from api.schema.operation import Answer, Operation
from api.schema.request_models import ArchiveQuery, OutputQuery
from api.services.backend import backend
from api.services.job_lookup import check_kept
from fathom.photos.formats import Format, media_type
from shared.errors import InvalidOptions, JobExpired, JobNotFound, NotFound, ObjectNotFound, OutputNotFound
from shared.jobs.object_keys import MEDIA_TYPES

blueprint = Blueprint("results", __name__)

#: Media types of the photos themselves.
PHOTO_MEDIA = (*(media_type(each) for each in Format), "application/octet-stream")

_HEADERS = (operation.DISPOSITION, operation.ACCEPT_RANGES)
_RANGE_HEADERS = (*_HEADERS, operation.CONTENT_RANGE)


@blueprint.get("/v1/jobs/<job_id>/images/<int:index>/<output>")
@Operation(
    tag="Fetching",
    answers=(
        Answer(status=200, description="The file.", media=MEDIA_TYPES, headers=_HEADERS),
        Answer(status=206, description="A range of it.", media=MEDIA_TYPES, headers=_RANGE_HEADERS),
        Answer(
            status=307, description="The file is in the object store.", headers=(operation.FILE_LOCATION,)
        ),
    ),
    problems=(InvalidRequest, JobNotFound, NotFound, OutputNotFound, JobExpired, 416),
    query=OutputQuery,
    headers=(operation.RANGE,),
)
def output(job_id: str, index: int, output: str) -> AnyResponse:
    """Send an output, or redirect to it."""
    query = read_query(OutputQuery)
    return _hand_out(find_output(backend(), authorize.job(job_id), index, output), stream=query.stream)


@blueprint.get("/v1/jobs/<job_id>/images/<int:index>/input")
@Operation(
    tag="Fetching",
    answers=(
        Answer(status=200, description="The photo.", media=PHOTO_MEDIA, headers=_HEADERS),
        Answer(status=206, description="A range of it.", media=PHOTO_MEDIA, headers=_RANGE_HEADERS),
        Answer(
            status=307, description="The photo is in the object store.", headers=(operation.FILE_LOCATION,)
        ),
    ),
    problems=(InvalidRequest, JobNotFound, NotFound, OutputNotFound, JobExpired, 416),
    query=OutputQuery,
    headers=(operation.RANGE,),
)
def input_photo(job_id: str, index: int) -> AnyResponse:
    """Send a photo as it was uploaded, or redirect to it."""
    query = read_query(OutputQuery)
    return _hand_out(find_input(backend(), authorize.job(job_id), index), stream=query.stream)


@blueprint.get("/v1/jobs/<job_id>/archive")
@Operation(
    tag="Fetching",
    answers=(
        Answer(
            status=200,
            description="A ZIP, not compressed; `failures.txt` in it names the photos without results.",
            media=("application/zip",),
            headers=(operation.DISPOSITION,),
        ),
    ),
    problems=(InvalidRequest, InvalidOptions, JobNotFound, JobExpired),
    query=ArchiveQuery,
)
def archive(job_id: str) -> Response:
    """Send all outputs that exist by now, under the photos' own names."""
    query = read_query(ArchiveQuery)
    parts = backend()
    job = authorize.job(job_id)
    check_kept(job)
    pieces = stream_archive(parts, job, choose_outputs(job, query.outputs))
    response = Response(pieces, content_type="application/zip")
    response.headers.set("Content-Disposition", "attachment", filename=f"fathom-{job.id}.zip")
    return response


def _hand_out(file: StoredFile, *, stream: bool) -> AnyResponse:
    if not stream:
        objects = backend().objects
        url = objects.presigned_get(file.key, file_name=file.file_name, content_type=file.content_type)
        if url is not None:
            return redirect(url, 307)
    return _send(file)


def _send(file: StoredFile) -> Response:
    """Send a file, or the range of it that is asked for: players of films read parts."""
    objects = backend().objects
    try:
        size = objects.size(file.key)
        span = _asked_range(size)
        start, stop = span or (None, None)
        pieces: Iterable[bytes] = objects.stream(file.key, start=start, stop=stop)
    except ObjectNotFound as exc:
        raise OutputNotFound("The output is no longer in the object store.") from exc
    response = Response(pieces, status=206 if span else 200, content_type=file.content_type)
    response.content_length = size
    if span:
        response.content_length = span[1] - span[0]
        response.content_range = ContentRange("bytes", *span, size)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Content-Disposition"] = _inline(file.file_name)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _asked_range(size: int) -> tuple[int, int] | None:
    """Return the range of bytes [start, stop) that the request asks for, or None for the whole file.

    Several ranges in one request are ignored, as a server may (RFC 9110, 14.2). Files have no validator, so
    one that must be unchanged is sent whole (13.1.5). Raises an error 416 for a range beyond the end.
    """
    asked = request.range
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1 or "If-Range" in request.headers:
        return None
    span = asked.range_for_length(size)
    if span is None:
        raise RequestedRangeNotSatisfiable(size)
    start, stop = span
    assert stop is not None, "a range within a known length has an end"
    return start, stop


def _inline(file_name: str) -> str:
    """Return a Content-Disposition with the name in ASCII and, for newer clients, in full (RFC 6266)."""
    plain = file_name.encode("ascii", "replace").decode().replace("?", "_")
    names = {"filename": plain, "filename*": f"UTF-8''{quote(file_name, safe='')}"}
    return dump_options_header("inline", names)
