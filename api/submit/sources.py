"""Accept a job whose photos are elsewhere: each has an address, or a prefix stands for all below it.

A job with addresses needs no listing and is queued at once. A worker lists what is below a prefix; until
then the job is `uploading`.
"""

from __future__ import annotations

from dataclasses import dataclass

from api.schema.request_models import GivenSource, Sourcing
from api.services.backend import Backend
from api.submit.accept import Accepted, Submitter, describe, discard_on_failure, record, wake_workers
from api.submit.idempotency import Attempt
from shared.errors import (
    AddressRefused,
    InvalidSource,
    NoImages,
    SourcesOff,
    TooLarge,
)
from shared.jobs import object_keys
from shared.jobs.job import JobState, new_job_id
from shared.jobs.manifest import ManifestWriter
from shared.jobs.sources import Listing, encode_listings, parse_s3, to_source
from shared.net.url_policy import AllowedHosts, parse_url


def submit_sources(parts: Backend, sourcing: Sourcing, submitter: Submitter, attempt: Attempt) -> Accepted:
    """Record a job whose photos are elsewhere.

    Raises InvalidSource, SourcesOff, NoImages, TooLarge, QuotaExceeded, IdempotencyKeyInUse, and what
    the stores raise; nothing of the job is left then.
    """
    listings = check_sources(parts, sourcing.sources)
    is_listed = any(listing.s3_prefix is not None for listing in listings)
    total = 0 if is_listed else len(listings)
    parts.jobs.admit(submitter.owner, max(total, 1), quota=submitter.quota)
    state = JobState.UPLOADING if is_listed else JobState.QUEUED
    job = describe(parts, new_job_id(), submitter, sourcing, state=state, total=total, gathered=is_listed)
    with discard_on_failure(parts, job.id), ManifestWriter() as manifest:
        if is_listed:
            parts.objects.put(object_keys.sources(job.id), encode_listings(listings))
        else:
            for index, listing in enumerate(listings):
                manifest.add(to_source(listing, index))
        attempt.seal(job.id)
        record(parts, job, None if is_listed else manifest, submitter.quota)
    if not is_listed:
        wake_workers(parts, job)
    return Accepted(job=job)


def check_sources(parts: Backend, sources: tuple[GivenSource, ...]) -> tuple[Listing, ...]:
    """Return sources that this server reads from; raises as `submit_sources` does for the first of others."""
    if not sources:
        raise NoImages
    if len(sources) > parts.settings.max_job_images:
        raise TooLarge(f"A job holds at most {parts.settings.max_job_images} images.")
    check = _Check(
        allowed=AllowedHosts.of(parts.settings.source_hosts),
        buckets=frozenset(parts.settings.source_buckets),
        urls=parts.settings.url_sources,
    )
    return tuple(check.read(number, source) for number, source in enumerate(sources))


@dataclass(frozen=True, kw_only=True)
class _Check:
    """Which sources this server reads."""

    allowed: AllowedHosts
    buckets: frozenset[str]
    urls: bool

    def read(self, number: int, source: GivenSource) -> Listing:
        """Return a source in its normal form. Errors name its number in the request."""
        given = [text for text in (source.url, source.s3, source.s3_prefix) if text is not None]
        if len(given) != 1:
            raise InvalidSource(f"sources.{number}: A source has one of url, s3 and s3_prefix.")
        try:
            return self._read(source)
        except (AddressRefused, InvalidSource) as exc:
            raise InvalidSource(f"sources.{number}: {exc.message}") from exc

    def _read(self, source: GivenSource) -> Listing:
        if source.url is not None:
            if not self.urls:
                raise SourcesOff("This server reads no photos from URLs.")
            return Listing(url=parse_url(source.url, self.allowed).url, name=source.name)
        is_prefix = source.s3_prefix is not None
        address = parse_s3(source.s3_prefix or source.s3 or "", prefix=is_prefix)
        if address.bucket not in self.buckets:
            raise SourcesOff(f"This server reads no photos from the bucket {address.bucket!r}.")
        if not is_prefix:
            return Listing(s3=str(address), name=source.name)
        if source.name is not None:
            raise InvalidSource("A prefix takes no name: its photos are named after their keys.")
        return Listing(s3_prefix=str(address))
