"""Listing the sources of a job: what lies below its prefixes becomes its manifest."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from photos.kinds import Kind, is_hidden, kind_of
from photos.skipped import Skipped
from shared import layout
from shared.chores import Chore
from shared.errors import (
    BucketNotFound,
    InvalidSource,
    NoImages,
    ObjectStoreDenied,
    SourcesOff,
    TooLarge,
)
from shared.jobs import Job, Source
from shared.manifest import ManifestWriter
from shared.ports import ObjectStore
from shared.sources import (
    Listing,
    S3Address,
    decode_listings,
    name_below,
    parse_s3,
    to_source,
)
from worker.chores.gathering import Gathering
from worker.chores.runner import Check, Done, Later

#: Objects listed between two looks whether to go on.
_STEP = 1000


class ListSources:
    """Handles chores of the kind `list`."""

    def __init__(
        self, gathering: Gathering, objects: ObjectStore, *, buckets: Collection[str], max_images: int
    ) -> None:
        self._gathering = gathering
        self._objects = objects
        self._buckets = frozenset(buckets)
        self._max_images = max_images

    def do(self, chore: Chore, check: Check) -> Done | Later:
        return self._gathering.run(chore, check, self._list_all)

    def give_up(self, chore: Chore) -> None:
        self._gathering.give_up(chore)

    def _list_all(self, job: Job, check: Check) -> int:
        listings = decode_listings(self._objects.get(layout.sources(job.id)))
        skipped = Skipped()
        with ManifestWriter() as manifest:
            for listing in listings:
                for source in self._sources(listing, manifest, skipped, check):
                    manifest.add(source)
                    if manifest.count > self._max_images:
                        raise TooLarge(f"A job holds at most {self._max_images} images.")
            if manifest.count == 0:
                raise NoImages(f"There is no photo below the sources. {skipped}".strip())
            manifest.store(self._objects, job.id)
            self._objects.put(layout.skipped(job.id), skipped.to_json(), content_type="application/json")
            return manifest.count

    def _sources(
        self, listing: Listing, manifest: ManifestWriter, skipped: Skipped, check: Check
    ) -> Iterator[Source]:
        if listing.s3_prefix is None:
            yield to_source(listing, manifest.count)
            return
        prefix = parse_s3(listing.s3_prefix, prefix=True)
        for number, (key, size) in enumerate(self._list(prefix)):
            if number % _STEP == 0:
                check()
            name = name_below(prefix.key, key)
            if key.endswith("/") or is_hidden(name):
                continue
            # To look into each object would be a request for each: names must do.
            if (kind := kind_of(name)) in (Kind.PHOTO, Kind.UNREAD):
                address = str(S3Address(bucket=prefix.bucket, key=key))
                yield Source(index=manifest.count, name=name, size=size, s3=address)
            else:
                skipped.add(name, kind)

    def _list(self, prefix: S3Address) -> Iterator[tuple[str, int]]:
        if prefix.bucket not in self._buckets:
            raise SourcesOff(f"This server reads no photos from the bucket {prefix.bucket!r}.")
        try:
            for entry in self._objects.in_bucket(prefix.bucket).list(prefix.key):
                yield entry.key, entry.size
        except BucketNotFound as exc:
            raise InvalidSource(f"There is no bucket {prefix.bucket!r}.") from exc
        except ObjectStoreDenied as exc:
            # If the store refuses us altogether, no source is to blame: this raises then.
            self._objects.ping()
            raise InvalidSource(f"The bucket {prefix.bucket!r} may not be listed.") from exc
