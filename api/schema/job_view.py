"""A job as clients see it, with its links."""

from __future__ import annotations

from flask import url_for

from api.schema.response_models import JobOut
from shared.jobs.job import Job, JobState


def job_links(job: Job) -> dict[str, str]:
    """Return the links of a job by name: paths, without a host."""
    path = url_for("jobs.show", job_id=job.id)
    verbs = ("images", "events", "archive", "cancel", "pause", "resume", "retry")
    links = {"self": path} | {verb: f"{path}/{verb}" for verb in verbs}
    if job.state is JobState.UPLOADING and not job.gathered:
        links |= {verb: f"{path}/{verb}" for verb in ("uploads", "start")}
    return links


def job_out(job: Job) -> JobOut:
    return JobOut.of(job, job_links(job))
