"""Enqueue the chores of a job, as the job and its objects require."""

from __future__ import annotations

import math

from shared.chores.port import ChoreKind, Chores, expand_id, list_id, notify_id
from shared.jobs import object_keys
from shared.jobs.job import Job, JobState
from shared.objectstore.port import ObjectStore


def add_chores(job: Job, objects: ObjectStore, chores: Chores) -> None:
    """Enqueue the chores of a job that was just accepted or restored.

    May be repeated. A webhook that was already told of the job's end is not told again.
    """
    if job.gathered and job.state is JobState.UPLOADING:
        if objects.exists(object_keys.sources(job.id)):
            chores.add(list_id(job.id), ChoreKind.LIST, job.id)
        else:
            chores.add(expand_id(job.id), ChoreKind.EXPAND, job.id)
    if job.webhook is not None:
        asleep = job.state.ended and _was_told(job.id, objects)
        chores.add(notify_id(job.id), ChoreKind.NOTIFY, job.id, delay=math.inf if asleep else 0.0)


def _was_told(job_id: str, objects: ObjectStore) -> bool:
    """Return whether a delivery was completed after the job's last end."""
    results = list(objects.list(object_keys.result(job_id)))
    told = [entry.modified_at for entry in objects.list(object_keys.deliveries_prefix(job_id))]
    return bool(results and told) and max(told) >= max(entry.modified_at for entry in results)
