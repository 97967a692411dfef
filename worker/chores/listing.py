"""List the sources of a job: the photos below its prefixes become its manifest.

A large listing takes many time slices. It keeps what it finds in parts, and joins them to the manifest.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from fathom.photos.kinds import FileKind, is_hidden, kind_of
from fathom.photos.skipped import Skipped
from shared.errors import (
    BucketNotFound,
    InvalidSource,
    NoImages,
    ObjectStoreDenied,
    SourcesOff,
    TooLarge,
)
from shared.jobs import object_keys
from shared.jobs.job import Job, Source
from shared.jobs.manifest import ManifestWriter, decode_manifest, encode_manifest
from shared.jobs.sources import Listing, S3Address, decode_listings, name_below, parse_s3, to_source
from shared.objectstore.port import ObjectStore
from worker.chores.runner import Check
from worker.chores.time_slice import TimeSlice, read_cursor, write_cursor

#: Objects listed between two checks whether to continue.
_STEP = 1000
#: Images that wait in memory before they become a part.
_PART = 10_000


@dataclass(kw_only=True)
class _ListingCursor:
    """How far the sources of a job are listed."""

    #: The source being listed, and the last key seen in it.
    source: int = 0
    after: str = ""
    #: Images found, and the parts that hold them. Parts have random names, so that two workers on the same
    #: job cannot overwrite each other's.
    count: int = 0
    parts: list[str] = field(default_factory=list)
    skipped: dict[str, Any] = field(default_factory=dict)


class _Found:
    """The images found so far: in parts in the object store, and the rest in memory."""

    def __init__(self, objects: ObjectStore, job_id: str) -> None:
        cursor = _ListingCursor(**(read_cursor(objects, job_id) or {}))
        self._objects = objects
        self._job_id = job_id
        self._parts = cursor.parts
        self._rest: list[Source] = []
        self.source, self.after, self.count = cursor.source, cursor.after, cursor.count
        self.skipped = Skipped(**cursor.skipped)

    def begin_next(self) -> None:
        self.source, self.after = self.source + 1, ""

    def add(self, source: Source) -> None:
        self._rest.append(source)
        self.count += 1
        if len(self._rest) == _PART:
            self._keep_rest()

    def save(self) -> None:
        """Save the cursor, so that the next time slice continues there."""
        self._keep_rest()
        cursor = _ListingCursor(
            source=self.source,
            after=self.after,
            count=self.count,
            parts=self._parts,
            skipped=asdict(self.skipped),
        )
        write_cursor(self._objects, self._job_id, asdict(cursor))

    def store_manifest(self, check: Check) -> None:
        with ManifestWriter() as manifest:
            for part in self._parts:
                check()
                for source in decode_manifest(
                    self._objects.get(object_keys.gathered_part(self._job_id, part))
                ):
                    manifest.add(source)
            for source in self._rest:
                manifest.add(source)
            manifest.store(self._objects, self._job_id)

    def _keep_rest(self) -> None:
        if self._rest:
            part = f"{self.count - len(self._rest)}-{secrets.token_hex(4)}"
            self._objects.put(object_keys.gathered_part(self._job_id, part), encode_manifest(self._rest))
            self._parts.append(part)
            self._rest = []


class SourceLister:
    """Gathers the images of a job by listing its sources."""

    def __init__(
        self,
        objects: ObjectStore,
        *,
        buckets: Collection[str],
        max_images: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objects = objects
        self._buckets = frozenset(buckets)
        self._max_images = max_images
        self._clock = clock

    def list_all(self, job: Job, check: Check) -> int:
        """List the sources of a job; return how many images it has. Raises TimeSliceOver."""
        listings = decode_listings(self._objects.get(object_keys.sources(job.id)))
        found, time_slice = _Found(self._objects, job.id), TimeSlice(self._clock)
        while found.source < len(listings):
            for source in self._sources(listings[found.source], found, check):
                if source is not None:
                    found.add(source)
                if found.count > self._max_images:
                    raise TooLarge(f"A job holds at most {self._max_images} images.")
                time_slice.step_done(found.save)
        if found.count == 0:
            raise NoImages(f"There is no photo below the sources. {found.skipped}".strip())
        found.store_manifest(check)
        self._objects.put(
            object_keys.skipped(job.id), found.skipped.to_json(), content_type="application/json"
        )
        return found.count

    def _sources(self, listing: Listing, found: _Found, check: Check) -> Iterator[Source | None]:
        """Yield the one image of a listing, or an image or None for each object below its prefix."""
        if listing.s3_prefix is None:
            found.begin_next()
            yield to_source(listing, found.count)
            return
        prefix = parse_s3(listing.s3_prefix, prefix=True)
        for number, (key, size) in enumerate(self._list(prefix, found.after)):
            if number % _STEP == 0:
                check()
            found.after = key
            yield self._source(prefix, key, size, found)
        found.begin_next()

    def _source(self, prefix: S3Address, key: str, size: int, found: _Found) -> Source | None:
        name = name_below(prefix.key, key)
        if key.endswith("/") or is_hidden(name):
            return None
        # Reading each object would take a request each, so the name must do.
        if (kind := kind_of(name)) not in (FileKind.PHOTO, FileKind.UNREAD):
            found.skipped.add(name, kind)
            return None
        address = str(S3Address(bucket=prefix.bucket, key=key))
        return Source(index=found.count, name=name, size=size, s3=address)

    def _list(self, prefix: S3Address, after: str) -> Iterator[tuple[str, int]]:
        if prefix.bucket not in self._buckets:
            raise SourcesOff(f"This server reads no photos from the bucket {prefix.bucket!r}.")
        try:
            for entry in self._objects.in_bucket(prefix.bucket).list(prefix.key, after=after):
                yield entry.key, entry.size
        except BucketNotFound as exc:
            raise InvalidSource(f"There is no bucket {prefix.bucket!r}.") from exc
        except ObjectStoreDenied as exc:
            # If the store refuses everything, the source is not to blame: then the ping raises.
            self._objects.ping()
            raise InvalidSource(f"The bucket {prefix.bucket!r} may not be listed.") from exc
