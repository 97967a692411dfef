"""Results: single outputs, and all of a job in one ZIP."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from flask import Blueprint, Response, redirect
from werkzeug.http import dump_options_header
from werkzeug.wrappers import Response as AnyResponse

from api.archive import choose_outputs, stream_archive
from api.backend import backend
from api.images import OutputFile, find_output
from api.replies import read_query
from api.schemas import ArchiveQuery, OutputQuery
from shared.errors import ObjectNotFound, OutputNotFound

blueprint = Blueprint("results", __name__)


@blueprint.get("/v1/jobs/<job_id>/images/<int:index>/<output>")
def output(job_id: str, index: int, output: str) -> AnyResponse:
    """Send an output, or the way to it."""
    query = read_query(OutputQuery)
    parts = backend()
    file = find_output(parts, parts.jobs.get(job_id), index, output)
    if not query.stream:
        url = parts.objects.presigned_get(file.key, file_name=file.file_name, content_type=file.content_type)
        if url is not None:
            return redirect(url, 307)
    return _send(file)


@blueprint.get("/v1/jobs/<job_id>/archive")
def archive(job_id: str) -> Response:
    """Send all outputs there are by now, under the photos' own names."""
    query = read_query(ArchiveQuery)
    parts = backend()
    job = parts.jobs.get(job_id)
    pieces = stream_archive(parts, job, choose_outputs(job, query.outputs))
    response = Response(pieces, content_type="application/zip")
    response.headers.set("Content-Disposition", "attachment", filename=f"fathom-{job.id}.zip")
    return response


def _send(file: OutputFile) -> Response:
    objects = backend().objects
    try:
        size = objects.size(file.key)
        pieces: Iterable[bytes] = objects.stream(file.key)
    except ObjectNotFound as exc:
        raise OutputNotFound("The output is no longer in the object store.") from exc
    response = Response(pieces, content_type=file.content_type)
    response.content_length = size
    response.headers["Content-Disposition"] = _inline(file.file_name)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _inline(file_name: str) -> str:
    """Return a Content-Disposition with the name in ASCII and, for newer clients, in full (RFC 6266)."""
    plain = file_name.encode("ascii", "replace").decode().replace("?", "_")
    names = {"filename": plain, "filename*": f"UTF-8''{quote(file_name, safe='')}"}
    return dump_options_header("inline", names)
