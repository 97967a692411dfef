"""Listing the sources of a job: what lies below its prefixes becomes its manifest.

A large listing takes many turns. What was found is kept in parts, which become the manifest at the end.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from fathom.photos.kinds import Kind, is_hidden, kind_of
from fathom.photos.skipped import Skipped
from shared.chores.port import Chore
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
from worker.chores.gathering import Gathering
from worker.chores.runner import Check, Done, Later
from worker.chores.turns import Turn, read_cursor, write_cursor

#: Objects listed between two looks whether to go on.
_STEP = 1000
#: Images found that wait in memory; then they are kept as a part.
_PART = 10_000


@dataclass(kw_only=True)
class _Cursor:
    """How far the sources of a job are listed."""

    #: The source that is being listed, and the key in it that was looked at last.
    source: int = 0
    after: str = ""
    #: Images found, and the parts that hold them. A part has a name of its own, so that of two workers at
    #: the same job neither changes what the other has noted.
    count: int = 0
    parts: list[str] = field(default_factory=list)
    skipped: dict[str, Any] = field(default_factory=dict)


class _Found:
    """What was found so far: parts in the object store, and the rest in memory."""

    def __init__(self, objects: ObjectStore, job_id: str) -> None:
        cursor = _Cursor(**(read_cursor(objects, job_id) or {}))
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

    def note(self) -> None:
        """Note how far it came, so that the next turn goes on there."""
        self._keep_rest()
        cursor = _Cursor(
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


class ListSources:
    """Handles chores of the kind `list`."""

    def __init__(
        self,
        gathering: Gathering,
        objects: ObjectStore,
        *,
        buckets: Collection[str],
        max_images: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gathering = gathering
        self._objects = objects
        self._buckets = frozenset(buckets)
        self._max_images = max_images
        self._clock = clock

    def do(self, chore: Chore, check: Check) -> Done | Later:
        return self._gathering.run(chore, check, self._list_all)

    def give_up(self, chore: Chore) -> None:
        self._gathering.give_up(chore)

    def _list_all(self, job: Job, check: Check) -> int:
        listings = decode_listings(self._objects.get(object_keys.sources(job.id)))
        found, turn = _Found(self._objects, job.id), Turn(self._clock)
        while found.source < len(listings):
            for source in self._sources(listings[found.source], found, check):
                if source is not None:
                    found.add(source)
                if found.count > self._max_images:
                    raise TooLarge(f"A job holds at most {self._max_images} images.")
                turn.passed(found.note)
        if found.count == 0:
            raise NoImages(f"There is no photo below the sources. {found.skipped}".strip())
        found.store_manifest(check)
        self._objects.put(
            object_keys.skipped(job.id), found.skipped.to_json(), content_type="application/json"
        )
        return found.count

    def _sources(self, listing: Listing, found: _Found, check: Check) -> Iterator[Source | None]:
        """Yield the image that a listing is, or what each object below its prefix is: None if no photo."""
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
        # To look into each object would be a request for each: names must do.
        if (kind := kind_of(name)) not in (Kind.PHOTO, Kind.UNREAD):
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
            # If the store refuses us altogether, no source is to blame: this raises then.
            self._objects.ping()
            raise InvalidSource(f"The bucket {prefix.bucket!r} may not be listed.") from exc
