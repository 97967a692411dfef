"""Finalising a job: its failures and its result go to S3, then its end is recorded.

`result.json` is the job's commit point. Every step may be repeated, so a worker
that dies here costs a minute and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from shared import layout
from shared.errors import ObjectNotFound
from shared.jobs import Counts, Job, JobState
from shared.manifest import decode_manifest
from shared.ports import JobStore, ObjectStore


def end_state(state: JobState, counts: Counts) -> JobState:
    """Return how a job ends: canceled, or by how many of its images succeeded."""
    if state is JobState.CANCELING:
        return JobState.CANCELED
    if counts.failed == 0:
        return JobState.SUCCEEDED
    return JobState.PARTIAL if counts.succeeded else JobState.FAILED


def finalize(job_id: str, jobs: JobStore, objects: ObjectStore) -> JobState:
    """Write a job's failures and result, set its end state and return it.

    Raises JobNotFound if the job was deleted meanwhile, Unavailable if a store is away.
    """
    job = jobs.get(job_id)
    state = end_state(job.state, job.counts)
    _put_failures(job, jobs, objects)
    objects.put(layout.result(job_id), _result(job, state), content_type="application/json")
    jobs.finish(job_id, state)
    return state


def _put_failures(job: Job, jobs: JobStore, objects: ObjectStore) -> None:
    if job.counts.failed == 0:
        # A retry may have mended all that an earlier end had written down.
        objects.delete(layout.failures(job.id))
        return
    lines = "".join(line + "\n" for line in _failure_lines(job.id, jobs, objects))
    objects.put(layout.failures(job.id), lines.encode(), content_type="application/x-ndjson")


def _failure_lines(job_id: str, jobs: JobStore, objects: ObjectStore) -> Iterator[str]:
    names = _names(job_id, objects)
    for image in jobs.failures(job_id):
        failure = image.failure
        yield json.dumps(
            {
                "index": image.index,
                "name": names.get(image.index),
                "code": failure.code if failure else None,
                "message": failure.message if failure else None,
            },
            ensure_ascii=False,
        )


def _names(job_id: str, objects: ObjectStore) -> dict[int, str]:
    try:
        manifest = decode_manifest(objects.get(layout.manifest(job_id)))
    except ObjectNotFound:
        # The job is being deleted; its result will go with it.
        return {}
    return {source.index: source.name for source in manifest}


def _result(job: Job, state: JobState) -> bytes:
    result = {
        "id": job.id,
        "state": state,
        "created_at": job.created_at,
        "counts": {
            "total": job.counts.total,
            "succeeded": job.counts.succeeded,
            "failed": job.counts.failed,
        },
    }
    return json.dumps(result).encode()
