"""The ports: what the front end and the workers need of the world outside, and no more.

`shared.job_store.RedisJobStore`, `shared.object_store.S3ObjectStore` and
`shared.tickets.CeleryTickets` are the real ones; `tests/fakes.py` holds the
in-memory ones, and one contract test runs over both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Protocol

from shared.jobs import (
    NO_QUOTA,
    FinalizeClaim,
    ImageFailure,
    ImageState,
    ImageStatus,
    Job,
    JobEvents,
    JobState,
    Lease,
    Page,
    Quota,
    Range,
    Totals,
)
from shared.statistics import Batch, Summary


class JobStore(Protocol):
    """The truth about jobs, images and leases.

    Every method may raise JobStoreUnavailable, and JobNotFound where it names a
    job. Every write may be repeated with the same arguments and then changes
    nothing more: the client library repeats commands by itself.
    """

    # --- what clients do ---

    def create(self, job: Job, *, quota: Quota = NO_QUOTA) -> None:
        """Record a new job, `uploading` or `queued`. Its id decides whether it is new.

        Raises QuotaExceeded if the job would go beyond a bound, and JobStoreFull if it
        would use the memory that running jobs need; nothing is recorded then.
        """

    def admit(self, owner: str, images: int, *, quota: Quota) -> None:
        """Raise what `create` would raise now for a job of so many images; nothing is recorded.

        It saves a client from sending gigabytes that `create` would refuse.
        """

    def start(self, job_id: str, *, total: int | None = None, bytes: int | None = None) -> Job:
        """Queue a job whose uploads are all there; `total` where its images could not be counted before.

        `bytes` is what they really take, where that is known only now. What is more than was known at
        its creation is held against the quota of then: raises QuotaExceeded, and the job stays as
        it is. Raises ValueError for a `total` that is missing, or not the one known.
        """

    def abort(self, job_id: str, failure: ImageFailure) -> Job:
        """End a job that is `uploading` as failed, for a reason that concerns all of it (`Job.error`)."""

    def get(self, job_id: str) -> Job: ...

    def list(self, *, owner: str | None = None, cursor: str | None = None, limit: int = 50) -> Page[Job]:
        """Return jobs, the newest first; with `owner`, only that owner's."""

    def images(
        self, job_id: str, *, state: ImageState | None = None, cursor: int = 0, limit: int = 100
    ) -> Page[ImageStatus]:
        """Return images from index `cursor` on, by index; with `state`, only those.

        There are none left of an expired job.
        """

    def events(self, job_id: str, *, after: str | None = None, limit: int = 1000) -> JobEvents:
        """Return what happened to a job after the event `after`; None is the beginning.

        That is every end of an image, `succeeded` or `failed`; an image that is to be tried again,
        `pending`; and every state of the job. With a job's new `queued` after an end its failed images
        are pending again. The last thousand or so are kept, and for an hour after the job's end.
        """

    def last_event(self, job_id: str) -> str:
        """Return the id of a job's latest event, to go on from there."""

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

    def claim_finalize(self) -> FinalizeClaim | None:
        """Return a job that waits to be finalised, for this caller alone for a minute."""

    def finish(self, claim: FinalizeClaim, state: JobState) -> None:
        """Set the final state of a job that was claimed for finalising.

        Whoever claimed the same end may set it, the first does. Raises InvalidTransition if the job
        does not wait for this end: it was retried since, restored, or is not done yet.
        """

    def failures(self, job_id: str) -> Iterator[ImageStatus]:
        """Yield the failed images by index, each with its failure."""

    def unwritten_failures(self, *, limit: int = 100) -> tuple[tuple[str, ImageStatus], ...]:
        """Return failed images whose last attempt was charged, each with its job, until `mark_written`.

        Who charges an attempt cannot know that it is the last: the reasons reach the object
        store from here. Those of a job that is gone are left out.
        """

    def mark_written(self, job_id: str, indices: Iterable[int]) -> None:
        """Note that the failures of these images lie in the object store."""

    def expirable(self, *, before: float, limit: int = 100) -> tuple[str, ...]:
        """Return jobs that may go, the oldest first: what ended before `before` (seconds, server time).

        Also those that wait for their uploads, or paused, and were created and last touched
        by a client before it. A running job never is.
        """

    def expire(self, job_id: str, *, before: float | None = None) -> None:
        """Set a job's state to `expired` and forget its images; the record alone remains.

        Raises InvalidTransition for a job that runs, and with `before` for one that is not `expirable`
        any more: it ended, or was touched, since. A job unknown already is no error.
        """

    # --- what makes it whole again ---

    def is_reconciled(self) -> bool:
        """Return whether the jobs were compared with the object store since the server was started.

        False after a restart, a loss of data, a restored copy or a failover, until
        `mark_reconciled`: what the server holds may be older than what the object store holds.
        """

    def mark_reconciled(self) -> None: ...

    def restore(
        self,
        job: Job,
        *,
        succeeded: Iterable[int] = (),
        failures: Mapping[int, ImageFailure] | None = None,
        common: Range | None = None,
    ) -> None:
        """Bring a job up to what the object store knows of it.

        `common` is the range of a job normalised as a whole that is past its first pass; without
        it such a job is measured again.

        An unknown one is recorded in the state it has in `job`, which may be an end; its outcomes are
        those given. In a known one that has not ended, the outcomes given are added, each
        image once; its state stays, unless `job` has ended: then it ends so, its leases dropped.
        """

    # --- who is there, and how it goes ---

    def now(self) -> float:
        """Return the server's time, in seconds since the epoch: the one clock of all."""

    def totals(self) -> Totals: ...

    def register_worker(self, worker: str, slots: int) -> None:
        """Say that a worker with `slots` children is alive; forgotten after 15 seconds."""

    def forget_worker(self, worker: str) -> None: ...

    def slots(self) -> int:
        """Return the children of all living workers."""

    def pending_chunks(self, chunk: int, *, at_most: int) -> int:
        """Return how many leases of `chunk` images could be taken now, counting to `at_most`."""

    def acquire(self, name: str, owner: str, seconds: float) -> bool:
        """Take or extend a short lock, True while `owner` holds it; 0 seconds let it go."""

    def ping(self) -> None:
        """Raise JobStoreUnavailable if the store does not answer."""


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """An object in a listing; `size` is in bytes."""

    key: str
    size: int
    #: Seconds since the epoch, by the object store's clock.
    modified_at: float
    #: Another one for other content; opaque.
    tag: str = ""


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

    def get_tagged(self, key: str, *, stop: int | None = None) -> tuple[bytes, str]:
        """Read an object, or its first bytes, and the tag that a listing has for what was read."""

    def stream(self, key: str, *, chunk_size: int = ...) -> Iterator[bytes]:
        """Read an object in pieces. A missing key raises at the call, not at the first piece."""

    def size(self, key: str) -> int: ...

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield all objects whose key starts with `prefix`, however many; only those behind the key `after`.

        By key, except that a server over a file system may sort `a/` before `a!`.
        """

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the names of the folders directly below `prefix`, each once, without listing them.

        Objects directly below it are left out; a folder may be empty by now.
        """

    def delete(self, key: str) -> None:
        """Delete an object; a missing one is no error."""

    def delete_prefix(self, prefix: str) -> int:
        """Delete all objects below `prefix`; returns how many. An empty prefix is refused."""

    def in_bucket(self, bucket: str) -> ObjectStore:
        """Return another bucket of the same server; reading raises BucketNotFound if there is none."""

    def presigned_get(
        self, key: str, *, file_name: str | None = None, content_type: str | None = None
    ) -> str | None:
        """Return a URL for a client to read an object; None if no public address is set."""

    def presigned_put(self, key: str, *, size: int | None = None) -> str | None:
        """Return a URL for a client to write an object, of so many bytes where `size` is given.

        None if no public address is set.
        """

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


class Standing(StrEnum):
    """How an Idempotency-Key stands when a submission comes under it."""

    #: Nobody worked under it; now the caller does.
    NEW = "new"
    #: Somebody else works under it, and was heard of lately.
    RUNNING = "running"
    #: Somebody died who knew the payload and may have recorded the job; now the caller holds it.
    SEALED = "sealed"
    #: A submission under it was carried out.
    DONE = "done"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An Idempotency-Key as it stands; payload and job are known where it is sealed or done."""

    standing: Standing
    fingerprint: str = ""
    job_id: str = ""
    #: Seconds until a holder that is not heard of again loses its hold.
    seconds_left: float = 0.0


class Idempotency(Protocol):
    """Submissions by owner and Idempotency-Key; whoever works under a key holds it by a token.

    Every method may raise JobStoreUnavailable, and may be repeated. Those that return
    a bool return False if the caller does not hold the key any more, and then change nothing.
    """

    def claim(self, owner: str, key: str, token: str) -> Claim:
        """Take a key that nobody holds, or tell how it stands."""

    def renew(self, owner: str, key: str, token: str) -> bool:
        """Say that the holder is alive."""

    def seal(self, owner: str, key: str, token: str, *, fingerprint: str, job_id: str) -> bool:
        """Record the payload and the id of the job that is about to be recorded."""

    def finish(self, owner: str, key: str, token: str) -> bool:
        """Keep the answer for a day."""

    def release(self, owner: str, key: str, token: str) -> bool:
        """Forget a submission that came to nothing."""


class Statistics(Protocol):
    """How long things took, over all processes. Every method may raise JobStoreUnavailable."""

    def add(self, batch: Batch) -> None:
        """Add what a process measured. May be repeated: a batch counts once."""

    def read(self, workers: Iterable[str]) -> Summary:
        """Return all that was added, and of the workers named how many images each has ended."""
