"""A job's images with their names, and the stored file of one output or input."""

from __future__ import annotations

from dataclasses import dataclass

from api.services.backend import Backend
from api.services.job_lookup import check_kept
from fathom.photos.formats import HEAD_BYTES, media_type, sniff_format
from fathom.result_names import output_files, result_names, safe_path
from shared.errors import NotFound, ObjectNotFound, OutputNotFound
from shared.jobs import object_keys
from shared.jobs.job import ImageState, ImageStatus, Job, Page


@dataclass(frozen=True, kw_only=True)
class NamedImage:
    """An image's status, and its name as the owner gave it."""

    status: ImageStatus
    name: str


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A stored photo or output, and the headers to send it with."""

    key: str
    #: Made from the photo's own name, but safe on every system.
    file_name: str
    content_type: str


def list_images(
    backend: Backend, job: Job, *, state: ImageState | None, cursor: int, limit: int
) -> Page[NamedImage]:
    """Return images by index, with their names. Raises JobExpired once they are forgotten."""
    check_kept(job)
    page = backend.jobs.images(job.id, state=state, cursor=cursor, limit=limit)
    if not page.items:
        # A job whose images are still being gathered has no manifest yet.
        return Page(items=())
    names = backend.manifests.names(job.id)
    named = tuple(NamedImage(status=status, name=names[status.index]) for status in page.items)
    return Page(items=named, next_cursor=page.next_cursor)


def find_output(backend: Backend, job: Job, index: int, output: str) -> StoredFile:
    """Return a stored output.

    Raises NotFound for an image that the job does not have, OutputNotFound with the reason for an
    output that it does not have, and JobExpired once all outputs are gone.
    """
    check_kept(job)
    if index >= job.counts.total:
        raise NotFound(f"The job has no image {index}; it has {job.counts.total}, counted from 0.")
    files = output_files(job.options)
    if output not in files:
        raise OutputNotFound(f"The job has no output {output[:50]!r}; it has {', '.join(files)}.")
    status = backend.jobs.images(job.id, cursor=index, limit=1).items[0]
    if status.state is not ImageState.SUCCEEDED:
        raise OutputNotFound(_reason(status))
    return StoredFile(
        key=object_keys.output(job.id, index, files[output]),
        file_name=_file_name(backend.manifests.names(job.id)[index], job, output),
        content_type=object_keys.content_type(files[output]),
    )


def find_input(backend: Backend, job: Job, index: int) -> StoredFile:
    """Return a photo as it was sent. Its content decides its type, never its name.

    Raises NotFound for an image that the job does not have, and OutputNotFound for a photo that has
    not arrived or is no longer kept.
    """
    if index >= job.counts.total:
        raise NotFound(f"The job has no image {index}; it has {job.counts.total}, counted from 0.")
    key = object_keys.input_image(job.id, index)
    try:
        found = sniff_format(backend.objects.get(key, start=0, stop=HEAD_BYTES))
    except ObjectNotFound as exc:
        raise OutputNotFound("The photo is not in the object store.") from exc
    return StoredFile(
        key=key,
        file_name=safe_path(backend.manifests.names(job.id)[index]).rsplit("/", 1)[-1],
        # No browser displays plain bytes, so nothing but a picture is ever shown.
        content_type="application/octet-stream" if found is None else media_type(found),
    )


def _reason(status: ImageStatus) -> str:
    if status.failure is not None:
        return f"Image {status.index} failed: {status.failure.message}"
    return f"Image {status.index} is {status.state}; it has no outputs."


def _file_name(name: str, job: Job, output: str) -> str:
    """Return the last part of the path that this output has in the archive."""
    paths = next(result_names([name], job.options))
    return paths[output].rsplit("/", 1)[-1]
