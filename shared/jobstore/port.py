"""The port of the job store: what the front end and the workers need of it, and no more.

`shared.jobstore.redis_store` implements it on Redis, and `tests/fakes_job_store.py` in memory. One
contract test runs over both.
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
    ServedModel,
    Totals,
    Workload,
)
from shared.networks import MIDAS_SMALL

#: What a worker serves that says nothing else: the default network, and what it costs.
DEFAULT_MODELS: Mapping[str, float] = {MIDAS_SMALL.name: 1.0}


class JobStore(Protocol):
    """The truth about jobs, images and leases.

    Every method may raise JobStoreUnavailable, and JobNotFound if it names a job. A write that is
    repeated with the same arguments changes nothing more, because the client library repeats
    commands by itself.
    """

    # --- what clients do ---

    def create(self, job: Job, *, quota: Quota = NO_QUOTA) -> None:
        """Record a new job, `uploading` or `queued`. A job whose id is known stays as it is.

        Raises QuotaExceeded if the job would exceed a bound, and JobStoreFull if it would use the
        memory that running jobs need; then nothing is recorded.
        """

    def admit(self, owner: str, images: int, *, quota: Quota) -> None:
        """Raise what `create` would raise now for a job of so many images; record nothing.

        So a client need not send gigabytes only to have them refused.
        """

    def start(self, job_id: str, *, total: int | None = None, bytes: int | None = None) -> Job:
        """Queue a job whose uploads are complete; give `total` if its images were not counted before.

        `bytes` is their real size, if that is known only now. Images and bytes beyond those known at the
        job's creation count against the quota it had then: if that is too small, this raises QuotaExceeded
        and the job stays as it is. Raises ValueError if `total` is missing, or is not the known one.
        """

    def abort(self, job_id: str, failure: ImageFailure) -> Job:
        """Fail a job that is `uploading`, for a reason that concerns the whole job (`Job.error`)."""

    def get(self, job_id: str) -> Job: ...

    def list(self, *, owner: str | None = None, cursor: str | None = None, limit: int = 50) -> Page[Job]:
        """Return jobs, newest first; with `owner`, only that owner's."""

    def images(
        self, job_id: str, *, state: ImageState | None = None, cursor: int = 0, limit: int = 100
    ) -> Page[ImageStatus]:
        """Return images from index `cursor` on, by index; with `state`, only those in that state.

        An expired job has no images.
        """

    def events(self, job_id: str, *, after: str | None = None, limit: int = 1000) -> JobEvents:
        """Return a job's events after the event `after`, or from the beginning if that is None.

        There is an event for every image that ends (`succeeded` or `failed`) or is to be tried again
        (`pending`), and for every state of the job. If a job is `queued` after an end, its failed images
        are pending again. About the last thousand events are kept, until an hour after the job's end.
        """

    def last_event(self, job_id: str) -> str:
        """Return the id of a job's latest event, so that a reader can continue from there."""

    def cancel(self, job_id: str) -> Job:
        """Stop a job within one image. Results stay. Raises InvalidTransition if the job has ended."""

    def pause(self, job_id: str) -> Job: ...

    def resume(self, job_id: str) -> Job: ...

    def retry(self, job_id: str) -> Job:
        """Queue the failed images of an ended job again, and forget their attempts."""

    def delete(self, job_id: str) -> None:
        """Forget a job and its leases. An unknown job is no error."""

    # --- what workers do ---

    def lease(self, worker: str, *, limit: int, models: Iterable[str] = DEFAULT_MODELS) -> Lease | None:
        """Hand out images of the job whose turn it is: one due retry, or up to `limit` others.

        The job is one of the networks `models`. Of several that have work, the first one's turn it is, but
        urgent jobs come first.

        Images that cost more than 1 come in smaller leases, of at least one image: together they cost at most
        `limit`.
        """

    def renew(self, lease: Lease, *, in_hand: int | None) -> JobState | None:
        """Extend a lease and name the image in hand, the only one charged if the worker dies.

        Returns the job's state, or None if the lease is no longer held: it expired and was taken
        back, or the job is gone. Then the worker must drop its work.
        """

    def measured(self, lease: Lease, index: int, measured: Range) -> JobState | None:
        """Record the range of an image in the MEASURE phase; the last image begins the second pass.

        Returns what `done` does. After the phase has ended, a call changes nothing.
        """

    def done(self, lease: Lease, index: int, *, failure: ImageFailure | None = None) -> JobState | None:
        """End an image, as succeeded or as failed; only the first end of an image counts.

        It counts even without the lease, unless the job has moved on to another phase. Returns what
        `renew` does: the job's state, or None if the lease is no longer held. In the MEASURE phase an
        image can only fail here; its success is `measured`.
        """

    def charge(self, lease: Lease, index: int, failure: ImageFailure) -> JobState | None:
        """Charge an attempt to an image. It is tried again later; after the last attempt it has failed.

        Returns what `renew` does. Without the lease nothing is charged: `reap` took the lease back, and
        charged the image in hand.
        """

    def give_back(self, lease_id: str) -> None:
        """Return the unfinished images of a lease, charging no attempt. Giving it back twice is fine."""

    # --- maintenance ---

    def reap(self) -> int:
        """Take back expired leases and charge their images in hand. Return how many leases."""

    def claim_finalize(self) -> FinalizeClaim | None:
        """Claim a job that waits to be finalised, for a minute."""

    def finish(self, claim: FinalizeClaim, state: JobState) -> None:
        """Set the final state of a job that was claimed for finalising.

        Every caller that claimed this end may set it, and the first one does. Raises InvalidTransition
        if the job does not wait for this end: it was retried or restored since, or is not done yet.
        """

    def failures(self, job_id: str) -> Iterator[ImageStatus]:
        """Yield the failed images by index, each with its failure."""

    def unwritten_failures(self, *, limit: int = 100) -> tuple[tuple[str, ImageStatus], ...]:
        """Return failed images whose last attempt was charged, each with its job, until `mark_written`.

        A caller that charges an attempt cannot know that it is the last, so these reasons still have to be
        written to the object store. Images of a job that is gone are left out.
        """

    def mark_written(self, job_id: str, indices: Iterable[int]) -> None:
        """Record that the failures of these images lie in the object store."""

    def expirable(self, *, before: float, limit: int) -> tuple[str, ...]:
        """Return jobs that may expire, oldest first: those that ended before `before` (seconds, server time).

        Jobs that are paused or wait for uploads may expire too, if no client has touched them since then.
        A running job never expires.
        """

    def expire(self, job_id: str, *, before: float) -> None:
        """Set a job's state to `expired` and forget its images; only the record remains.

        Raises InvalidTransition if the job is not `expirable` with this `before`: it runs, or has ended or
        was touched since. An unknown job is no error.
        """

    # --- recovery ---

    def is_reconciled(self) -> bool:
        """Return whether the jobs were compared with the object store since the server started.

        After a restart, a loss of data, a restored copy or a failover, this is False until
        `mark_reconciled`, because the server's data may be older than the object store's.
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

        `common` is the range of a job that is normalised as a whole and past its first pass; without
        it such a job is measured again.

        An unknown job is recorded in the state that `job` has, which may be an end, with the given outcomes.
        To a known job that has not ended, the given outcomes are added, each image once. Its state stays,
        unless `job` has ended: then it ends in the same way, and its leases are dropped.
        """

    # --- workers and numbers ---

    def now(self) -> float:
        """Return the server's time, in seconds since the epoch; everything uses this one clock."""

    def totals(self) -> Totals: ...

    def register_worker(self, worker: str, slots: int, models: Mapping[str, float] = DEFAULT_MODELS) -> None:
        """Record that a worker with `slots` children is alive; this is forgotten after 15 seconds.

        `models` are the networks that it serves, each with its `ServedModel.cost`.
        """

    def forget_worker(self, worker: str) -> None: ...

    def slots(self) -> int:
        """Return how many children all living workers have."""

    def served_models(self) -> Mapping[str, ServedModel]:
        """Return what living workers serve."""

    def workload(self) -> Mapping[str, Workload]:
        """Return what is left to do, by network; networks without work are left out.

        Jobs count that are queued or processing, and those whose images workers gather, by the number that is
        known. Paused jobs, jobs that wait for uploads and jobs that are being restored do not.
        """

    def pending_chunks(self, chunk: int, *, at_most: int, model: str = MIDAS_SMALL.name) -> int:
        """Return how many leases of a network could be taken now with the limit `chunk`, or `at_most`."""

    def acquire(self, name: str, owner: str, seconds: float) -> bool:
        """Take or extend a short lock; return whether `owner` holds it. 0 seconds release it."""

    def ping(self) -> None:
        """Raise JobStoreUnavailable if the store does not answer."""
