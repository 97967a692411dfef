"""Announced photos: which have arrived, where the others go, and the start once all have arrived."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Protocol

from api.schema.response_models import MISSING_NAMED
from api.services.backend import Backend
from api.submit.accept import wake_workers
from api.submit.form import image_cap
from api.submit.spool import Spool
from shared.errors import InvalidTransition, NotFound, ObjectNotFound, SizeMismatch, TooLarge, UploadsMissing
from shared.jobs import object_keys
from shared.jobs.accepted_uploads import NOT_STORED, AcceptedUploads
from shared.jobs.job import Job, JobState, Page, Source
from shared.jobs.manifest import read_sources
from shared.objectstore.port import ObjectInfo, ObjectStore

_CHUNK = 256 * 2**10
#: Photos checked together, and how many such blocks for one page.
BLOCK = 1000
_BLOCKS = 20
#: The largest album whose stored photos are listed at once: ten pages of a listing.
_LISTED_WHOLE = 10 * BLOCK
#: In all other states a start has had its effect, so a repeated one is no error.
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


class Sizes(Protocol):
    """The stored bytes of each photo by index, or NOT_STORED."""

    def __getitem__(self, index: int, /) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Upload:
    """An announced photo, and the address to put it to."""

    source: Source
    url: str


def first_uploads(backend: Backend, job: Job, *, limit: int, own_url: Callable[[int], str]) -> Page[Upload]:
    """Return the first photos of an announced job, stored by now or not."""
    if not _takes_uploads(job):
        return Page(items=())
    sources = read_sources(backend.objects, job.id, 0, limit)
    uploads = tuple(_upload(backend, job, source, own_url) for source in sources)
    return Page(items=uploads, next_cursor=str(limit) if job.counts.total > limit else None)


def list_missing(
    backend: Backend, job: Job, *, cursor: int, limit: int, own_url: Callable[[int], str]
) -> Page[Upload]:
    """Return announced photos that are not stored yet, by index, each with a fresh address.

    The address is a presigned URL where clients can reach the object store, else `own_url`. A page of
    a large album may be short or even empty although more follow, because one call checks a bounded
    number of photos.
    """
    if not _takes_uploads(job):
        return Page(items=())
    missing, looked_at = _look_for_missing(backend, job, cursor, limit)
    uploads = tuple(_upload(backend, job, source, own_url) for source in missing[:limit])
    if len(missing) > limit:
        return Page(items=uploads, next_cursor=str(missing[limit].index))
    return Page(items=uploads, next_cursor=str(looked_at) if looked_at < job.counts.total else None)


def store_upload(
    backend: Backend, job: Job, index: int, stream: IO[bytes], *, length: int | None = None
) -> None:
    """Store an announced photo that was sent to the API itself; `length` is its Content-Length.

    Raises InvalidTransition once the job has started, NotFound for an index that was not announced, and
    SizeMismatch, with nothing stored, for a photo whose size is not the announced one.
    """
    source = _announced(backend, job, index)
    if length is not None:
        _check_size(source, length)
    with _received(backend, stream) as spool:
        _check_size(source, spool.size)
        backend.objects.put_stream(object_keys.input_image(job.id, index), spool.rewound())


def store_labels(backend: Backend, job: Job, index: int, stream: IO[bytes]) -> None:
    """Store the label picture of an announced photo.

    Raises InvalidTransition once the job has started, NotFound for an index that was not announced, and
    TooLarge for more bytes than a photo may have.
    """
    source = _announced(backend, job, index)
    with _received(backend, stream) as spool:
        if spool.size > backend.settings.max_image_bytes:
            raise TooLarge(f"A label picture has at most {backend.settings.max_image_bytes} bytes.")
        backend.objects.put_stream(object_keys.labels(job.id, source.name), spool.rewound())


def _announced(backend: Backend, job: Job, index: int) -> Source:
    """Return an announced photo. Raises InvalidTransition and NotFound."""
    if not _takes_uploads(job):
        raise InvalidTransition(f"The job is {job.state} and takes no uploads.")
    if index >= job.counts.total:
        raise NotFound(f"The job has no image {index}.")
    (source,) = read_sources(backend.objects, job.id, index, index + 1)
    return source


@contextmanager
def _received(backend: Backend, stream: IO[bytes]) -> Iterator[Spool]:
    """Receive a file; one byte more than a photo may have is kept at most."""
    spool = Spool(cap=image_cap(backend.settings))
    try:
        spool.fill(iter(lambda: stream.read(_CHUNK), b""))
        yield spool
    finally:
        spool.close()


def _check_size(source: Source, size: int) -> None:
    if source.size is not None and size != source.size:
        raise SizeMismatch(f"{source.size} bytes were announced for image {source.index}, not {size}.")


def start(backend: Backend, job: Job) -> Job:
    """Queue a job whose uploads have all arrived. May be repeated.

    The photos stored now are the job's photos, and their bytes count.
    Raises UploadsMissing, which names the first that are missing, QuotaExceeded and InvalidTransition.
    """
    if job.state not in _NOT_STARTED:
        return job
    if job.gathered:
        raise InvalidTransition("The job starts by itself as soon as its photos have been gathered.")
    uploads = _find_all(backend, job) if job.state is JobState.UPLOADING else None
    started = backend.controls.start(job.id, uploads=uploads)
    wake_workers(backend, started)
    return started


def _find_all(backend: Backend, job: Job) -> AcceptedUploads:
    """Return all uploads of a job as they are stored. Raises UploadsMissing."""
    uploads = AcceptedUploads(job.counts.total)
    for index, info in _listed(backend.objects, job.id, ""):
        if index < job.counts.total:
            uploads.add(index, info)
    uploads.label_bytes = sum(info.size for info in backend.objects.list(object_keys.labels_prefix(job.id)))
    missing, count = _name_missing(backend, job, uploads.sizes)
    if count:
        raise SomeUploadsMissing(missing, count)
    return uploads


def _takes_uploads(job: Job) -> bool:
    return job.state is JobState.UPLOADING and not job.gathered


def _upload(backend: Backend, job: Job, source: Source, own_url: Callable[[int], str]) -> Upload:
    url = _presigned_url(backend, job, source)
    return Upload(source=source, url=url or own_url(source.index))


def _presigned_url(backend: Backend, job: Job, source: Source) -> str | None:
    """Return a presigned URL, or None for a photo that only the API can cut off: one that is too large."""
    if source.size is None or source.size > backend.settings.max_image_bytes:
        return None
    return backend.objects.presigned_put(object_keys.input_image(job.id, source.index), size=source.size)


def _look_for_missing(backend: Backend, job: Job, cursor: int, limit: int) -> tuple[list[Source], int]:
    """Return missing photos from `cursor` on, and the index up to which photos were checked."""
    stored = _StoredSizes(backend, job)
    last = min(job.counts.total, (cursor // BLOCK + _BLOCKS) * BLOCK)
    missing: list[Source] = []
    while cursor < last and len(missing) <= limit:
        stop = min((cursor // BLOCK + 1) * BLOCK, last)
        sources = read_sources(backend.objects, job.id, cursor, stop)
        sizes = stored.of_block(cursor // BLOCK)
        missing += _missing_among(backend, sources, sizes)
        cursor = stop
    return missing, cursor


def _name_missing(backend: Backend, job: Job, sizes: Sizes) -> tuple[list[str], int]:
    """Return the names of the first missing photos of a job, and the number of all of them."""
    names: list[str] = []
    count = 0
    for start in range(0, job.counts.total, 10 * BLOCK):
        sources = read_sources(backend.objects, job.id, start, start + 10 * BLOCK)
        for source in _missing_among(backend, sources, sizes):
            count += 1
            if len(names) < MISSING_NAMED:
                names.append(source.name)
    return names, count


def _missing_among(backend: Backend, sources: Iterable[Source], sizes: Sizes) -> Iterator[Source]:
    largest = backend.settings.max_image_bytes
    for source in sources:
        size = sizes[source.index]
        if size == NOT_STORED or not _is_complete(source, size, largest):
            yield source


def _is_complete(source: Source, size: int, largest: int) -> bool:
    """Return whether a photo has the announced size. One that is too large was cut off."""
    if source.size is None or size == source.size:
        return True
    return source.size > largest and size > largest


class _StoredSizes:
    """The bytes of the stored photos by index, found with as little listing as possible.

    A small album is listed once. In a large one, the thousand photos 12000 to 12999 are among the keys
    that begin with 12, and the photos of one to three digits are looked up one by one.
    """

    def __init__(self, backend: Backend, job: Job) -> None:
        self._backend = backend
        self._job = job
        self._all: Sizes | None = None

    def of_block(self, block: int) -> Sizes:
        """Return the sizes of at least the thousand photos of a block."""
        objects, job = self._backend.objects, self._job
        if job.counts.total <= _LISTED_WHOLE:
            if self._all is None:
                self._all = _or_not_stored(_listed(objects, job.id, ""))
            return self._all
        if block == 0:
            return list(self._backend.senders.map(self._size, range(BLOCK)))
        return _or_not_stored(_listed(objects, job.id, str(block)))

    def _size(self, index: int) -> int:
        try:
            return self._backend.objects.size(object_keys.input_image(self._job.id, index))
        except ObjectNotFound:
            return NOT_STORED


def _or_not_stored(stored: Iterable[tuple[int, ObjectInfo]]) -> Sizes:
    return defaultdict(lambda: NOT_STORED, ((index, info.size) for index, info in stored))


def _listed(objects: ObjectStore, job_id: str, digits: str) -> Iterator[tuple[int, ObjectInfo]]:
    """Yield the stored inputs whose index begins with `digits`, each with its index."""
    for info in objects.list(object_keys.inputs_prefix(job_id) + digits):
        index = object_keys.input_index(job_id, info.key)
        if index is not None:
            yield index, info
