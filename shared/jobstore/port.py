"""The ports: what the front end and the workers need of the world outside, and no more.

`shared.jobstore.redis_store.RedisJobStore`, `shared.objectstore.s3.S3ObjectStore` and
`shared.tickets.CeleryTickets` are the real ones; `tests/fakes.py` holds the
in-memory ones, and one contract test runs over both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from shared.jobs.job import (
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

    def give_back(self, lease_id: str) -> None:
        """Return the unfinished images of a lease, charging no attempt. Giving it back twice is fine."""

    # --- maintenance ---

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
