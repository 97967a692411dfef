"""Finalising a job: its failures and its result go to S3, then its end is recorded.

`result.json` is the job's commit point. Every step may be repeated, so a worker
that dies here costs a minute and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from shared import layout
from shared.chores import Chores, notify_id
from shared.errors import ObjectNotFound
from shared.job_record import JobResult, encode_result
from shared.jobs import Counts, Job, JobState, Source
from shared.manifest import read_sources
from shared.ports import JobStore, ObjectStore
from shared.tracing import OFF, Tracer, traced

#: Lines of a manifest read at once.
_BLOCK = 1000


def end_state(state: JobState, counts: Counts) -> JobState:
    """Return how a job ends: canceled, or by how many of its images succeeded."""
    if state is JobState.CANCELING:
        return JobState.CANCELED
    if counts.failed == 0:
        return JobState.SUCCEEDED
    return JobState.PARTIAL if counts.succeeded else JobState.FAILED


def finalize(
    job_id: str,
    jobs: JobStore,
    objects: ObjectStore,
    chores: Chores | None = None,
    tracer: Tracer = OFF,
) -> JobState:
    """Write a job's failures and result, set its end state and return it.

    With `chores`, the job's webhook will be told, also if this worker dies half-way.

    Raises JobNotFound if the job was deleted meanwhile, Unavailable if a store is away.
    """
    job = jobs.get(job_id)
    if job.state not in (JobState.FINALIZING, JobState.CANCELING):
        # Somebody else was faster, and it may have been retried since.
        return job.state
    state = JobState.FAILED if job.error else end_state(job.state, job.counts)
    attributes = {"fathom.job.id": job_id, "fathom.job.state": state}
    with traced(tracer, "finalize job", parent=job.traceparent, attributes=attributes):
        _end(job, state, jobs, objects, chores)
    return state


def _end(job: Job, state: JobState, jobs: JobStore, objects: ObjectStore, chores: Chores | None) -> None:
    _put_failures(job, jobs, objects)
    result = JobResult.of(job, state, ended_at=jobs.now(), error=job.error)
    objects.put(layout.result(job.id), encode_result(result), content_type="application/json")
    if chores is not None and job.webhook is not None:
        # Before the end is set, so that none goes untold; who is woken waits for it.
        chores.wake(notify_id(job.id))
    jobs.finish(job.id, state)
    # All of them are in `failures.jsonl` now.
    objects.delete_prefix(layout.failures_prefix(job.id))


def _put_failures(job: Job, jobs: JobStore, objects: ObjectStore) -> None:
    if job.counts.failed == 0:
        # A retry may have mended all that an earlier end had written down.
        objects.delete(layout.failures(job.id))
        return
    lines = "".join(line + "\n" for line in _failure_lines(job.id, jobs, objects))
    objects.put(layout.failures(job.id), lines.encode(), content_type="application/x-ndjson")


def _failure_lines(job_id: str, jobs: JobStore, objects: ObjectStore) -> Iterator[str]:
    names = _Names(job_id, objects)
    for image in jobs.failures(job_id):
        failure = image.failure
        yield json.dumps(
            {
                "index": image.index,
                "name": names.find(image.index),
                "code": failure.code if failure else None,
                "message": failure.message if failure else None,
            },
            ensure_ascii=False,
        )


class _Names:
    """Names of images, asked for by index in order; a part of the manifest is in memory at a time."""

    def __init__(self, job_id: str, objects: ObjectStore) -> None:
        self._job_id = job_id
        self._objects = objects
        self._block: tuple[int, tuple[Source, ...]] = (-1, ())

    def find(self, index: int) -> str | None:
        """Return an image's name; None if the job is being deleted, and its result with it."""
        number, place = divmod(index, _BLOCK)
        if number != self._block[0]:
            self._block = (number, self._read(number))
        sources = self._block[1]
        return sources[place].name if place < len(sources) else None

    def _read(self, number: int) -> tuple[Source, ...]:
        try:
            return read_sources(self._objects, self._job_id, number * _BLOCK, (number + 1) * _BLOCK)
        except ObjectNotFound:
            return ()
