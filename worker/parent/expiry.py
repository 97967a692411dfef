"""Expiry: some time after its end a job loses its photos and results, and later its record.

Any step may be interrupted. The next run finds what is left: a record that says expired, or objects
without a record.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress

from shared.chores.port import Chores
from shared.errors import InvalidTransition, JobNotFound
from shared.idempotency.port import KEEP
from shared.jobs import object_keys
from shared.jobs.job import Job, JobState, is_job_id
from shared.jobstore.port import JobStore
from shared.objectstore.port import ObjectStore
from shared.observability.logs import log_context

logger = logging.getLogger(__name__)

#: Jobs expired in one run.
AT_ONCE = 20
#: Seconds that a worker holds the lock; each job extends it.
LOCK = 120.0

_ACTION = {"action": "expire"}


class Expirer:
    """Expires jobs after `retention_seconds`, and sweeps up what is left of them."""

    def __init__(
        self,
        *,
        name: str,
        jobs: JobStore,
        objects: ObjectStore,
        chores: Chores,
        retention_seconds: float,
        draining: Callable[[], bool],
    ) -> None:
        self._name = name
        self._jobs = jobs
        self._objects = objects
        self._retention = retention_seconds
        self._chores = chores
        self._draining = draining

    @property
    def pause(self) -> float:
        """Seconds between two runs of `expire`: at most a minute."""
        return min(max(self._retention / 100, 1.0), 60.0)

    @property
    def long_pause(self) -> float:
        """Seconds between two runs of `sweep`, which looks at every job: at most an hour."""
        return min(max(self._retention / 10, 2.0), 3600.0)

    def expire(self) -> int:
        """Expire the jobs whose time has come; return how many."""
        expired = 0
        before = self._jobs.now() - self._retention
        for job_id in self._jobs.expirable(before=before, limit=AT_ONCE):
            if not self._goes_on("expiry"):
                break
            with log_context(job=job_id), suppress(InvalidTransition, JobNotFound):
                self._expire(job_id, before)
                expired += 1
        return expired

    def sweep(self) -> int:
        """Delete records that expired long ago, and objects that belong to no job; return how many jobs."""
        if not self._jobs.is_reconciled():
            # The job store may have lost the jobs that it does not know.
            return 0
        swept = 0
        for job_id in self._old_records():
            if not self._goes_on("sweep"):
                return swept
            self._jobs.delete(job_id)
            swept += 1
        for job_id in filter(is_job_id, self._objects.folders("jobs/")):
            if not self._goes_on("sweep"):
                return swept
            with log_context(job=job_id):
                swept += self._sweep_folder(job_id)
        self._sweep_idempotency()
        return swept

    def _sweep_idempotency(self) -> None:
        """Delete the records of expired Idempotency-Keys."""
        before = self._jobs.now() - KEEP
        for entry in self._objects.list(object_keys.IDEMPOTENCY):
            if entry.modified_at < before:
                self._objects.delete(entry.key)

    def _goes_on(self, lock: str) -> bool:
        return not self._draining() and self._jobs.acquire(lock, self._name, LOCK)

    def _expire(self, job_id: str, before: float) -> None:
        # Deleting the jobs before it takes time, in which a client may have touched this one.
        self._jobs.expire(job_id, before=before)
        self._chores.forget(job_id)
        count = self._delete_objects(job_id)
        logger.info("The job expired; %s objects were deleted.", count, extra=_ACTION)

    def _delete_objects(self, job_id: str) -> int:
        # `job.json` goes first: without it, nothing can restore the job.
        self._objects.delete(object_keys.job_record(job_id))
        return self._objects.delete_prefix(object_keys.job_prefix(job_id))

    def _old_records(self) -> Iterator[str]:
        before = self._jobs.now() - 2 * self._retention
        cursor: str | None = None
        while True:
            page = self._jobs.list(cursor=cursor, limit=100)
            yield from (job.id for job in page.items if _expired_before(job, before, self._retention))
            cursor = page.next_cursor
            if cursor is None:
                return

    def _sweep_folder(self, job_id: str) -> int:
        """Delete a job's objects if it has expired, or if there is no such job and all of them are old."""
        try:
            if self._jobs.get(job_id).state is not JobState.EXPIRED:
                return 0
        except JobNotFound:
            # The job store may have lost the job since this sweep began.
            if not self._is_old(job_id) or not self._jobs.is_reconciled():
                return 0
        count = self._delete_objects(job_id)
        if count:
            logger.info("Deleted %s leftover objects.", count, extra=_ACTION)
        return 1 if count else 0

    def _is_old(self, job_id: str) -> bool:
        before = self._jobs.now() - self._retention
        return all(entry.modified_at < before for entry in self._objects.list(object_keys.job_prefix(job_id)))


def _expired_before(job: Job, before: float, retention: float) -> bool:
    """Return whether a job's record must go. A job that never ended counts from its creation."""
    ended_at = job.ended_at if job.ended_at is not None else job.created_at + retention
    return job.state is JobState.EXPIRED and ended_at < before
