"""Announced photos: which have arrived, where the others go, and the start once all are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

from api.backend import Backend
from api.schemas import MISSING_NAMED
from api.spool import Spool
from api.submission import image_cap, wake_workers
from shared import layout
from shared.errors import InvalidTransition, NotFound, UploadsMissing
from shared.jobs import Job, JobState, Page, Source
from shared.manifest import decode_manifest
from shared.ports import ObjectStore

_CHUNK = 256 * 2**10
#: States in which a start has had its effect already, so that a repeated one is no error.
_NOT_STARTED = frozenset({JobState.UPLOADING, JobState.CANCELING, JobState.CANCELED, JobState.EXPIRED})


class SomeUploadsMissing(UploadsMissing):
    """Some of the announced uploads have not arrived, or not with the size announced."""

    def __init__(self, missing: list[str], count: int) -> None:
        super().__init__(
            f"{count} of the announced uploads have not arrived, or not with the size announced."
        )
        self._members = {"missing": missing, "missing_count": count}

    @property
    def members(self) -> dict[str, Any]:
        return self._members


@dataclass(frozen=True, kw_only=True)
class Upload:
    """An announced photo, and the address it is to be put to."""

    source: Source
    url: str


def list_missing(
    backend: Backend, job: Job, *, cursor: int, limit: int, own_url: Callable[[int], str]
) -> Page[Upload]:
    """Return announced photos that are not stored yet, by index, each with a fresh address.

    The address is the object store's own where clients can reach it, else `own_url`.
    """
    if job.state is not JobState.UPLOADING:
        return Page(items=())
    missing = (source for source in _missing(backend, job) if source.index >= cursor)
    found = tuple(islice(missing, limit + 1))
    uploads = tuple(_upload(backend.objects, job, source, own_url) for source in found[:limit])
    return Page(items=uploads, next_cursor=str(found[limit].index) if len(found) > limit else None)


def store_upload(backend: Backend, job: Job, index: int, stream: IO[bytes]) -> None:
    """Store an announced photo sent to the API itself.

    Raises InvalidTransition once the job is started, and NotFound for an index not announced.
    """
    if job.state is not JobState.UPLOADING:
        raise InvalidTransition(f"The job is {job.state} and takes no more uploads.")
    if index >= job.counts.total:
        raise NotFound(f"The job has no image {index}.")
    spool = Spool(cap=image_cap(backend.settings))
    try:
        spool.fill(iter(lambda: stream.read(_CHUNK), b""))
        backend.objects.put_stream(layout.input_image(job.id, index), spool.rewound())
    finally:
        spool.close()


def start(backend: Backend, job: Job) -> Job:
    """Queue a job whose uploads are all there. May be repeated.

    Raises UploadsMissing, which names the first that are missing, and InvalidTransition.
    """
    if job.state not in _NOT_STARTED:
        return job
    if job.state is JobState.UPLOADING:
        missing = [source.name for source in _missing(backend, job)]
        if missing:
            raise SomeUploadsMissing(missing[:MISSING_NAMED], len(missing))
    started = backend.jobs.start(job.id)
    wake_workers(backend, started)
    return started


def _upload(objects: ObjectStore, job: Job, source: Source, own_url: Callable[[int], str]) -> Upload:
    url = objects.presigned_put(layout.input_image(job.id, source.index))
    return Upload(source=source, url=url or own_url(source.index))


def _missing(backend: Backend, job: Job) -> Iterator[Source]:
    stored = _stored_sizes(backend.objects, job.id)
    largest = backend.settings.max_image_bytes
    for source in decode_manifest(backend.objects.get(layout.manifest(job.id))):
        size = stored.get(source.index)
        if size is None or not _is_complete(source, size, largest):
            yield source


def _is_complete(source: Source, size: int, largest: int) -> bool:
    """True if what is stored has the size announced; of too large a photo, not all is kept."""
    if source.size is None or size == source.size:
        return True
    return source.size > largest and size > largest


def _stored_sizes(objects: ObjectStore, job_id: str) -> dict[int, int]:
    prefix = layout.inputs_prefix(job_id)
    found = ((info.key.removeprefix(prefix), info.size) for info in objects.list(prefix))
    return {int(rest): size for rest, size in found if rest.isascii() and rest.isdigit()}
