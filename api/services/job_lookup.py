"""Look a job up, even while the job store is being restored after a loss."""

from __future__ import annotations

from api.services.backend import Backend
from shared.errors import JobExpired, JobNotFound, JobRecovering
from shared.jobs import object_keys
from shared.jobs.job import Job, JobState, is_job_id


def find_job(backend: Backend, job_id: str) -> Job:
    """Return a job.

    Raises JobRecovering if the job store has lost the job and will soon have it back, else JobNotFound.
    Only a job that the job store does not know costs a request to the object store.
    """
    try:
        return backend.jobs.get(job_id)
    except JobNotFound:
        if _will_be_restored(backend, job_id):
            raise JobRecovering from None
        raise


def _will_be_restored(backend: Backend, job_id: str) -> bool:
    if not is_job_id(job_id) or backend.jobs.is_reconciled():
        return False
    return backend.objects.exists(object_keys.job_record(job_id))


def check_kept(job: Job) -> None:
    """Raise JobExpired if only the record of a job is left, and its photos and results are gone."""
    if job.state is JobState.EXPIRED:
        raise JobExpired
