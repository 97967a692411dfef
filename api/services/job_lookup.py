"""Finding a job, also while the job store is being made whole again after a loss."""

from __future__ import annotations

from api.services.backend import Backend
from shared.errors import JobExpired, JobNotFound, JobRecovering
from shared.jobs import object_keys
from shared.jobs.job import Job, JobState, is_job_id


def find(backend: Backend, job_id: str) -> Job:
    """Return a job.

    Raises JobNotFound, and JobRecovering for one that the job store has lost and will know
    again in a moment. Only then is the object store asked.
    """
    try:
        return backend.jobs.get(job_id)
    except JobNotFound:
        if _will_be_known(backend, job_id):
            raise JobRecovering from None
        raise


def _will_be_known(backend: Backend, job_id: str) -> bool:
    if not is_job_id(job_id) or backend.jobs.is_reconciled():
        return False
    return backend.objects.exists(object_keys.job_record(job_id))


def check_kept(job: Job) -> None:
    """Raise JobExpired if a job's photos and results are gone; its record is still there."""
    if job.state is JobState.EXPIRED:
        raise JobExpired
