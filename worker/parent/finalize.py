"""Finalising a job: its failures and its result go to S3, then its end is recorded.

`result.json` is the job's commit point. Every step may be repeated, so a worker that dies here costs a
minute and nothing else.

A slow worker may be overtaken: another finalises the job, a client retries it, and it runs again. The job
store then refuses the slow worker's end. The object store cannot refuse, so every result says how often
the job had been retried, and readers ignore a result from before the last retry.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from shared.chores.port import Chores, notify_id
from shared.control import Controls
from shared.errors import InvalidTransition, JobBusy, JobNotFound, ObjectNotFound
from shared.jobs import object_keys
from shared.jobs.intent import read_retries
from shared.jobs.job import Counts, FinalizeClaim, Job, JobState, Source
from shared.jobs.manifest import read_sources
from shared.jobs.record import JobResult, encode_result
from shared.jobstore.port import JobStore
from shared.objectstore.port import ObjectStore
from shared.observability.tracing import Tracer, traced

logger = logging.getLogger(__name__)

_ACTION = {"action": "finalize_job"}

#: Lines of a manifest read at once.
_BLOCK = 1000
#: Bytes of failures kept in memory; the rest goes to disk.
_IN_MEMORY = 2**20


def end_state(state: JobState, counts: Counts) -> JobState:
    """Return how a job ends: canceled, or by how many of its images succeeded."""
    if state is JobState.CANCELING:
        return JobState.CANCELED
    if counts.failed == 0:
        return JobState.SUCCEEDED
    return JobState.PARTIAL if counts.succeeded else JobState.FAILED


def finalize(
    claim: FinalizeClaim,
    jobs: JobStore,
    objects: ObjectStore,
    chores: Chores,
    tracer: Tracer,
) -> JobState:
    """Write a job's failures and result, set its end state and return it.

    The job's webhook will be called, even if this worker dies half-way. If another worker was faster and
    the job runs again, return its present state.

    Raises JobNotFound if the job was deleted meanwhile, Unavailable if a store is away.
    """
    # Read this before the job: a retry from now on makes this result an outdated one.
    retries = read_retries(objects, claim.job_id)
    job = jobs.get(claim.job_id)
    if job.state not in (JobState.FINALIZING, JobState.CANCELING):
        # Another worker was faster, and a client may have retried the job since.
        return job.state
    state = JobState.FAILED if job.error else end_state(job.state, job.counts)
    attributes = {"fathom.job.id": job.id, "fathom.job.state": state}
    with traced(tracer, "finalize job", parent=job.traceparent, attributes=attributes):
        try:
            _end(claim, job, state, retries, jobs, objects, chores)
        except InvalidTransition as exc:
            logger.warning("The job was finalised without this worker: %s", exc.message, extra=_ACTION)
            return _leave(job.id, jobs, objects)
        except JobNotFound:
            _sweep(job.id, objects)
            raise
    return state


def _end(
    claim: FinalizeClaim,
    job: Job,
    state: JobState,
    retries: int,
    jobs: JobStore,
    objects: ObjectStore,
    chores: Chores,
) -> None:
    _put_end(job, state, retries, jobs.now(), jobs, objects)
    if job.webhook is not None:
        # Wake it before the end is set, so that no end goes unreported: the chore waits for it.
        chores.wake(notify_id(job.id))
    jobs.finish(claim, state)
    # If the lock is taken, the leftovers go with the next end, or with the job.
    with suppress(JobBusy), Controls(jobs, objects, patience=0.0).alone(job.id):
        if jobs.get(job.id).state.ended:
            # `failures.jsonl` holds all of them now; the failures of a retry come later.
            objects.delete_prefix(object_keys.failures_prefix(job.id))


def _leave(job_id: str, jobs: JobStore, objects: ObjectStore) -> JobState:
    """Return the state of a job that another worker has ended, and write that end again if it is the last.

    This worker may have overwritten it with its own, outdated one.
    """
    with suppress(JobBusy), Controls(jobs, objects).alone(job_id):
        job, retries = jobs.get(job_id), read_retries(objects, job_id)
        if job.state.ended and job.state is not JobState.EXPIRED:
            _put_end(job, job.state, retries, job.ended_at or jobs.now(), jobs, objects)
    return jobs.get(job_id).state


def _sweep(job_id: str, objects: ObjectStore) -> None:
    """Delete what was just written if the job was deleted; a job that Redis lost still has its record."""
    if not objects.exists(object_keys.job_record(job_id)):
        objects.delete_prefix(object_keys.job_prefix(job_id))


def _put_end(
    job: Job, state: JobState, retries: int, ended_at: float, jobs: JobStore, objects: ObjectStore
) -> None:
    _put_failures(job, retries, jobs, objects)
    result = JobResult.of(job, state, ended_at=ended_at, error=job.error, retries=retries)
    objects.put(object_keys.result(job.id), encode_result(result), content_type="application/json")


def _put_failures(job: Job, retries: int, jobs: JobStore, objects: ObjectStore) -> None:
    if job.counts.failed == 0:
        # A retry may have mended every failure of an earlier end.
        objects.delete(object_keys.failures(job.id, retries))
        return
    with SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        for line in _failure_lines(job.id, jobs, objects):
            file.write(line.encode() + b"\n")
        file.seek(0)
        key = object_keys.failures(job.id, retries)
        objects.put_stream(key, cast(BinaryIO, file), content_type="application/x-ndjson")


def _failure_lines(job_id: str, jobs: JobStore, objects: ObjectStore) -> Iterator[str]:
    names = _Names(job_id, objects)
    for image in jobs.failures(job_id):
        failure = image.failure
        if failure is None:
            # The job store may have lost the job just now: then this raises, and nothing is written.
            jobs.get(job_id)
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
    """The names of images, read in order of their index, with one block of the manifest in memory."""

    def __init__(self, job_id: str, objects: ObjectStore) -> None:
        self._job_id = job_id
        self._objects = objects
        self._block: tuple[int, tuple[Source, ...]] = (-1, ())

    def find(self, index: int) -> str | None:
        """Return an image's name; None if the job is being deleted."""
        number, offset = divmod(index, _BLOCK)
        if number != self._block[0]:
            self._block = (number, self._read(number))
        sources = self._block[1]
        return sources[offset].name if offset < len(sources) else None

    def _read(self, number: int) -> tuple[Source, ...]:
        try:
            return read_sources(self._objects, self._job_id, number * _BLOCK, (number + 1) * _BLOCK)
        except ObjectNotFound:
            return ()
