"""Fetch the bytes of an image: from the job's inputs, from another bucket, or from a URL.

There are three kinds of failure. A bad source fails its image. A foreign server that does not answer
costs the image one attempt, and is tried again later. If our own store is away, its error is raised as
it is, because that is no image's fault.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from contextlib import suppress
from threading import Lock
from typing import Protocol, TypeVar

from fathom.photos.formats import HEAD_BYTES, Format, sniff_format
from fathom.photos.kinds import is_raw_tiff, why_unread
from shared.errors import (
    AddressRefused,
    BucketNotFound,
    ImageError,
    InputChanged,
    InputMissing,
    InvalidSource,
    ObjectNotFound,
    ObjectStoreDenied,
    SourceDenied,
    SourceMissing,
    SourceRefused,
    SourceUnavailable,
    UnsupportedFormat,
    image_error,
)
from shared.jobs import object_keys
from shared.jobs.accepted_uploads import AcceptedTags
from shared.jobs.failure import decode_failure
from shared.jobs.job import Source
from shared.jobs.manifest import read_sources
from shared.jobs.sources import S3Address, parse_s3
from shared.objectstore.port import ObjectStore
from worker.outbound_http import Outbound, OutboundFailed

T = TypeVar("T")

#: Lines of a manifest in one block, and how many blocks are kept.
_BLOCK, _BLOCKS = 64, 16

_DENIED = frozenset({400, 401, 402, 403, 405, 406, 407, 451})
_MISSING = frozenset({404, 410})


class CallStore(Protocol):
    """Calls our own object store; may retry while it is away."""

    def __call__(self, call: Callable[[], T], /) -> T: ...


class Fetcher:
    """Fetches images for one process; several threads may use it."""

    def __init__(
        self,
        objects: ObjectStore,
        *,
        most_bytes: int,
        outbound: Outbound | None,
        buckets: Collection[str],
        call_store: CallStore,
        draining: Callable[[], bool],
    ) -> None:
        """Read at most `most_bytes` of an image, however large it is.

        Without `outbound` no image is read from a URL, and from S3 only those in `buckets`.
        """
        self._objects = objects
        self._outbound = outbound
        self._buckets = frozenset(buckets)
        self._most_bytes = most_bytes
        self._call_store = call_store
        self._draining = draining
        self._references = _References(objects)
        self._accepted = AcceptedTags(objects)

    def fetch(self, job_id: str, index: int) -> bytes:
        """Return the bytes of an image, or its first `most_bytes`.

        Raises InputMissing, InputChanged, SourceMissing, SourceDenied, SourceRefused or
        SourceUnavailable; the reason why a photo could not be read out of its archive; UnsupportedFormat
        for a raw file that looks like a TIFF; and what the object store raises when it is away.
        """
        data = self._fetch(job_id, index)
        head = data[:HEAD_BYTES]
        # Only TIFF needs the name: most raw files are TIFFs whose picture is a thumbnail.
        if sniff_format(head) is Format.TIFF:
            name = self._call_store(lambda: self._references.name(job_id, index))
            if is_raw_tiff(name, head):
                raise UnsupportedFormat(why_unread(name, head))
        return data

    def fetch_labels(self, job_id: str, index: int) -> bytes | None:
        """Return the label picture of an image; None if it has none. Raises what the object store raises."""
        name = self._call_store(lambda: self._references.name(job_id, index))
        key = object_keys.labels(job_id, name)
        try:
            return self._call_store(lambda: self._objects.get(key, stop=self._most_bytes))
        except ObjectNotFound:
            return None

    def _fetch(self, job_id: str, index: int) -> bytes:
        source = self._references.recall(job_id, index)
        if source is None:
            # Most images are inputs: they need not wait for the manifest.
            with suppress(ObjectNotFound):
                return self._call_store(lambda: self._read_input(job_id, index))
            source = self._call_store(lambda: self._references.find(job_id, index))
        if source is None:
            raise self._call_store(lambda: self._missing(job_id, index))
        return self._fetch_source(source)

    def _missing(self, job_id: str, index: int) -> ImageError:
        """Return the reason why an image has no input."""
        try:
            failure = decode_failure(self._objects.get(object_keys.unreadable(job_id, index)))
        except ObjectNotFound:
            return InputMissing()
        return image_error(failure.code, failure.message)

    def _read_input(self, job_id: str, index: int) -> bytes:
        key = object_keys.input_image(job_id, index)
        if not self._accepted.are_kept(job_id, index):
            return self._objects.get(key, stop=self._most_bytes)
        data, tag = self._objects.get_tagged(key, stop=self._most_bytes)
        if not self._accepted.fits(job_id, index, tag):
            raise InputChanged
        return data

    def _fetch_source(self, source: Source) -> bytes:
        if source.s3 is not None:
            return self._fetch_object(source.s3)
        if source.url is not None:
            return self._fetch_url(source.url)
        raise InputMissing

    def _fetch_object(self, text: str) -> bytes:
        try:
            address = parse_s3(text)
        except InvalidSource as exc:
            raise SourceRefused from exc
        # A bucket may have left the list since the job was accepted.
        if address.bucket not in self._buckets:
            raise SourceDenied
        return self._call_store(lambda: self._read_object(address))

    def _read_object(self, address: S3Address) -> bytes:
        try:
            return self._objects.in_bucket(address.bucket).get(address.key, stop=self._most_bytes)
        except (ObjectNotFound, BucketNotFound) as exc:
            raise SourceMissing from exc
        except ObjectStoreDenied as exc:
            # If the store refuses everything, the source is not to blame: then the ping raises.
            self._objects.ping()
            raise SourceDenied from exc

    def _fetch_url(self, url: str) -> bytes:
        if self._outbound is None:
            raise SourceRefused
        try:
            with self._outbound.get(url) as answer:
                _check_status(answer.status)
                data = bytearray()
                for piece in answer.pieces:
                    data += piece
                    if len(data) >= self._most_bytes:
                        break
                    if self._draining():
                        raise SourceUnavailable
                return bytes(data[: self._most_bytes])
        except AddressRefused as exc:
            raise SourceRefused from exc
        except OutboundFailed as exc:
            raise SourceUnavailable from exc


def _check_status(status: int) -> None:
    """Raise the error of a status other than 200. What may pass is tried again."""
    if status in _MISSING:
        raise SourceMissing
    if status in _DENIED:
        raise SourceDenied
    if status != 200:
        raise SourceUnavailable


class _References:
    """The sources of images that are not inputs: a cache of manifest lines."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._blocks: OrderedDict[tuple[str, int], tuple[Source, ...]] = OrderedDict()
        self._lock = Lock()

    def recall(self, job_id: str, index: int) -> Source | None:
        """Return the source of an image if it is cached; None otherwise, and for an input."""
        number, offset = divmod(index, _BLOCK)
        with self._lock:
            block = self._blocks.get((job_id, number), ())
        return _elsewhere(block, offset)

    def find(self, job_id: str, index: int) -> Source | None:
        """Return the source of an image; None for an input."""
        number, offset = divmod(index, _BLOCK)
        try:
            return _elsewhere(self._block(job_id, number), offset)
        except ObjectNotFound:
            return None

    def name(self, job_id: str, index: int) -> str:
        """Return the name of an image; empty if it is not known."""
        number, offset = divmod(index, _BLOCK)
        try:
            return self._block(job_id, number)[offset].name
        except (IndexError, ObjectNotFound):
            return ""

    def _block(self, job_id: str, number: int) -> tuple[Source, ...]:
        key = (job_id, number)
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
                return self._blocks[key]
        block = read_sources(self._objects, job_id, number * _BLOCK, (number + 1) * _BLOCK)
        with self._lock:
            self._blocks[key] = block
            while len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        return block


def _elsewhere(block: tuple[Source, ...], offset: int) -> Source | None:
    source = block[offset] if offset < len(block) else None
    return source if source is not None and (source.url or source.s3) else None
