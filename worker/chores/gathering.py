"""Gather a job's images: what expanding archives and listing sources have in common.

Meanwhile the job stays `uploading`. In the end it is started, or fails as a whole with the reason.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from shared.chores.port import Chore
from shared.control import Controls
from shared.errors import FathomError, InternalImageError, InvalidTransition, JobNotFound
from shared.jobs import object_keys
from shared.jobs.job import ImageFailure, Job, JobState
from shared.jobstore.port import JobStore
from shared.objectstore.port import ObjectStore
from worker.chores.runner import UNRECORDED, Check, Done, Later
from worker.chores.time_slice import TimeSliceOver
from worker.supervision.breaker import STORE_ERRORS

logger = logging.getLogger(__name__)

#: Seconds between two checks that the job still exists and waits.
_LOOK = 2.0


@dataclass(frozen=True, kw_only=True)
class Gathering:
    """Handles chores that gather a job's images: it then starts the job, or fails it."""

    jobs: JobStore
    objects: ObjectStore
    #: Called when there is work for workers.
    wake_workers: Callable[[], object]
    #: Gathers the images of a job, and returns how many there are.
    gather: Callable[[Job, Check], int]

    def do(self, chore: Chore, check: Check) -> Done | Later:
        """Gather the images of a chore's job, and start it.

        `gather` may raise TimeSliceOver, and is then called again after other chores. Any other FathomError
        of its own fails the job, with the error's code and message.
        """
        try:
            job = self.jobs.get(chore.job_id)
            if job.state is not JobState.UPLOADING:
                return Done(note=f"the job is {job.state}")
            return self._gather(job, check)
        except TimeSliceOver:
            return Later(seconds=0)
        except JobNotFound:
            return self._miss(chore)
        except InvalidTransition:
            return Done(note="the job was canceled")
        finally:
            self._sweep(chore.job_id)

    def give_up(self, chore: Chore) -> None:
        """Fail a job whose images could not be gathered, for an unforeseen reason."""
        self._abort(
            chore.job_id,
            InternalImageError("Gathering the job's photos failed for a reason Fathom did not foresee."),
        )

    def _miss(self, chore: Chore) -> Done | Later:
        """Tell a deleted job from one that is not recorded yet, or that Redis has lost."""
        if self.objects.exists(object_keys.job_record(chore.job_id)):
            return Later(seconds=UNRECORDED)
        return Done(note="the job was deleted")

    def _gather(self, job: Job, check: Check) -> Done:
        try:
            total = self.gather(job, self._watched(job.id, check))
            Controls(self.jobs, self.objects).start(job.id, total=total)
        except (*STORE_ERRORS, JobNotFound, InvalidTransition):
            raise
        except FathomError as exc:
            self._abort(job.id, exc)
            return Done(note=exc.code, failed=True)
        logger.info("%s images were gathered.", total, extra={"action": "start_job"})
        self.wake_workers()
        return Done()

    def _abort(self, job_id: str, error: FathomError) -> None:
        logger.info(
            "The job was refused: %s", error.message, extra={"action": "abort_job", "code": error.code}
        )
        failure = ImageFailure(code=error.code, message=error.message)
        Controls(self.jobs, self.objects).abort(job_id, failure)

    def _watched(self, job_id: str, check: Check) -> Check:
        """Return a check that also raises once the job is canceled or deleted."""
        looked_at = time.monotonic()

        def look() -> None:
            nonlocal looked_at
            check()
            if time.monotonic() - looked_at < _LOOK:
                return
            if self.jobs.get(job_id).state is not JobState.UPLOADING:
                raise InvalidTransition
            looked_at = time.monotonic()

        return look

    def _sweep(self, job_id: str) -> None:
        """Delete the archives and the cursor of a job that has started or ended, or all of a deleted job.

        A job that the job store does not know may be lost, not deleted: then its record still exists.
        """
        try:
            if self.jobs.get(job_id).state is not JobState.UPLOADING:
                self.objects.delete_prefix(object_keys.archives_prefix(job_id))
                self.objects.delete_prefix(object_keys.gathering_prefix(job_id))
        except JobNotFound:
            if not self.objects.exists(object_keys.job_record(job_id)):
                self.objects.delete_prefix(object_keys.job_prefix(job_id))
