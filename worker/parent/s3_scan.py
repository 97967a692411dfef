"""Scan a job's objects in S3: how it was accepted, how its images ended, and how it ended itself."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from fathom.options import Normalize
from fathom.result_names import SIDECAR
from shared.errors import ObjectNotFound
from shared.jobs import object_keys
from shared.jobs.failure import decode_failure
from shared.jobs.intent import read_retries
from shared.jobs.job import ImageFailure, Job, JobState, Range
from shared.jobs.record import JobResult, decode_job, decode_result
from shared.objectstore.port import ObjectStore

logger = logging.getLogger(__name__)

#: Reasons of failures read at once.
_READERS = 8


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """How a job's images ended, as far as the object store knows."""

    succeeded: Iterable[int] = ()
    failures: dict[int, ImageFailure] = field(default_factory=dict)
    #: The range of a job normalised as a whole, once an image was rendered over it.
    common: Range | None = None


def read_accepted(objects: ObjectStore, job_id: str) -> Job | None:
    """Return a job as it was accepted; None if it was not, was deleted, or its record is damaged."""
    try:
        return decode_job(objects.get(object_keys.job_record(job_id)))
    except ObjectNotFound:
        return None
    except (KeyError, TypeError, ValueError):
        logger.exception("The record of a job cannot be read.", extra={"action": "read_job"})
        return None


def read_result(objects: ObjectStore, job_id: str) -> JobResult | None:
    """Return how a job ended; None if it has not.

    A result from before the last retry, written by a slow worker, does not count.
    """
    try:
        result = decode_result(objects.get(object_keys.result(job_id)))
    except ObjectNotFound:
        return None
    # Read this after the result: a retry writes its intent first and then deletes the result.
    return result if result.retries >= read_retries(objects, job_id) else None


def read_running(objects: ObjectStore, job: Job) -> Outcomes:
    """Return how the images of a job that has not ended did, from its outputs and failures.

    An image with outputs has succeeded, even if a slow worker also wrote a failure, perhaps of an
    attempt before a retry.
    """
    failures = _read_single_failures(objects, job.id)
    succeeded = list(_committed(objects, job.id))
    for index in succeeded:
        failures.pop(index, None)
    common = _read_common_range(objects, job, succeeded)
    return Outcomes(succeeded=succeeded, failures=failures, common=common)


def read_ended(objects: ObjectStore, result: JobResult) -> Outcomes:
    """Return how the images of a job that has ended did.

    All but the failed ones succeeded, so its outputs need not be listed, unless images were canceled.
    """
    failures = dict(_read_failures(objects, result))
    if result.state is JobState.CANCELED or len(failures) != result.counts.failed:
        succeeded: Iterable[int] = _committed(objects, result.job_id)
    elif result.error is not None:
        succeeded = ()
    else:
        succeeded = range(result.counts.total)
    return Outcomes(succeeded=(index for index in succeeded if index not in failures), failures=failures)


def _committed(objects: ObjectStore, job_id: str) -> Iterator[int]:
    """Yield the images whose outputs are complete: the sidecar is written last."""
    prefix = object_keys.outputs_prefix(job_id)
    for entry in objects.list(prefix):
        index, _, file = entry.key.removeprefix(prefix).partition("/")
        if file == SIDECAR and _is_index(index):
            yield int(index)


def _read_common_range(objects: ObjectStore, job: Job, succeeded: list[int]) -> Range | None:
    if job.options.normalize is not Normalize.JOB or not succeeded:
        return None
    sidecar = json.loads(objects.get(object_keys.output(job.id, succeeded[0], SIDECAR)))
    span = sidecar["range"]
    return Range(low=span["low"], high=span["high"]) if span["of"] == Normalize.JOB else None


def _read_single_failures(objects: ObjectStore, job_id: str) -> dict[int, ImageFailure]:
    prefix = object_keys.failures_prefix(job_id)
    names = (entry.key.removeprefix(prefix).removesuffix(".json") for entry in objects.list(prefix))
    indices = [int(name) for name in names if _is_index(name)]
    if not indices:
        return {}
    with ThreadPoolExecutor(min(_READERS, len(indices)), thread_name_prefix="failures") as readers:
        reasons = readers.map(lambda index: _read_single_failure(objects, job_id, index), indices)
        return {index: reason for index, reason in zip(indices, reasons, strict=True) if reason is not None}


def _read_single_failure(objects: ObjectStore, job_id: str, index: int) -> ImageFailure | None:
    try:
        return decode_failure(objects.get(object_keys.failure(job_id, index)))
    except ObjectNotFound:
        # The job ended in the meantime.
        return None


def _read_failures(objects: ObjectStore, result: JobResult) -> Iterator[tuple[int, ImageFailure]]:
    try:
        lines = objects.get(object_keys.failures(result.job_id, result.retries)).splitlines()
    except ObjectNotFound:
        return
    for line in lines:
        record = json.loads(line)
        yield record["index"], ImageFailure(code=record["code"], message=record["message"])


def _is_index(text: str) -> bool:
    return text.isascii() and text.isdigit()
