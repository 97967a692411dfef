"""The ports: what the front end and the workers need of the world outside, and no more.

`shared.job_store.RedisJobStore`, `shared.object_store.S3ObjectStore` and
`shared.tickets.CeleryTickets` are the real ones; `tests/fakes.py` holds the
in-memory ones, and one contract test runs over both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from shared.jobs import ImageFailure, ImageState, ImageStatus, Job, JobState, Lease, Page, Range


class JobStore(Protocol):
    """The truth about jobs, images and leases.

    Every method may raise JobStoreUnavailable, and JobNotFound where it names a
    job. Every write may be repeated with the same arguments and then changes
    nothing more: the client library repeats commands by itself.
    """

    # --- what clients do ---

    def create(self, job: Job) -> None:
        """Record a new job, `uploading` or `queued`. Its id decides whether it is new."""

    def start(self, job_id: str) -> Job:
        """Queue a job whose uploads are all there."""

    def get(self, job_id: str) -> Job: ...

    def list(self, *, cursor: str | None = None, limit: int = 50) -> Page[Job]:
        """Return jobs, the newest first."""

    def images(
        self, job_id: str, *, state: ImageState | None = None, cursor: int = 0, limit: int = 100
    ) -> Page[ImageStatus]:
        """Return images from index `cursor` on, by index; with `state`, only those."""

    def cancel(self, job_id: str) -> Job:
        """Stop a job within one image. What is done stays. Raises InvalidTransition at its end."""

    def pause(self, job_id: str) -> Job: ...

    def resume(self, job_id: str) -> Job: ...

    def retry(self, job_id: str) -> Job:
        """Queue the failed images of an ended job once more, their attempts forgotten."""

    def delete(self, job_id: str) -> None:
        """Forget a job; its leases end with it. A job unknown already is no error."""

    # --- what workers do ---

    def lease(self, worker: str, *, limit: int) -> Lease | None:
        """Hand out one due retry or up to `limit` images of the job whose turn it is."""

    def renew(self, lease: Lease, *, in_hand: int | None) -> JobState | None:
        """Extend a lease and name the image in hand, which alone is charged if the worker dies.

        Returns the job's state; None if the lease is no longer held (it expired
        and was taken back, or the job is gone), so that the work is to be dropped.
        """

    def measured(self, lease: Lease, index: int, measured: Range) -> JobState | None:
        """Record the range of an image in the MEASURE phase; the last one opens the second pass.

        Returns as `done` does. A call that comes after the phase has ended changes nothing.
        """

    def done(self, lease: Lease, index: int, *, failure: ImageFailure | None = None) -> JobState | None:
        """End an image, as succeeded or as failed; only the first end of an image counts.

        It counts without the lease too, unless the job has gone on to another phase.
        Returns as `renew` does: the job's state, or None if the lease is not held
        any more. In the MEASURE phase an image can only fail; `measured` is its success.
        """

    def charge(self, lease: Lease, index: int, failure: ImageFailure) -> JobState | None:
        """Charge one attempt to an image; it is tried again later, or failed at the last attempt.

        Returns as `renew` does. Without the lease nothing is charged: whoever took it back did.
        """

    def give_back(self, lease: Lease) -> None:
        """Return the unfinished images of a lease, charging no attempt."""

    # --- what keeps house ---

    def reap(self) -> int:
        """Take back expired leases; the image in hand is charged. Returns how many leases."""

    def claim_finalize(self) -> str | None:
        """Return a job that waits to be finalised, for this caller alone for a minute."""

    def finish(self, job_id: str, state: JobState) -> None:
        """Set the final state of a job that was claimed for finalising.

        Raises InvalidTransition if the job does not wait to be finalised.
        """

    def failures(self, job_id: str) -> Iterator[ImageStatus]:
        """Yield the failed images by index, each with its failure."""

    def register_worker(self, worker: str, slots: int) -> None:
        """Say that a worker with `slots` children is alive; forgotten after 15 seconds."""

    def forget_worker(self, worker: str) -> None: ...

    def slots(self) -> int:
        """Return the children of all living workers."""

    def pending_chunks(self, chunk: int, *, at_most: int) -> int:
        """Return how many leases of `chunk` images could be taken now, counting to `at_most`."""

    def acquire(self, name: str, owner: str, seconds: float) -> bool:
        """Take or extend a short lock; True while `owner` holds it."""

    def ping(self) -> None:
        """Raise JobStoreUnavailable if the store does not answer."""


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """An object in a listing; `size` is in bytes."""

    key: str
    size: int


class ObjectStore(Protocol):
    """Objects under keys in one bucket.

    Every method may raise ObjectStoreUnavailable (transient) and
    ObjectStoreDenied; reading a missing key raises ObjectNotFound.
    """

    def put(
        self, key: str, data: bytes | memoryview, *, content_type: str = ..., only_if_new: bool = False
    ) -> None:
        """Write an object. With `only_if_new`, raise ObjectExists if there is one (where S3 can)."""

    def put_stream(self, key: str, stream: BinaryIO, *, content_type: str = ...) -> None:
        """Write an object from a seekable stream, in constant memory."""

    def get(self, key: str, *, start: int | None = None, stop: int | None = None) -> bytes:
        """Read an object, or its bytes [start, stop)."""

    def stream(self, key: str, *, chunk_size: int = ...) -> Iterator[bytes]:
        """Read an object in pieces. A missing key raises at the call, not at the first piece."""

    def size(self, key: str) -> int: ...

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield all objects whose key starts with `prefix`, however many.

        By key, except that a server over a file system may sort `a/` before `a!`.
        """

    def delete(self, key: str) -> None:
        """Delete an object; a missing one is no error."""

    def delete_prefix(self, prefix: str) -> int:
        """Delete all objects below `prefix`; returns how many. An empty prefix is refused."""

    def presigned_get(
        self, key: str, *, file_name: str | None = None, content_type: str | None = None
    ) -> str | None:
        """Return a URL for a client to read an object; None if no public address is set."""

    def presigned_put(self, key: str) -> str | None:
        """Return a URL for a client to write an object; None if no public address is set."""

    def ensure_bucket(self) -> None:
        """Create the bucket if it is missing."""

    def ping(self) -> None:
        """Raise if the bucket cannot be reached."""


class TicketQueue(Protocol):
    """Wakes workers. A ticket carries nothing; a lost one costs latency, one too many is a no-op."""

    def publish(self, count: int) -> None:
        """Publish `count` tickets. Raises JobStoreUnavailable if the broker is away."""

    def depth(self) -> int:
        """Return how many tickets wait."""
