"""Mistakes of a caller that every job store refuses; each check raises ValueError."""

from __future__ import annotations

import math
import re

from shared.jobs.job import Job, JobState, Lease, Range, is_job_id

#: An owner's name becomes part of keys, so only these are allowed.
_OWNER = re.compile(r"[A-Za-z0-9_.@-]{1,128}")


def check_new(job: Job) -> None:
    """Refuse to create a job in a state that no new job has."""
    if job.state not in (JobState.UPLOADING, JobState.QUEUED):
        raise ValueError(f"A new job is uploading or queued, not {job.state}.")
    if job.state is JobState.QUEUED and job.counts.total < 1:
        raise ValueError("A job that is queued has at least one image.")
    check_kept(job)


def check_kept(job: Job) -> None:
    """Refuse a job that cannot be stored, whether new or restored."""
    if not is_job_id(job.id) or not 0 < job.weight < math.inf:
        raise ValueError("A new job needs a job id and a positive weight.")
    if not all(0 < cost < math.inf for cost in (job.cost.measure, job.cost.render)):
        raise ValueError("A job's images have positive costs.")
    if job.counts.total < 0 or job.bytes < 0:
        raise ValueError("A job's images and bytes are not negative.")
    check_owner(job.owner)


def check_owner(owner: str) -> None:
    """Refuse an owner whose name cannot be part of a key."""
    if _OWNER.fullmatch(owner) is None:
        raise ValueError("An owner's name has letters, digits and `_.@-`.")


def check_range(common: Range) -> None:
    """Refuse a range whose ends are not finite numbers."""
    if not (math.isfinite(common.low) and math.isfinite(common.high)):
        raise ValueError("A range has finite ends.")


def check_index(lease: Lease, index: int) -> None:
    """Refuse an image that the lease never held."""
    if index not in lease.indices:
        raise ValueError(f"Image {index} is not in this lease.")
