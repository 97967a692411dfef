"""`job.json`: a job as it was accepted, from which it can be recorded anew on an empty Redis."""

from __future__ import annotations

import json

from shared.jobs import Counts, Job, JobState, Phase
from shared.options import Options


def encode_job(job: Job) -> bytes:
    """Return what does not change about a job, as JSON."""
    record = {
        "id": job.id,
        "total": job.counts.total,
        "options": job.options.to_json(),
        "created_at": job.created_at,
        "weight": job.weight,
    }
    return json.dumps(record).encode()


def decode_job(data: bytes, *, state: JobState = JobState.QUEUED) -> Job:
    """Return the job as it was when accepted, in the state given.

    Raises InvalidOptions if its options are no longer known.
    """
    record = json.loads(data)
    return new_job(
        record["id"],
        total=record["total"],
        options=Options.parse(record["options"]),
        state=state,
        created_at=record["created_at"],
        weight=record["weight"],
    )


def new_job(
    job_id: str, *, total: int, options: Options, state: JobState, created_at: float, weight: float = 1.0
) -> Job:
    """Return a job of which nothing is done; one normalised as a whole is measured first."""
    return Job(
        id=job_id,
        state=state,
        options=options,
        counts=Counts(total=total),
        created_at=created_at,
        phase=Phase.MEASURE if options.normalize == "job" else Phase.RENDER,
        weight=weight,
    )
